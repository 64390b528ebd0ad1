"""Orders, stock and money documents as rows; foreign systems that hand documents in."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("source", sa.Text(), nullable=True))
    op.add_column("api_keys", sa.Column("outlet", sa.Text(), nullable=True))
    op.create_table(
        "papers",
        sa.Column("station_no", sa.BigInteger(), nullable=False),
        sa.Column("doc_no", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=True),
        sa.Column("organisation", sa.Text(), nullable=True),
        sa.Column("party", sa.Text(), nullable=True),
        sa.Column("party_name", sa.Text(), nullable=True),
        sa.Column("tax_id", sa.Text(), nullable=True),
        sa.Column("warehouse", sa.Text(), nullable=True),
        sa.Column("to_warehouse", sa.Text(), nullable=True),
        sa.Column("account", sa.Text(), nullable=True),
        sa.Column("due", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("station_no", "doc_no"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "paper_links",
        sa.Column("station_no", sa.BigInteger(), nullable=False),
        sa.Column("doc_no", sa.BigInteger(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("doc_id", sa.LargeBinary(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=True),
        sa.Column("number", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("station_no", "doc_no", "n"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "paper_units",
        sa.Column("station_no", sa.BigInteger(), nullable=False),
        sa.Column("doc_no", sa.BigInteger(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("quantity_micro", sa.BigInteger(), nullable=True),
        sa.Column("expires", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("station_no", "doc_no", "line", "what", "n"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "sources",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("policies", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source"),
    )
    op.create_table(
        "requests",
        sa.Column("station_no", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("station_no", "key"),
        sqlite_with_rowid=False,
    )
    op.create_index("requests_by_age", "requests", ["at_ms"], unique=False)
    op.create_table(
        "document_keys",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("key_hash", sa.LargeBinary(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("doc_no", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("content_hash", sa.LargeBinary(), nullable=False),
        sa.Column("repeats", sa.BigInteger(), nullable=False),
        sa.Column("repeated_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("source", "kind", "key_hash"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "document_keys_repeated",
        "document_keys",
        ["repeated_ms"],
        unique=False,
        sqlite_where=sa.text("repeated_ms IS NOT NULL"),
        postgresql_where=sa.text("repeated_ms IS NOT NULL"),
    )
