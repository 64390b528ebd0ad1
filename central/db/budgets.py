"""The credentials' buckets as rows. Every function works inside the caller's transaction."""

from __future__ import annotations

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from central.db.database import AnyRow, Database
from central.db.tables.deliveries import budgets


async def lock(database: Database, connection: AsyncConnection, credential: str, full_micro: int) -> AnyRow:
    """The credential's row, made full where it was never used; nobody else changes it until the commit."""
    made = database.insert(budgets).values(
        credential=credential, calls_micro=full_micro, at_ms=0, paused_until_ms=0
    )
    await connection.execute(made.on_conflict_do_nothing())
    statement = select(budgets).where(budgets.c.credential == credential).with_for_update()
    return (await connection.execute(statement)).one()


async def put(connection: AsyncConnection, credential: str, calls_micro: int, at_ms: int) -> None:
    """Store what is left."""
    await connection.execute(
        update(budgets).where(budgets.c.credential == credential).values(calls_micro=calls_micro, at_ms=at_ms)
    )


async def pause(connection: AsyncConnection, credential: str, until_ms: int) -> None:
    """Nobody uses it until then, unless a longer rest was wished before."""
    await connection.execute(
        update(budgets)
        .where(budgets.c.credential == credential, budgets.c.paused_until_ms < until_ms)
        .values(paused_until_ms=until_ms)
    )


async def resume(connection: AsyncConnection, credential: str) -> None:
    await connection.execute(
        update(budgets).where(budgets.c.credential == credential).values(paused_until_ms=0)
    )
