"""Mapped records and the codes that are waited for, as rows. Every function works inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import and_, delete, exists, func, literal, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from central.db.database import AnyRow, Database
from central.db.deliveries import add_parked_batch, by_effect
from central.db.tables.deliveries import deliveries, delivery_records, delivery_waits, written
from central.db.tables.journal import gate
from central.mapping.lookups import LookUp

Member = tuple[int, str]
LOOK_UPS = 5_000
"""Codes of a page that is looked up at a time."""


async def put(
    database: Database,
    connection: AsyncConnection,
    integration_no: int,
    version: int,
    made: Mapping[Member, str],
    now_ms: int,
    by: str | None = None,
) -> None:
    """Keep records, in place of earlier ones."""
    values = [
        {
            "integration_no": integration_no,
            "doc_no": doc_no,
            "effect": effect,
            "record": record,
            "version": version,
            "by": by,
            "at_ms": now_ms,
        }
        for (doc_no, effect), record in made.items()
    ]
    if not values:
        return
    statement = database.insert(delivery_records)
    statement = statement.on_conflict_do_update(
        index_elements=["integration_no", "doc_no", "effect"],
        set_={name: statement.excluded[name] for name in ("record", "version", "by", "at_ms")},
    )
    await connection.execute(statement, values)


async def forget(
    database: Database, connection: AsyncConnection, integration_no: int, which: Collection[Member]
) -> None:
    """Drop the records of deliveries: they are done, or shall be mapped anew."""
    column = delivery_records.c
    for effect, numbers in _by_effect(which).items():
        await connection.execute(
            delete(delivery_records).where(
                column.integration_no == integration_no, column.effect == effect, column.doc_no.in_(numbers)
            )
        )


def _by_effect(which: Collection[Member]) -> dict[str, list[int]]:
    effects: dict[str, list[int]] = {}
    for doc_no, effect in which:
        effects.setdefault(effect, []).append(doc_no)
    return effects


# ---- what a mapping may ask ----


async def written_names(
    connection: AsyncConnection, integration_no: int, doc_ids: Collection[bytes]
) -> dict[bytes, dict[str, dict[str, Any]]]:
    """doc_id -> effect -> `id` and `number` in the other system, for documents that it has."""
    rows = await connection.execute(
        select(gate.c.doc_id, written.c.effect, written.c.id, written.c.number)
        .join(written, written.c.doc_no == gate.c.doc_no)
        .where(gate.c.doc_id.in_(doc_ids), written.c.integration_no == integration_no, written.c.part == 0)
    )
    found: dict[bytes, dict[str, dict[str, Any]]] = {}
    for doc_id, effect, name, number in rows:
        found.setdefault(bytes(doc_id), {})[effect] = {"id": name, "number": number}
    return found


# ---- waiting for codes ----


async def wait(
    database: Database,
    connection: AsyncConnection,
    integration_no: int,
    missing: Mapping[Member, Collection[LookUp]],
    now_ms: int,
) -> None:
    """Take deliveries out of their batch until the other system has these codes."""
    values = [
        {
            "integration_no": integration_no,
            "doc_no": doc_no,
            "effect": effect,
            "since_ms": now_ms,
            **one._asdict(),
        }
        for (doc_no, effect), several in missing.items()
        for one in several
    ]
    if not values:
        return
    await connection.execute(database.insert(delivery_waits).on_conflict_do_nothing(), values)
    for condition in by_effect(database, missing):
        await connection.execute(
            update(deliveries)
            .where(deliveries.c.integration_no == integration_no, condition)
            .values(state="waiting", batch_no=None)
        )


async def waited_for(
    connection: AsyncConnection, after: LookUp | None = None, system: str | None = None
) -> list[LookUp]:
    """A page of the codes (of one system) that some delivery waits for, in order behind *after*."""
    column = delivery_waits.c
    order = (column.kind, column.system, column.code, column.outlet)
    statement = select(*order).distinct().order_by(*order).limit(LOOK_UPS)
    if after is not None:
        statement = statement.where(tuple_(*order) > tuple_(*map(literal, after)))
    if system is not None:
        statement = statement.where(column.system == system)
    return [LookUp(*row) for row in await connection.execute(statement)]


async def wake(database: Database, connection: AsyncConnection, found: Collection[LookUp]) -> int:
    """These codes are known now: deliveries that wait for nothing else are ready; returns how many."""
    column = delivery_waits.c
    touched: dict[int, set[Member]] = {}
    for one in found:
        gone = await connection.execute(
            delete(delivery_waits)
            .where(
                column.system == one.system,
                column.kind == one.kind,
                column.code == one.code,
                column.outlet == one.outlet,
            )
            .returning(column.integration_no, column.doc_no, column.effect)
        )
        for integration_no, doc_no, effect in gone:
            touched.setdefault(integration_no, set()).add((doc_no, effect))
    woken = 0
    for integration_no, members in touched.items():
        still = exists().where(
            column.integration_no == deliveries.c.integration_no,
            column.doc_no == deliveries.c.doc_no,
            column.effect == deliveries.c.effect,
        )
        for condition in by_effect(database, members):
            result = await connection.execute(
                update(deliveries)
                .where(
                    deliveries.c.integration_no == integration_no,
                    deliveries.c.state == "waiting",
                    condition,
                    ~still,
                )
                .values(state="ready")
            )
            woken += result.rowcount
    return woken


async def park(
    database: Database,
    connection: AsyncConnection,
    asked: Collection[LookUp],
    new_batch_id: Callable[[], str],
    reason: str,
    now_ms: int,
) -> int:
    """Whoever waits for one of these will never get it: a person decides what is sent. Returns how many those are."""
    column = delivery_waits.c
    waiting: dict[int, set[Member]] = {}
    for one in asked:
        same = and_(
            column.system == one.system,
            column.kind == one.kind,
            column.code == one.code,
            column.outlet == one.outlet,
        )
        members = select(column.integration_no, column.doc_no, column.effect).where(same)
        for integration_no, doc_no, effect in await connection.execute(members):
            waiting.setdefault(integration_no, set()).add((doc_no, effect))
    for integration_no, which in sorted(waiting.items()):
        await stop_waiting(connection, integration_no, which)
        batch_no = await add_parked_batch(
            connection, integration_no, new_batch_id(), len(which), reason, now_ms
        )
        for condition in by_effect(database, which):
            of = and_(deliveries.c.integration_no == integration_no, deliveries.c.state == "waiting")
            await connection.execute(
                update(deliveries).where(of, condition).values(state="parked", batch_no=batch_no)
            )
    return sum(map(len, waiting.values()))


async def stop_waiting(connection: AsyncConnection, integration_no: int, which: Collection[Member]) -> None:
    """Nothing that these deliveries lack matters any more."""
    column = delivery_waits.c
    for effect, numbers in _by_effect(which).items():
        await connection.execute(
            delete(delivery_waits).where(
                column.integration_no == integration_no, column.effect == effect, column.doc_no.in_(numbers)
            )
        )


async def waiting_groups(connection: AsyncConnection) -> Sequence[AnyRow]:
    """What is waited for, and by how many deliveries of which integration."""
    column = delivery_waits.c
    return (
        await connection.execute(
            select(
                column.integration_no,
                column.kind,
                column.system,
                column.code,
                column.outlet,
                func.count().label("deliveries"),
                func.min(column.since_ms).label("since_ms"),
                func.min(column.doc_no).label("example"),
            ).group_by(column.integration_no, column.kind, column.system, column.code, column.outlet)
        )
    ).all()
