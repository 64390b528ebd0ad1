"""Tables of orders, stock and money documents, and of the foreign systems that hand documents in.

What receipts have too stands in `documents` and `lines`; here is what only papers have. A foreign system's documents
are owned by a `stations` row of state `source` (one per source and outlet), whose chain the centre seals itself.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, PrimaryKeyConstraint, Table, Text

from central.db.metadata import WITHOUT_ROWID, metadata

papers = Table(
    "papers",
    metadata,
    Column("station_no", BigInteger, nullable=False),
    Column("doc_no", BigInteger, nullable=False),
    Column("status", Text),
    Column("organisation", Text),
    Column("party", Text),  # its code
    Column("party_name", Text),
    Column("tax_id", Text),
    Column("warehouse", Text),
    Column("to_warehouse", Text),
    Column("account", Text),
    Column("due", Text),
    Column("reason", Text),
    PrimaryKeyConstraint("station_no", "doc_no"),
    **WITHOUT_ROWID,
)
"""One row for each applied order, stock or money document."""

paper_links = Table(
    "paper_links",
    metadata,
    Column("station_no", BigInteger, nullable=False),
    Column("doc_no", BigInteger, nullable=False),
    Column("n", Integer, nullable=False),
    Column("doc_id", LargeBinary),
    Column("kind", Text),
    Column("number", Text),
    PrimaryKeyConstraint("station_no", "doc_no", "n"),
    **WITHOUT_ROWID,
)
"""What it is based on."""

paper_units = Table(
    "paper_units",
    metadata,
    Column("station_no", BigInteger, nullable=False),
    Column("doc_no", BigInteger, nullable=False),
    Column("line", Integer, nullable=False),
    Column("what", Text, nullable=False),  # lot | serial | mark | expected
    Column("n", Integer, nullable=False),
    Column("code", Text, nullable=False),  # empty for expected
    Column("quantity_micro", BigInteger),
    Column("expires", Text),
    PrimaryKeyConstraint("station_no", "doc_no", "line", "what", "n"),
    **WITHOUT_ROWID,
)
"""What a line says of single goods: lots, serial numbers, marking codes, and what a count expected."""

sources = Table(
    "sources",
    metadata,
    Column("source", Text, primary_key=True),
    Column("policies", Text, nullable=False),  # JSON: kind -> {duplicate, key}
    Column("created_ms", BigInteger, nullable=False),
)

followed = Table(
    "followed",
    metadata,
    Column("entity", Text, primary_key=True),
    Column("position", Text, nullable=False),  # JSON: the scopes that it covers, and how far each
)
"""How far rows of the catalog have become documents that go out."""

requests = Table(
    "requests",
    metadata,
    Column("station_no", BigInteger, nullable=False),
    Column("key", Text, nullable=False),  # Idempotency-Key
    Column("request_hash", LargeBinary, nullable=False),
    Column("status", Integer, nullable=False),
    Column("answer", LargeBinary, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("station_no", "key"),
    **WITHOUT_ROWID,
)
"""Answers that were given, so that a repeated request gets the same one, byte for byte; old ones are forgotten."""
Index("requests_by_age", requests.c.at_ms)

document_keys = Table(
    "document_keys",
    metadata,
    Column("source", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("key_hash", LargeBinary, nullable=False),
    Column("key", Text, nullable=False),  # JSON list of what counts, for people
    Column("doc_no", BigInteger, nullable=False),  # the newest document of this key
    Column("version", Integer, nullable=False),  # how many there were
    Column("content_hash", LargeBinary, nullable=False),
    Column("repeats", BigInteger, nullable=False),  # duplicates that were refused or skipped
    Column("repeated_ms", BigInteger),
    PrimaryKeyConstraint("source", "kind", "key_hash"),
    **WITHOUT_ROWID,
)
"""One document per key of a source (S3): this index decides, whichever nodes take two of them at once."""

Index(
    "document_keys_repeated",
    document_keys.c.repeated_ms,
    sqlite_where=document_keys.c.repeated_ms.is_not(None),
    postgresql_where=document_keys.c.repeated_ms.is_not(None),
)
