"""A folder as the other system: documents go out as files, HQ's lists come in as files."""
