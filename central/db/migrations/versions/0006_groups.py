"""Tables of integrations: documents that are delivered together."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "delivery_groups",
        sa.Column("group_no", _BIG, nullable=False),
        sa.Column("integration_no", sa.BigInteger(), nullable=False),
        sa.Column("effect", sa.Text(), nullable=False),
        sa.Column("group_key", sa.Text(), nullable=False),
        sa.Column("correction", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.Column("close", sa.Text(), nullable=False),
        sa.Column("after_s", sa.Integer(), nullable=False),
        sa.Column("due_ms", sa.BigInteger(), nullable=True),
        sa.Column("closed_ms", sa.BigInteger(), nullable=True),
        sa.Column("by", sa.Text(), nullable=True),
        sa.Column("leader", sa.BigInteger(), nullable=True),
        sa.Column("sent", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("group_no"),
        sa.UniqueConstraint("integration_no", "effect", "group_key", "correction"),
    )
    op.create_index("delivery_groups_by_leader", "delivery_groups", ["integration_no", "leader"])
    _partial("delivery_groups_open", "delivery_groups", ["integration_no", "group_no"], "state != 'done'")
    op.create_table(
        "delivery_group_members",
        sa.Column("integration_no", sa.BigInteger(), nullable=False),
        sa.Column("doc_no", sa.BigInteger(), nullable=False),
        sa.Column("effect", sa.Text(), nullable=False),
        sa.Column("group_no", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("integration_no", "doc_no", "effect"),
        sqlite_with_rowid=False,
    )
    op.create_index("delivery_group_members_by_group", "delivery_group_members", ["group_no", "doc_no"])
    _partial(
        "deliveries_gathering", "deliveries", ["integration_no", "effect", "doc_no"], "state = 'gathering'"
    )
    _partial("documents_shift_closes", "documents", ["station_no", "shift"], "kind = 'shift_close'")


def _partial(name: str, table: str, columns: list[str], where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, sqlite_where=condition, postgresql_where=condition)
