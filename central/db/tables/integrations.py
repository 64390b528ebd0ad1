"""Tables of integrations: their versions, what their pulls did, and what can be taken back.

Everything here but the integrations themselves is bounded by whoever writes it: old runs and their changes are deleted
when newer ones are stored.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
)

from central.db.metadata import WITHOUT_ROWID, Big, metadata

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

integration_versions = Table(
    "integration_versions",
    metadata,
    Column("integration_no", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("definition", Text, nullable=False),  # JSON
    Column("by", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("note", Text, nullable=False),
    Column("file_sha256", LargeBinary),  # of the file in the watched folder that it came from
    PrimaryKeyConstraint("integration_no", "version"),
)

pull_states = Table(
    "pull_states",
    metadata,
    Column("integration_no", BigInteger, nullable=False),
    Column("pull", Text, nullable=False),
    Column("cursor", Text),  # covers what is published; null: the next run is full
    Column(
        "shape", LargeBinary, nullable=False
    ),  # sha256 of what the rows were made by; another one makes a run full
    Column("run_ms", BigInteger, nullable=False),  # start of the newest run
    Column("full_ms", BigInteger, nullable=False),  # start of the newest full run that ended well
    Column("asked_ms", BigInteger, nullable=False),  # somebody wants a run that starts after this
    Column("asked_full", Boolean, nullable=False),
    Column("failures", Integer, nullable=False),  # in a row
    Column("not_before_ms", BigInteger, nullable=False),
    Column("problem", Text),
    PrimaryKeyConstraint("integration_no", "pull"),
)

pull_runs = Table(
    "pull_runs",
    metadata,
    Column("run_no", Big, primary_key=True),
    Column("integration_no", BigInteger, nullable=False),
    Column("pull", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("why", Text, nullable=False),  # schedule | asked | webhook | file | dry_run | undo
    Column("is_full", Boolean, nullable=False),
    Column("node", Text, nullable=False),
    Column("started_ms", BigInteger, nullable=False),
    Column("ended_ms", BigInteger),
    Column("result", Text),  # taken | failed | stopped; null: under way
    Column("report", Text),  # JSON
)
Index("pull_runs_by_pull", pull_runs.c.integration_no, pull_runs.c.pull, pull_runs.c.run_no)

pull_records = Table(
    "pull_records",
    metadata,
    Column("integration_no", BigInteger, nullable=False),
    Column("pull", Text, nullable=False),
    Column("id", Text, nullable=False),  # as the other system calls the record
    Column("hash", LargeBinary, nullable=False),  # of the record as it was read, and of the pull's shape
    Column("scope", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("version", LargeBinary, nullable=False),  # of the row that was made of it
    PrimaryKeyConstraint("integration_no", "pull", "id"),
    **WITHOUT_ROWID,
)
"""What every record became: a full comparison goes past those that are the same on both sides."""

pull_changes = Table(
    "pull_changes",
    metadata,
    Column("run_no", BigInteger, nullable=False),
    Column("scope", Text, nullable=False),
    Column("entity", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("before", LargeBinary),  # payload; null: the run created the row
    Column("after", LargeBinary),  # version that the run left; null: it deleted the row
    PrimaryKeyConstraint("run_no", "scope", "entity", "key"),
    **WITHOUT_ROWID,
)

created_records = Table(
    "created_records",
    metadata,
    Column("integration_no", BigInteger, nullable=False),
    Column("target", Text, nullable=False),
    Column("id", Text, nullable=False),  # as the other system calls it
    Column("why", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("undone_ms", BigInteger),
    Column("refusal", Text),  # why the other system would not give it up
    PrimaryKeyConstraint("integration_no", "target", "id"),
)
