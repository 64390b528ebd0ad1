"""What stations report about themselves, and what a rollout is judged by."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import bindparam, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from central.db.catalog import one_of
from central.db.database import Database
from central.db.tables import publications, stations


@dataclass(frozen=True, slots=True)
class StationRow:
    """A station as it was last heard of. `reached` is JSON: scope -> [gen, seq, since ms]."""

    station_no: int
    state: str
    quarantined: bool
    last_seen_ms: int | None
    report: bytes | None
    reached: bytes | None
    created_ms: int


async def reached(
    database: Database, connection: AsyncConnection, station_nos: Collection[int]
) -> dict[int, bytes | None]:
    """What the stations had reached by their last reports.

    Their rows stay locked, in the one order that all keep who lock many.
    """
    query = select(stations.c.station_no, stations.c.reached).where(
        one_of(database, stations.c.station_no, station_nos)
    )
    locked = query.order_by(stations.c.station_no).with_for_update()
    return {row[0]: row[1] for row in await connection.execute(locked)}


_STORE = (
    update(stations)
    .where(stations.c.station_no == bindparam("station"))
    .values(
        report=bindparam("sent"),
        reached=bindparam("now_reached"),
        report_ms=bindparam("at_ms"),
        last_seen_ms=bindparam("at_ms"),
    )
)


async def store(connection: AsyncConnection, reports: Mapping[int, tuple[bytes, bytes]], at_ms: int) -> None:
    """Keep the reports as sent, with what they reached: station -> (report, reached)."""
    values = [
        {"station": station_no, "sent": sent, "now_reached": now_reached, "at_ms": at_ms}
        for station_no, (sent, now_reached) in sorted(reports.items())
    ]
    await connection.execute(_STORE, values)


async def station_rows(connection: AsyncConnection) -> list[StationRow]:
    columns = stations.c
    query = select(
        columns.station_no,
        columns.state,
        columns.quarantined,
        columns.last_seen_ms,
        columns.report,
        columns.reached,
        columns.created_ms,
    ).order_by(columns.code)
    return [StationRow(*row) for row in await connection.execute(query)]


async def published_ms(connection: AsyncConnection, scope_no: int, seq: int) -> int | None:
    """When the publication that brought a seq was committed; None where that is forgotten."""
    query = select(publications.c.at_ms).where(publications.c.scope_no == scope_no, publications.c.seq >= seq)
    return (await connection.execute(query.order_by(publications.c.seq).limit(1))).scalar_one_or_none()


async def head_times(connection: AsyncConnection) -> dict[int, int]:
    """Scope number -> when its newest publication was committed."""
    query = select(publications.c.scope_no, func.max(publications.c.at_ms)).group_by(publications.c.scope_no)
    return {row[0]: row[1] for row in await connection.execute(query)}
