"""Attempts and what the other system wrote, as rows. Every function works inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import and_, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from central.connectors.base import Written
from central.db.database import AnyRow, Database
from central.db.tables.deliveries import attempts, batches, circuits, deliveries, earlier_batches, written

PER_BATCH = 20
"""Attempts that are kept of one batch, the newest."""
PER_INTEGRATION = 50_000
"""Attempts that are kept of batches that are done."""


async def begin(connection: AsyncConnection, values: dict[str, Any]) -> int:
    """Store an attempt and return its number; the batch's oldest ones beyond `PER_BATCH` go."""
    result = await connection.execute(attempts.insert().values(**values).returning(attempts.c.attempt_no))
    number = int(result.scalar_one())
    oldest = (
        select(attempts.c.attempt_no)
        .where(attempts.c.batch_no == values["batch_no"])
        .order_by(attempts.c.attempt_no.desc())
        .offset(PER_BATCH)
        .limit(1)
        .scalar_subquery()
    )
    await connection.execute(
        delete(attempts).where(attempts.c.batch_no == values["batch_no"], attempts.c.attempt_no <= oldest)
    )
    return number


async def end(connection: AsyncConnection, attempt_no: int, values: dict[str, Any]) -> None:
    """Write down what came of an attempt."""
    await connection.execute(update(attempts).where(attempts.c.attempt_no == attempt_no).values(**values))


async def forget_old(connection: AsyncConnection, integration_no: int) -> int:
    """Drop the oldest attempts of batches that are done; returns how many."""
    own = attempts.c.integration_no == integration_no
    bound = (
        await connection.execute(
            select(attempts.c.at_ms)
            .where(own)
            .order_by(attempts.c.at_ms.desc())
            .offset(PER_INTEGRATION)
            .limit(1)
        )
    ).scalar_one_or_none()
    if bound is None:
        return 0
    finished = select(batches.c.batch_no).where(
        batches.c.integration_no == integration_no, batches.c.state == "done"
    )
    result = await connection.execute(
        delete(attempts).where(own, attempts.c.at_ms <= bound, attempts.c.batch_no.in_(finished))
    )
    return result.rowcount


async def of_batch(connection: AsyncConnection, batch_id: str) -> Sequence[AnyRow]:
    """The attempts at a batch, newest first."""
    return (
        await connection.execute(
            select(attempts)
            .join(batches, batches.c.batch_no == attempts.c.batch_no)
            .where(batches.c.batch_id == batch_id)
            .order_by(attempts.c.attempt_no.desc())
        )
    ).all()


async def of_document(connection: AsyncConnection, doc_nos: Collection[int]) -> Sequence[AnyRow]:
    """What was tried with a document's deliveries, with `effect` and `batch_id`, oldest first."""
    now = select(
        deliveries.c.integration_no, deliveries.c.effect, deliveries.c.batch_no.label("batch_no")
    ).where(deliveries.c.doc_no.in_(doc_nos), deliveries.c.batch_no.is_not(None))
    before = select(
        earlier_batches.c.integration_no, earlier_batches.c.effect, earlier_batches.c.batch_no
    ).where(earlier_batches.c.doc_no.in_(doc_nos))
    which = now.union(before).subquery()
    return (
        await connection.execute(
            select(attempts, which.c.effect, batches.c.batch_id)
            .join(which, which.c.batch_no == attempts.c.batch_no)
            .join(batches, batches.c.batch_no == attempts.c.batch_no)
            .order_by(attempts.c.attempt_no)
        )
    ).all()


async def rate(connection: AsyncConnection, integration_no: int, since_ms: int) -> tuple[int, int | None]:
    """How many deliveries got done since then, and when the first of the attempts that did it began."""
    row = (
        await connection.execute(
            select(func.coalesce(func.sum(attempts.c.done), 0), func.min(attempts.c.at_ms)).where(
                attempts.c.integration_no == integration_no, attempts.c.at_ms >= since_ms
            )
        )
    ).one()
    return int(row[0]), row[1]


# ---- what the other system wrote ----


async def put_written(
    database: Database,
    connection: AsyncConnection,
    integration_no: int,
    found: Mapping[tuple[int, str, int], Written],
    now_ms: int,
) -> None:
    """Keep what deliveries (`doc_no, effect, part`) are called in the other system; its newest word counts."""
    values = [
        {
            "integration_no": integration_no,
            "doc_no": doc_no,
            "effect": effect,
            "part": part,
            "id": one.id,
            "number": one.number,
            "at_ms": now_ms,
        }
        for (doc_no, effect, part), one in found.items()
    ]
    if not values:
        return
    statement = database.insert(written)
    statement = statement.on_conflict_do_update(
        index_elements=["integration_no", "doc_no", "effect", "part"],
        set_={name: statement.excluded[name] for name in ("id", "number", "at_ms")},
    )
    await connection.execute(statement, values)


async def written_of(
    connection: AsyncConnection, integration_no: int | None, doc_nos: Collection[int]
) -> Sequence[AnyRow]:
    """What these documents became over there (in all systems when the integration is None)."""
    statement = select(written).where(written.c.doc_no.in_(doc_nos))
    if integration_no is not None:
        statement = statement.where(written.c.integration_no == integration_no)
    return (
        await connection.execute(
            statement.order_by(written.c.doc_no, written.c.integration_no, written.c.effect, written.c.part)
        )
    ).all()


# ---- the circuit ----


async def failures_of(connection: AsyncConnection, integration_no: int) -> int:
    """Attempts in a row that got no plain answer."""
    found = await connection.execute(
        select(circuits.c.failures).where(circuits.c.integration_no == integration_no)
    )
    return int(found.scalar_one_or_none() or 0)


async def count_failure(
    database: Database, connection: AsyncConnection, integration_no: int, now_ms: int
) -> int:
    """One more; returns how many in a row that makes."""
    statement = database.insert(circuits).values(integration_no=integration_no, failures=1, since_ms=now_ms)
    statement = statement.on_conflict_do_update(
        index_elements=["integration_no"], set_={"failures": circuits.c.failures + 1}
    ).returning(circuits.c.failures)
    return int((await connection.execute(statement)).scalar_one())


async def close_circuit(connection: AsyncConnection, integration_no: int) -> None:
    """A plain answer came."""
    await connection.execute(delete(circuits).where(circuits.c.integration_no == integration_no))


async def is_carried(connection: AsyncConnection, integration_no: int, now_ms: int) -> bool:
    """Whether some node has a batch of this integration in its hands."""
    statement = select(1).where(
        and_(
            batches.c.integration_no == integration_no,
            batches.c.state != "done",
            batches.c.leased_until_ms > now_ms,
        )
    )
    return (await connection.execute(statement.limit(1))).first() is not None
