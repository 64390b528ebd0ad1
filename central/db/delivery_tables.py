"""Tables of what goes out, beside the deliveries and batches of `tables.py`: what was tried, and what came of it."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, PrimaryKeyConstraint, Table, Text

from central.db.metadata import WITHOUT_ROWID, Big, metadata

attempts = Table(
    "attempts",
    metadata,
    Column("attempt_no", Big, primary_key=True),
    Column("integration_no", BigInteger, nullable=False),
    Column("batch_no", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("took_ms", BigInteger),  # null: it is under way, or its node died
    Column("sent", Boolean, nullable=False),  # whether bytes of the batch left, or it was only asked for
    Column("outcome", Text),  # ok | away | denied | rejected | no_answer | again (a person sends it again)
    Column("done", Integer, nullable=False),  # deliveries that it found or made done
    Column("error", Text),
    Column("exchanges", Text, nullable=False),  # JSON list of [request, answer], masked and cut
)
"""Every try at a batch; the newest of each batch are kept."""
Index("attempts_by_batch", attempts.c.batch_no, attempts.c.attempt_no)
Index("attempts_by_time", attempts.c.integration_no, attempts.c.at_ms)

earlier_batches = Table(
    "earlier_batches",
    metadata,
    Column("integration_no", BigInteger, nullable=False),
    Column("doc_no", BigInteger, nullable=False),
    Column("effect", Text, nullable=False),
    Column("batch_no", BigInteger, nullable=False),
    PrimaryKeyConstraint("integration_no", "doc_no", "effect", "batch_no"),
    **WITHOUT_ROWID,
)
"""Batches that a delivery was in before its present one: its history is what was tried with all of them."""

written = Table(
    "written",
    metadata,
    Column("integration_no", BigInteger, nullable=False),
    Column("doc_no", BigInteger, nullable=False),
    Column("effect", Text, nullable=False),
    Column("part", Integer, nullable=False),  # of a delivery that was split; 0 for one that was not
    Column("id", Text, nullable=False),
    Column("number", Text),
    Column("at_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("integration_no", "doc_no", "effect", "part"),
    **WITHOUT_ROWID,
)
"""What the other system calls that which a delivery made there."""
Index("written_by_id", written.c.integration_no, written.c.id)

budgets = Table(
    "budgets",
    metadata,
    Column("credential", Text, primary_key=True),
    Column("calls_micro", BigInteger, nullable=False),  # left, in millionths; below 0: spent beforehand
    Column("at_ms", BigInteger, nullable=False),
    Column("paused_until_ms", BigInteger, nullable=False),  # the other system's own wish
)
"""What is left of each credential's calls, whoever makes them."""

circuits = Table(
    "circuits",
    metadata,
    Column("integration_no", Big, primary_key=True, autoincrement=False),
    Column("failures", Integer, nullable=False),
    Column("since_ms", BigInteger, nullable=False),
)
"""Integrations whose newest attempts got no plain answer: how many in a row, over all nodes."""

delivery_records = Table(
    "delivery_records",
    metadata,
    Column("integration_no", BigInteger, nullable=False),
    Column("doc_no", BigInteger, nullable=False),
    Column("effect", Text, nullable=False),
    Column("record", Text, nullable=False),  # JSON list: one record, or one for each part
    Column("version", BigInteger, nullable=False),  # of the definition that made it
    Column("by", Text),  # who corrected it; null: the mapping made it
    Column("at_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("integration_no", "doc_no", "effect"),
    **WITHOUT_ROWID,
)
"""What the mapping made of a document under way: the same at every attempt, whatever the definition says by now."""

delivery_waits = Table(
    "delivery_waits",
    metadata,
    Column("integration_no", BigInteger, nullable=False),
    Column("doc_no", BigInteger, nullable=False),
    Column("effect", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("system", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("outlet", Text, nullable=False),
    Column("since_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("integration_no", "doc_no", "effect", "kind", "system", "code", "outlet"),
    **WITHOUT_ROWID,
)
"""Deliveries that wait until the other system has a code for something."""
Index(
    "delivery_waits_by_code",
    delivery_waits.c.system,
    delivery_waits.c.kind,
    delivery_waits.c.code,
    delivery_waits.c.outlet,
)
