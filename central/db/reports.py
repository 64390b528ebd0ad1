"""What stations report about themselves, and what a rollout is judged by."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from central.db.database import Database
from central.db.tables.catalog import publications
from central.db.tables.registry import SOURCE, stations


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


_REACHED = "SELECT station_no, reached FROM stations WHERE station_no IN "
# Locked in the one order that all keep who lock many stations. SQLite has one writer and locks no rows.
_LOCKED = {"sqlite": "", "postgresql": " ORDER BY station_no FOR UPDATE"}
_STORE = {
    "sqlite": """UPDATE stations SET report = ?1, reached = ?2, report_ms = ?3, last_seen_ms = ?3
                 WHERE station_no = ?4""",
    "postgresql": """UPDATE stations SET report = $1, reached = $2, report_ms = $3, last_seen_ms = $3
                     WHERE station_no = $4""",
}


async def reached(
    database: Database, connection: AsyncConnection, station_nos: Collection[int]
) -> dict[int, bytes | None]:
    """What the stations had reached by their last reports; their rows stay locked."""
    statement = _REACHED + database.listed() + _LOCKED[connection.dialect.name]
    rows = await database.rows_of(connection, statement, station_nos)
    return {row[0]: row[1] for row in rows}


async def store(
    database: Database, connection: AsyncConnection, reports: Mapping[int, tuple[bytes, bytes]], at_ms: int
) -> None:
    """Keep the reports as sent, with what they reached: station -> (report, reached)."""
    rows = [
        (sent, now_reached, at_ms, station_no) for station_no, (sent, now_reached) in sorted(reports.items())
    ]
    await database.store(connection, [], [(_STORE[connection.dialect.name], rows)])


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
    ).where(columns.state != SOURCE)
    return [StationRow(*row) for row in await connection.execute(query.order_by(columns.code))]


async def published_ms(connection: AsyncConnection, scope_no: int, seq: int) -> int | None:
    """When the publication that brought a seq was committed; None where that is forgotten."""
    query = select(publications.c.at_ms).where(publications.c.scope_no == scope_no, publications.c.seq >= seq)
    return (await connection.execute(query.order_by(publications.c.seq).limit(1))).scalar_one_or_none()


async def head_times(connection: AsyncConnection) -> dict[int, int]:
    """Scope number -> when its newest publication was committed."""
    query = select(publications.c.scope_no, func.max(publications.c.at_ms)).group_by(publications.c.scope_no)
    return {row[0]: row[1] for row in await connection.execute(query)}
