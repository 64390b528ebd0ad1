"""Tables of the catalog: scopes and their rows, publications, snapshots, and consumers of the feed."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
)

from central.db.metadata import WITHOUT_ROWID, Big, metadata
from central.db.tables.registry import stores

scopes = Table(
    "scopes",
    metadata,
    Column("scope_no", Big, primary_key=True),
    Column("scope", Text, nullable=False, unique=True),
    Column("gen", LargeBinary, nullable=False),
    Column("head", BigInteger, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),  # 16 bytes
    Column("floor", BigInteger, nullable=False),  # tombstones up to it are purged
)

scope_rows = Table(
    "scope_rows",
    metadata,
    Column("scope_no", BigInteger, nullable=False),
    Column("entity", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("version", LargeBinary),  # null: a tombstone
    Column("payload", LargeBinary),
    PrimaryKeyConstraint("scope_no", "entity", "key"),
    **WITHOUT_ROWID,
)
Index("scope_rows_by_seq", scope_rows.c.scope_no, scope_rows.c.seq, unique=True)

publications = Table(
    "publications",
    metadata,
    Column("scope_no", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),  # the last one of the publication
    Column("at_ms", BigInteger, nullable=False),
    Column("rows", Integer, nullable=False),
    PrimaryKeyConstraint("scope_no", "seq"),
    **WITHOUT_ROWID,
)
"""When HQ said what: a rollout's lag counts from here."""

snapshots = Table(
    "snapshots",
    metadata,
    Column("sha256", LargeBinary, primary_key=True),
    Column("scope_no", BigInteger, nullable=False),
    Column("gen", LargeBinary, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("built_ms", BigInteger, nullable=False),  # 0 while its parts are being stored
)
Index("snapshots_by_scope", snapshots.c.scope_no)

snapshot_parts = Table(
    "snapshot_parts",
    metadata,
    Column("sha256", LargeBinary, nullable=False),
    Column("part", Integer, nullable=False),
    Column("data", LargeBinary, nullable=False),
    PrimaryKeyConstraint("sha256", "part"),
)

consumers = Table(
    "consumers",
    metadata,
    Column("consumer", Text, primary_key=True),
    Column("store_no", ForeignKey(stores.c.store_no), nullable=False),
    Column("groups", Text, nullable=False),  # JSON list of group codes
    Column("created_ms", BigInteger, nullable=False),
)

consumer_cursors = Table(
    "consumer_cursors",
    metadata,
    Column("consumer", Text, nullable=False),
    Column("entity", Text, nullable=False),
    Column("cursor", Text, nullable=False),
    Column("confirmed_ms", BigInteger, nullable=False),
    Column("rejected", Text, nullable=False),  # JSON list of {key, reason}
    PrimaryKeyConstraint("consumer", "entity"),
)
