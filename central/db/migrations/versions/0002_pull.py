"""Tables of integrations: pull."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _restate_integrations()
    op.create_table(
        "integration_versions",
        sa.Column("integration_no", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("file_sha256", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("integration_no", "version"),
    )
    op.execute(
        'INSERT INTO integration_versions (integration_no, version, definition, "by", at_ms, note)'
        " SELECT integration_no, version, definition, 'migrate', from_ms, '' FROM integrations"
    )
    op.create_table(
        "pull_states",
        sa.Column("integration_no", sa.BigInteger(), nullable=False),
        sa.Column("pull", sa.Text(), nullable=False),
        sa.Column("cursor", sa.Text(), nullable=True),
        sa.Column("shape", sa.LargeBinary(), nullable=False),
        sa.Column("run_ms", sa.BigInteger(), nullable=False),
        sa.Column("full_ms", sa.BigInteger(), nullable=False),
        sa.Column("asked_ms", sa.BigInteger(), nullable=False),
        sa.Column("asked_full", sa.Boolean(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("not_before_ms", sa.BigInteger(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("integration_no", "pull"),
    )
    op.create_table(
        "pull_runs",
        sa.Column("run_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("integration_no", sa.BigInteger(), nullable=False),
        sa.Column("pull", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("is_full", sa.Boolean(), nullable=False),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("started_ms", sa.BigInteger(), nullable=False),
        sa.Column("ended_ms", sa.BigInteger(), nullable=True),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("report", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("run_no"),
    )
    op.create_index("pull_runs_by_pull", "pull_runs", ["integration_no", "pull", "run_no"])
    op.create_table(
        "pull_records",
        sa.Column("integration_no", sa.BigInteger(), nullable=False),
        sa.Column("pull", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("version", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("integration_no", "pull", "id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "pull_changes",
        sa.Column("run_no", sa.BigInteger(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("entity", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("before", sa.LargeBinary(), nullable=True),
        sa.Column("after", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("run_no", "scope", "entity", "key"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "created_records",
        sa.Column("integration_no", sa.BigInteger(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("undone_ms", sa.BigInteger(), nullable=True),
        sa.Column("refusal", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("integration_no", "target", "id"),
    )


def _restate_integrations() -> None:
    """Connector, settings and kinds become version 1 of a definition; they are few rows, so the table is made anew."""
    connection = op.get_bind()
    old = connection.execute(sa.text("SELECT * FROM integrations ORDER BY integration_no")).mappings().all()
    op.drop_table("integrations")
    table = op.create_table(
        "integrations",
        sa.Column("integration_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("paused_until_ms", sa.BigInteger(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("checked_ms", sa.BigInteger(), nullable=True),
        sa.Column("findings", sa.Text(), nullable=True),
        sa.Column("trigger_hash", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("integration_no"),
        sa.UniqueConstraint("name"),
    )
    for row in old:
        kinds = json.loads(row["kinds"])
        definition: dict[str, Any] = {
            "name": row["name"],
            "connector": row["connector"],
            "settings": json.loads(row["settings"]),
            "deliver": [{"name": "document", "kinds": kinds}] if kinds else [],
        }
        kept = {
            name: row[name] for name in ("integration_no", "name", "from_ms", "paused_until_ms", "problem")
        }
        # SQLite knows no boolean.
        values = kept | {"enabled": bool(row["enabled"]), "version": 1, "definition": json.dumps(definition)}
        connection.execute(table.insert().values(**values))
    if old and connection.dialect.name == "postgresql":
        op.execute(
            "SELECT setval(pg_get_serial_sequence('integrations', 'integration_no'), "
            "(SELECT max(integration_no) FROM integrations))"
        )
