"""The centre's tables, for SQLite and PostgreSQL alike.

The station (or the scope) stands first in every key, so that Citus or YugabyteDB can distribute by it. Keys are
small integers, document rows are written once and never updated: what state a document is in shows in which of the
small tables (`pending`, `waiting`, `parked`, `held`, `discarded`) names it; in none of them it is applied.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Sequence,
    Table,
    Text,
    UniqueConstraint,
)

from central.db.metadata import WITHOUT_ROWID, Big, metadata

# ---- the centre itself ----

meta = Table("meta", metadata, Column("key", Text, primary_key=True), Column("value", Text, nullable=False))
"""`centre` (random id), `secret` (MACs), and other single values."""

api_keys = Table(
    "api_keys",
    metadata,
    Column("name", Text, primary_key=True),
    Column("hash", LargeBinary, nullable=False, unique=True),
    Column("role", Text, nullable=False),  # read | admin | feed | documents
    Column("consumer", Text),  # for feed: the consumer that it may read as
    Column("created_ms", BigInteger, nullable=False),
    Column("revoked_ms", BigInteger),
    Column("source", Text),  # for documents: whose documents it hands in
    Column("outlet", Text),  # and of which store
)

# ---- registry ----

stores = Table(
    "stores",
    metadata,
    Column("store_no", Big, primary_key=True),
    Column("code", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("zone", Text, nullable=False),  # IANA
    Column("currency", Text, nullable=False),
    Column("price_list", Text),
)

groups = Table(
    "groups",
    metadata,
    Column("group_no", Big, primary_key=True),
    Column("code", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("price_list", Text),
)

stations = Table(
    "stations",
    metadata,
    Column("station_no", Big, primary_key=True),
    Column("code", Text, nullable=False, unique=True),
    Column("store_no", ForeignKey("stores.store_no"), nullable=False),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False),  # new | waiting (for approval) | active | revoked | source
    Column("quarantined", Boolean, nullable=False),
    Column("newest_nonce_ms", BigInteger, nullable=False),
    Column("current_epoch", LargeBinary),
    Column("poke", Integer, nullable=False),  # HQ's "sync now" calls
    Column("last_number", BigInteger, nullable=False),
    Column("last_seen_ms", BigInteger),
    Column("report", LargeBinary),  # its last report, as sent
    Column("report_ms", BigInteger),
    Column("reached", LargeBinary),  # JSON: scope -> [gen, seq, since when it has reported just that]
    Column("created_ms", BigInteger, nullable=False),
)
SOURCE = "source"
"""State of a row that is no station but an outlet of a foreign system: it owns documents, and nobody signs in as it."""
OWN_STORE = "@"
"""Code of the row that stands in for a store where the centre's own desk needs one; no list of stores shows it."""

# Read by every node twice a second; the rows themselves are wide with reports.
Index("stations_poke", stations.c.station_no, stations.c.poke)

station_groups = Table(
    "station_groups",
    metadata,
    Column("station_no", ForeignKey("stations.station_no"), nullable=False),
    Column("group_no", ForeignKey("groups.group_no"), nullable=False),
    PrimaryKeyConstraint("station_no", "group_no"),
)

station_keys = Table(
    "station_keys",
    metadata,
    Column("station_no", ForeignKey("stations.station_no"), nullable=False),
    Column("public_key", LargeBinary, nullable=False, unique=True),
    Column("state", Text, nullable=False),  # active | retired | revoked
    Column("created_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("station_no", "public_key"),
)

enrolment_codes = Table(
    "enrolment_codes",
    metadata,
    Column("hash", LargeBinary, primary_key=True),
    Column("station_no", ForeignKey("stations.station_no")),  # one of the two
    Column("group_no", ForeignKey("groups.group_no")),
    Column("store_no", ForeignKey("stores.store_no")),  # where stations of a group code are put
    Column("replace", Boolean, nullable=False),
    Column("uses_left", Integer, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("used_by", LargeBinary),  # public key of the last use: same code and key, same answer
)

# ---- documents ----

epochs = Table(
    "epochs",
    metadata,
    Column("epoch_no", Big, primary_key=True),
    Column("station_no", ForeignKey("stations.station_no"), nullable=False),
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

# ---- deliveries ----

integrations = Table(
    "integrations",
    metadata,
    Column("integration_no", Big, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("version", BigInteger, nullable=False),  # of `integration_versions`: the one that holds
    Column("definition", Text, nullable=False),  # JSON of that version
    Column("enabled", Boolean, nullable=False),
    Column("from_ms", BigInteger, nullable=False),
    Column("paused_until_ms", BigInteger, nullable=False),
    Column("problem", Text),  # why it is paused
    Column("checked_ms", BigInteger),
    Column("findings", Text),  # JSON: what the last check of its settings found
    Column("trigger_hash", LargeBinary),  # sha256 of the secret that other systems show to start its pulls
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("integration_no", BigInteger, nullable=False),
    Column("doc_no", BigInteger, nullable=False),
    Column("effect", Text, nullable=False),
    Column(
        "state", Text, nullable=False
    ),  # gathering | grouped | ready | waiting | leased | done | skipped | parked
    Column("batch_no", BigInteger),
    PrimaryKeyConstraint("integration_no", "doc_no", "effect"),
    **WITHOUT_ROWID,
)
Index("deliveries_by_batch", deliveries.c.batch_no)
Index(
    "deliveries_ready",
    deliveries.c.integration_no,
    deliveries.c.doc_no,
    sqlite_where=deliveries.c.state == "ready",
    postgresql_where=deliveries.c.state == "ready",
)
Index(
    "deliveries_gathering",
    deliveries.c.integration_no,
    deliveries.c.effect,
    deliveries.c.doc_no,
    sqlite_where=deliveries.c.state == "gathering",
    postgresql_where=deliveries.c.state == "gathering",
)

batches = Table(
    "batches",
    metadata,
    Column("batch_no", Big, primary_key=True),
    Column("integration_no", BigInteger, nullable=False),
    Column("batch_id", Text, nullable=False, unique=True),
    Column("state", Text, nullable=False),  # ready | sent | done | unknown | parked
    Column("count", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("leased_until_ms", BigInteger, nullable=False),
    Column("lease", Text),  # who holds it
    Column("not_before_ms", BigInteger, nullable=False),
    Column("error", Text),
    Column("created_ms", BigInteger, nullable=False),
    Column("done_ms", BigInteger),
)
Index(
    "batches_open",
    batches.c.integration_no,
    batches.c.batch_no,
    sqlite_where=batches.c.state != "done",
    postgresql_where=batches.c.state != "done",
)

imported_files = Table(
    "imported_files",
    metadata,
    Column("integration_no", BigInteger, nullable=False),
    Column("sha256", LargeBinary, nullable=False),
    Column("name", Text, nullable=False),
    Column("result", Text, nullable=False),  # JSON: counts and rejected rows
    Column("at_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("integration_no", "sha256"),
)

# ---- catalog ----

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
    Column("store_no", ForeignKey("stores.store_no"), nullable=False),
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

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("until_ms", BigInteger, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("audit_no", Big, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("detail", Text, nullable=False),
)
