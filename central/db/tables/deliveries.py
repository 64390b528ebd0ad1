"""Tables of what goes out: deliveries and their batches, what was tried, and what came of it."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)

from central.db.metadata import WITHOUT_ROWID, Big, metadata

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

delivery_groups = Table(
    "delivery_groups",
    metadata,
    Column("group_no", Big, primary_key=True),
    Column("integration_no", BigInteger, nullable=False),
    Column("effect", Text, nullable=False),
    Column("group_key", Text, nullable=False),  # JSON object: what its documents have in common
    Column("correction", Integer, nullable=False),  # 0: the group itself; n: its n-th correction
    Column("state", Text, nullable=False),  # open | closed | done
    Column("size", Integer, nullable=False),  # documents in it
    Column("since_ms", BigInteger, nullable=False),
    Column("close", Text, nullable=False),  # day_end | shift_close
    Column("after_s", Integer, nullable=False),
    Column("due_ms", BigInteger),  # when it closes; null: not known before its shift is closed
    Column("closed_ms", BigInteger),
    Column("by", Text),  # who closed it; null: its time had come
    Column(
        "leader", BigInteger
    ),  # doc_no of the member whose delivery carries the group; null while it is open
    Column("sent", Boolean, nullable=False),  # a person may say so too: what is over there is this group
    UniqueConstraint("integration_no", "effect", "group_key", "correction"),
)
"""Documents that become one record of the other system. Once closed, a group never changes."""
Index("delivery_groups_by_leader", delivery_groups.c.integration_no, delivery_groups.c.leader)
Index(
    "delivery_groups_open",
    delivery_groups.c.integration_no,
    delivery_groups.c.group_no,
    sqlite_where=delivery_groups.c.state != "done",
    postgresql_where=delivery_groups.c.state != "done",
)

delivery_group_members = Table(
    "delivery_group_members",
    metadata,
    Column("integration_no", BigInteger, nullable=False),
    Column("doc_no", BigInteger, nullable=False),
    Column("effect", Text, nullable=False),
    Column("group_no", BigInteger, nullable=False),
    PrimaryKeyConstraint("integration_no", "doc_no", "effect"),
    **WITHOUT_ROWID,
)
"""Which group a delivery is in: one, for ever."""
Index("delivery_group_members_by_group", delivery_group_members.c.group_no, delivery_group_members.c.doc_no)
