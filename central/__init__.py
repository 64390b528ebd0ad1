"""The centre: collects documents, publishes the catalog, talks to ERPs."""
