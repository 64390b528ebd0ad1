"""Leases: which node does a piece of work that only one should do at a time. Timed by the database's clock.

A lease bounds how long others wait for a node that died; it is no lock. Work done under one must still be harmless
when a second node does it too.
"""

from __future__ import annotations

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncConnection

from central.db.database import Database
from central.db.tables.system import leases


async def take(database: Database, name: str, holder: str, seconds: float) -> bool:
    """Take the lease, or prolong it, unless somebody else holds it."""

    async def work(connection: AsyncConnection) -> bool:
        now_ms = await database.now_ms(connection)
        until_ms = now_ms + round(seconds * 1000)
        statement = database.insert(leases).values(name=name, holder=holder, until_ms=until_ms)
        statement = statement.on_conflict_do_update(
            index_elements=[leases.c.name],
            set_={"holder": holder, "until_ms": until_ms},
            where=(leases.c.holder == holder) | (leases.c.until_ms <= now_ms),
        ).returning(leases.c.name)
        return (await connection.execute(statement)).first() is not None

    return await database.run(work)


async def release(database: Database, name: str, holder: str) -> None:
    """Give it back early."""

    async def work(connection: AsyncConnection) -> None:
        await connection.execute(delete(leases).where(leases.c.name == name, leases.c.holder == holder))

    await database.run(work)
