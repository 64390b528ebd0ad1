"""What people see of deliveries, and what they decide. Every function works inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, and_, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from central.db.attempts import begin
from central.db.database import AnyRow, Database
from central.db.deliveries import by_effect, remember_batch, settle
from central.db.tables.deliveries import batches, deliveries, delivery_records
from central.db.tables.journal import bodies
from central.db.tables.registry import stations


async def status(connection: AsyncConnection) -> dict[int, dict[str, int]]:
    """integration_no -> state -> number of deliveries."""
    rows = await connection.execute(
        select(deliveries.c.integration_no, deliveries.c.state, func.count()).group_by(
            deliveries.c.integration_no, deliveries.c.state
        )
    )
    counts: dict[int, dict[str, int]] = {}
    for integration_no, state, count in rows:
        counts.setdefault(integration_no, {})[state] = count
    return counts


async def list_batches(
    connection: AsyncConnection, integration_no: int, *, open_only: bool, limit: int
) -> Sequence[AnyRow]:
    """Batches of an integration, newest first."""
    statement = select(batches).where(batches.c.integration_no == integration_no)
    if open_only:
        statement = statement.where(batches.c.state != "done")
    return (await connection.execute(statement.order_by(batches.c.batch_no.desc()).limit(limit))).all()


# ---- what is parked ----


async def parked_groups(connection: AsyncConnection) -> Sequence[AnyRow]:
    """`integration_no, reason, deliveries, stations, since_ms, example` (a doc_id), the largest group first."""
    count = func.count().label("deliveries")
    return (
        await connection.execute(
            select(
                batches.c.integration_no,
                batches.c.error.label("reason"),
                count,
                func.count(bodies.c.station_no.distinct()).label("stations"),
                func.min(batches.c.created_ms).label("since_ms"),
                func.min(deliveries.c.doc_no).label("example"),
            )
            .join(deliveries, deliveries.c.batch_no == batches.c.batch_no)
            .join(bodies, bodies.c.doc_no == deliveries.c.doc_no)
            .where(batches.c.state == "parked", deliveries.c.state == "parked")
            .group_by(batches.c.integration_no, batches.c.error)
            .order_by(count.desc())
        )
    ).all()


async def parked_by(connection: AsyncConnection, reason: str) -> Sequence[int]:
    """Integrations with deliveries that are parked for this reason."""
    statement = select(batches.c.integration_no).distinct()
    found = await connection.execute(statement.where(batches.c.state == "parked", batches.c.error == reason))
    return list(found.scalars())


class Chosen(NamedTuple):
    """Parked deliveries: all of a reason, or those of some documents, or both; nothing given: all."""

    integration_no: int
    reason: str | None = None
    doc_nos: Sequence[int] | None = None

    def condition(self) -> ColumnElement[bool]:
        column = deliveries.c
        parts = [column.integration_no == self.integration_no, column.state == "parked"]
        if self.doc_nos is not None:
            parts.append(column.doc_no.in_(self.doc_nos))
        of_batch = select(batches.c.batch_no).where(
            batches.c.integration_no == self.integration_no, batches.c.state == "parked"
        )
        if self.reason is not None:
            of_batch = of_batch.where(batches.c.error == self.reason)
        return and_(*parts, column.batch_no.in_(of_batch))


async def parked_rows(
    connection: AsyncConnection, chosen: Chosen, after: tuple[int, str], limit: int
) -> Sequence[AnyRow]:
    """`doc_no, effect, batch_no, batch_id, reason, header, record, since_ms` behind *after*, in order."""
    doc_no, effect = after
    column = deliveries.c
    same = and_(
        delivery_records.c.integration_no == column.integration_no,
        delivery_records.c.doc_no == column.doc_no,
        delivery_records.c.effect == column.effect,
    )
    return (
        await connection.execute(
            select(
                column.doc_no,
                column.effect,
                column.batch_no,
                batches.c.batch_id,
                batches.c.error.label("reason"),
                batches.c.created_ms.label("since_ms"),
                bodies.c.header,
                stations.c.code.label("station"),
                delivery_records.c.record,
            )
            .join(batches, batches.c.batch_no == column.batch_no)
            .join(bodies, bodies.c.doc_no == column.doc_no)
            .join(stations, stations.c.station_no == bodies.c.station_no)
            .outerjoin(delivery_records, same)
            .where(
                chosen.condition(),
                column.doc_no >= doc_no,
                or_(column.doc_no > doc_no, column.effect > effect),
            )
            .order_by(column.doc_no, column.effect)
            .limit(limit)
        )
    ).all()


async def send_again(
    database: Database,
    connection: AsyncConnection,
    integration_no: int,
    which: Sequence[AnyRow],
    told: str,
    now_ms: int,
) -> None:
    """Make parked deliveries ready; what was tried stays in their history, with *told* as its newest line."""
    emptied = {row.batch_no for row in which}
    for condition in by_effect(database, [(row.doc_no, row.effect) for row in which]):
        own = and_(deliveries.c.integration_no == integration_no, deliveries.c.state == "parked", condition)
        await remember_batch(connection, own)
        await connection.execute(update(deliveries).where(own).values(state="ready", batch_no=None))
    for batch_no in sorted(emptied):
        line = {
            "integration_no": integration_no,
            "batch_no": batch_no,
            "at_ms": now_ms,
            "took_ms": 0,
            "sent": False,
            "outcome": "again",
            "done": 0,
            "error": told,
            "exchanges": "[]",
        }
        await begin(connection, line)
    left = exists().where(deliveries.c.batch_no == batches.c.batch_no)
    await connection.execute(
        update(batches)
        .where(batches.c.integration_no == integration_no, batches.c.state == "parked", ~left)
        .values(state="done", done_ms=now_ms)
    )


async def confirm_unknown(
    database: Database, connection: AsyncConnection, batch_id: str, *, arrived: bool
) -> int:
    """A person says whether a batch that may have arrived did; returns the number of its deliveries."""
    batch = (
        await connection.execute(
            select(batches.c.batch_no, batches.c.done_ms).where(
                batches.c.batch_id == batch_id, batches.c.state == "unknown"
            )
        )
    ).first()
    if batch is None:
        return 0
    own = and_(deliveries.c.batch_no == batch.batch_no, deliveries.c.state == "leased")
    count = (await connection.execute(select(func.count()).where(own))).scalar_one()
    if arrived:
        await settle(database, connection, batch.batch_no, "done")
    else:
        await connection.execute(update(deliveries).where(own).values(state="ready"))
    await connection.execute(update(batches).where(batches.c.batch_no == batch.batch_no).values(state="done"))
    return int(count)
