"""Tables of applied documents: what every kind has, their lines and payments."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, PrimaryKeyConstraint, Table, Text

from central.db.metadata import WITHOUT_ROWID, metadata

documents = Table(
    "documents",
    metadata,
    Column("station_no", BigInteger, nullable=False),
    Column("doc_no", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("business_date", Text, nullable=False),
    Column("number", Text, nullable=False),
    Column("time_ms", BigInteger, nullable=False),  # device time
    Column("corrected_ms", BigInteger, nullable=False),  # by the offset known at the till
    Column("shift", Text),
    Column("cashier", Text),
    Column("customer", Text),
    Column("currency", Text),
    Column("total_minor", BigInteger, nullable=False),
    Column("tax_minor", BigInteger, nullable=False),
    Column("discount_minor", BigInteger, nullable=False),
    PrimaryKeyConstraint("station_no", "doc_no"),
    **WITHOUT_ROWID,
)
"""Applied documents as rows."""
Index(
    "documents_shift_closes",
    documents.c.station_no,
    documents.c.shift,
    sqlite_where=documents.c.kind == "shift_close",
    postgresql_where=documents.c.kind == "shift_close",
)

lines = Table(
    "lines",
    metadata,
    Column("station_no", BigInteger, nullable=False),
    Column("doc_no", BigInteger, nullable=False),
    Column("n", Integer, nullable=False),
    Column("product", Text, nullable=False),
    Column("variant", Text),
    Column("pack", Text),
    Column("quantity_micro", BigInteger, nullable=False),
    Column("price_minor", BigInteger, nullable=False),
    Column("discount_minor", BigInteger, nullable=False),
    Column("tax_minor", BigInteger, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("seller", Text),
    Column("reason", Text),
    PrimaryKeyConstraint("station_no", "doc_no", "n"),
    **WITHOUT_ROWID,
)

payments = Table(
    "payments",
    metadata,
    Column("station_no", BigInteger, nullable=False),
    Column("doc_no", BigInteger, nullable=False),
    Column("n", Integer, nullable=False),
    Column("type", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("reference", Text),
    PrimaryKeyConstraint("station_no", "doc_no", "n"),
    **WITHOUT_ROWID,
)
