"""Records as files, in and out: CSV, Excel, JSON, NDJSON, XML, in declared dialects and encodings.

No connector: what the drop folder and the connector `files` have in common.
"""
