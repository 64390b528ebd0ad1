"""Records as files, in and out: CSV, Excel, JSON, NDJSON, XML, in declared dialects and encodings."""
