"""Master data on its way down: entities, the changes and digests of scopes, and the snapshot file."""
