"""What people see of deliveries, and what they decide. Every function works inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import and_, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from central.db.database import AnyRow
from central.db.tables import batches, deliveries


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


async def retry_parked(connection: AsyncConnection, integration_no: int, reason: str | None) -> int:
    """Make parked deliveries (of one reason, if given) ready again; returns how many."""
    which = and_(batches.c.integration_no == integration_no, batches.c.state == "parked")
    if reason is not None:
        which = and_(which, batches.c.error == reason)
    result = await connection.execute(
        update(deliveries)
        .where(
            deliveries.c.integration_no == integration_no,
            deliveries.c.state == "parked",
            deliveries.c.batch_no.in_(select(batches.c.batch_no).where(which)),
        )
        .values(state="ready", batch_no=None)
    )
    await connection.execute(update(batches).where(which).values(state="done"))
    return result.rowcount


async def confirm_unknown(connection: AsyncConnection, batch_id: str, *, arrived: bool) -> int:
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
    result = await connection.execute(
        update(deliveries)
        .where(deliveries.c.batch_no == batch.batch_no, deliveries.c.state == "leased")
        .values(state="done" if arrived else "ready")
    )
    await connection.execute(update(batches).where(batches.c.batch_no == batch.batch_no).values(state="done"))
    return result.rowcount
