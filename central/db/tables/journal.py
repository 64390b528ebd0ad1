"""Tables of what came in, exactly as it came, and of its state.

The station stands first in every key, so that Citus or YugabyteDB can distribute by it. Document rows are written once
and never updated: what state a document is in shows in which of the small tables (`pending`, `waiting`, `parked`,
`held`, `discarded`) names it; in none of them it is applied.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Sequence,
    Table,
    Text,
    UniqueConstraint,
)

from central.db.metadata import WITHOUT_ROWID, Big, metadata
from central.db.tables.registry import stations

epochs = Table(
    "epochs",
    metadata,
    Column("epoch_no", Big, primary_key=True),
    Column("station_no", ForeignKey(stations.c.station_no), nullable=False),
    Column("epoch", LargeBinary, nullable=False),
    Column("last", BigInteger, nullable=False),
    Column("head", LargeBinary, nullable=False),
    Column("safe_seq", BigInteger, nullable=False),
    Column("safe_head", LargeBinary, nullable=False),
    Column("was_current", Boolean, nullable=False),
    Column("parent", LargeBinary),
    Column("parent_last", BigInteger),
    Column("parent_head", LargeBinary),
    Column("last_number", BigInteger, nullable=False),  # highest counter of its documents' numbers
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    UniqueConstraint("station_no", "epoch"),
)

doc_no_sequence = Sequence("doc_no_seq", metadata=metadata)
"""On PostgreSQL; on SQLite the one writer counts on from the highest."""

journal = Table(
    "journal",
    metadata,
    Column("epoch_no", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("doc_no", BigInteger, nullable=False),
    Column("head", LargeBinary, nullable=False),
    PrimaryKeyConstraint("epoch_no", "seq"),
    **WITHOUT_ROWID,
)
"""Positions. A document that was journaled again after a fork stands at two."""

bodies = Table(
    "bodies",
    metadata,
    Column("doc_no", Big, primary_key=True, autoincrement=False),
    Column("station_no", BigInteger, nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("damaged", Boolean, nullable=False),
    Column("header", LargeBinary, nullable=False),
    Column("payload", LargeBinary, nullable=False),
)
"""The exact bytes as sealed at the till."""

damaged_hashes = Table(
    "damaged_hashes",
    metadata,
    Column("doc_no", Big, primary_key=True, autoincrement=False),
    Column("header_hash", LargeBinary, nullable=False),
    Column("payload_hash", LargeBinary, nullable=False),
)
"""For bodies that no longer fit: the hashes that the station had recorded and the chain was built with."""

gate = Table(
    "gate",
    metadata,
    Column("doc_id", LargeBinary, nullable=False),
    Column("doc_no", BigInteger, nullable=False),
    Column("station_no", BigInteger, nullable=False),
    Column("payload_hash", LargeBinary, nullable=False),
    PrimaryKeyConstraint("doc_id"),
    **WITHOUT_ROWID,
)
"""R5: one document per id over all stations; it outlives purging."""

pending = Table("pending", metadata, Column("doc_no", Big, primary_key=True, autoincrement=False))
"""Stored, not applied yet."""

waiting = Table(
    "waiting",
    metadata,
    Column("doc_no", Big, primary_key=True, autoincrement=False),
    Column("why", Text, nullable=False),  # reference | schema
    Column("reference", LargeBinary),  # the doc_id that it waits for
    Column("since_ms", BigInteger, nullable=False),
)

parked = Table(
    "parked",
    metadata,
    Column("doc_no", Big, primary_key=True, autoincrement=False),
    Column("reason", Text, nullable=False),  # root cause: documents with the same one are repaired together
    Column("detail", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("since_ms", BigInteger, nullable=False),
    Column("history", Text, nullable=False),  # JSON list of {at_ms, what}
)

held = Table(
    "held",
    metadata,
    Column("doc_no", Big, primary_key=True, autoincrement=False),
    Column("station_no", BigInteger, nullable=False),
    Column("why", Text, nullable=False),  # quarantine | retired-key | conflict | damaged
    Column("since_ms", BigInteger, nullable=False),
)

discarded = Table(
    "discarded",
    metadata,
    Column("doc_no", Big, primary_key=True, autoincrement=False),
    Column("why", Text, nullable=False),  # what it was held for
    Column("reason", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)
"""Held documents of which HQ decided that they have no effect. They are kept like any other."""

repairs = Table(
    "repairs",
    metadata,
    Column("doc_no", Big, primary_key=True, autoincrement=False),
    Column("header", LargeBinary),
    Column("payload", LargeBinary),
    Column("by", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)
"""What is applied in place of the sealed header and payload, which stay as they are; null: the sealed one."""
