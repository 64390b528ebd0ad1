"""SQL of `after-restore`."""

from __future__ import annotations

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from central.db.tables.catalog import scopes
from central.db.tables.deliveries import batches
from central.db.tables.journal import bodies
from central.db.tables.registry import stations
from central.db.tables.system import leases


async def count_scopes(connection: AsyncConnection) -> int:
    return int((await connection.execute(select(func.count()).select_from(scopes))).scalar_one())


async def count_stations(connection: AsyncConnection) -> int:
    """Stations that will send again what is missing here."""
    statement = select(func.count()).select_from(stations).where(stations.c.state == "active")
    return int((await connection.execute(statement)).scalar_one())


async def newest_document_ms(connection: AsyncConnection) -> int | None:
    """When the newest document came in: about the moment of the backup."""
    newest = select(func.max(bodies.c.doc_no)).scalar_subquery()
    statement = select(bodies.c.received_ms).where(bodies.c.doc_no == newest)
    return (await connection.execute(statement)).scalar_one_or_none()


async def open_leases(connection: AsyncConnection) -> int:
    """Give up every lease, so that batches under way are looked at at once; returns how many are not done."""
    await connection.execute(delete(leases))
    open_batches = batches.c.state.in_(("ready", "sent", "unknown"))
    freed = await connection.execute(
        update(batches).where(open_batches).values(lease=None, leased_until_ms=0, not_before_ms=0)
    )
    return freed.rowcount
