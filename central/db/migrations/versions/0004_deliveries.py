"""Tables of integrations: deliveries."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "attempts",
        sa.Column("attempt_no", _BIG, nullable=False),
        sa.Column("integration_no", sa.BigInteger(), nullable=False),
        sa.Column("batch_no", sa.BigInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("took_ms", sa.BigInteger(), nullable=True),
        sa.Column("sent", sa.Boolean(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("exchanges", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("attempt_no"),
    )
    op.create_index("attempts_by_batch", "attempts", ["batch_no", "attempt_no"])
    op.create_index("attempts_by_time", "attempts", ["integration_no", "at_ms"])
    op.create_table(
        "earlier_batches",
        sa.Column("integration_no", sa.BigInteger(), nullable=False),
        sa.Column("doc_no", sa.BigInteger(), nullable=False),
        sa.Column("effect", sa.Text(), nullable=False),
        sa.Column("batch_no", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("integration_no", "doc_no", "effect", "batch_no"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "written",
        sa.Column("integration_no", sa.BigInteger(), nullable=False),
        sa.Column("doc_no", sa.BigInteger(), nullable=False),
        sa.Column("effect", sa.Text(), nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("number", sa.Text(), nullable=True),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("integration_no", "doc_no", "effect", "part"),
        sqlite_with_rowid=False,
    )
    op.create_index("written_by_id", "written", ["integration_no", "id"])
    op.create_table(
        "budgets",
        sa.Column("credential", sa.Text(), nullable=False),
        sa.Column("calls_micro", sa.BigInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("paused_until_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("credential"),
    )
    op.create_table(
        "circuits",
        sa.Column("integration_no", _BIG, nullable=False, autoincrement=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("integration_no"),
    )
    op.create_table(
        "delivery_records",
        sa.Column("integration_no", sa.BigInteger(), nullable=False),
        sa.Column("doc_no", sa.BigInteger(), nullable=False),
        sa.Column("effect", sa.Text(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("by", sa.Text(), nullable=True),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("integration_no", "doc_no", "effect"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "delivery_waits",
        sa.Column("integration_no", sa.BigInteger(), nullable=False),
        sa.Column("doc_no", sa.BigInteger(), nullable=False),
        sa.Column("effect", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("outlet", sa.Text(), nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("integration_no", "doc_no", "effect", "kind", "system", "code", "outlet"),
        sqlite_with_rowid=False,
    )
    op.create_index("delivery_waits_by_code", "delivery_waits", ["system", "kind", "code", "outlet"])
