"""What the catalog knows of stations: where they belong, the scopes they read, what of their journals is settled.

Each function answers for many stations at once.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from central.db.catalog import ScopeState, state_of
from central.db.database import Database
from central.db.tables.catalog import scopes
from central.db.tables.registry import stations
from shared.catalog.scopes import Membership


@dataclass(frozen=True, slots=True)
class Member:
    """A station, where it belongs, and HQ's count of "sync now" calls."""

    station_no: int
    membership: Membership
    poke: int


@dataclass(frozen=True, slots=True)
class Offered:
    """The newest finished snapshot of a scope's generation."""

    sha256: bytes
    seq: int
    bytes: int


# Written out for both dialects, not composed: every request of every station runs them.
_MEMBERS = """
SELECT stations.station_no, stations.code, stations.poke, stores.code, stores.price_list,
       groups.code, groups.priority, groups.price_list
FROM stations
JOIN stores ON stores.store_no = stations.store_no
LEFT JOIN station_groups ON station_groups.station_no = stations.station_no
LEFT JOIN groups ON groups.group_no = station_groups.group_no
WHERE stations.state <> 'source'
"""
_OFFERS = """
SELECT scopes.scope_no, scopes.scope, scopes.gen, scopes.head, scopes.count, scopes.digest, scopes.floor,
       snapshots.sha256, snapshots.seq, snapshots.bytes
FROM scopes
LEFT JOIN snapshots ON snapshots.scope_no = scopes.scope_no AND snapshots.gen = scopes.gen AND snapshots.built_ms > 0
"""
_NEWEST_LAST = "ORDER BY snapshots.seq, snapshots.built_ms"
_EPOCHS = "SELECT station_no, epoch_no, epoch, last, updated_ms FROM epochs"
# CROSS JOIN keeps SQLite to this order: nearly always nothing is pending, and bodies are many.
_BUSY = (
    "SELECT DISTINCT bodies.station_no FROM pending CROSS JOIN bodies WHERE bodies.doc_no = pending.doc_no"
)
_FIRST_NEW = """
SELECT journal.epoch_no, min(journal.seq) FROM journal CROSS JOIN pending
WHERE pending.doc_no = journal.doc_no
"""


async def members(
    database: Database, connection: AsyncConnection, station_nos: Collection[int] | None = None
) -> dict[int, Member]:
    """The named stations, or all of them."""
    if station_nos is None:
        (rows,) = await database.script(connection, [(_MEMBERS, [])])
    else:
        statement = f"{_MEMBERS} AND stations.station_no IN {database.listed()}"
        rows = await database.rows_of(connection, statement, station_nos)
    found: dict[int, list[Any]] = {}
    for row in rows:
        found.setdefault(row[0], []).append(row)
    return {station_no: _member(rows) for station_no, rows in found.items()}


def _member(rows: list[Any]) -> Member:
    station_no, code, poke, store, price_list = rows[0][:5]
    belongs = tuple((row[5], row[6], row[7]) for row in rows if row[5] is not None)
    return Member(station_no, Membership(code, store, price_list, belongs), poke)


async def scope_offers(
    database: Database, connection: AsyncConnection, names: Collection[str] | None = None
) -> dict[str, tuple[ScopeState, Offered | None]]:
    """The scopes that exist, of the named ones or of all, each with its snapshot on offer."""
    if names is None:
        (rows,) = await database.script(connection, [(f"{_OFFERS} {_NEWEST_LAST}", [])])
    else:
        statement = f"{_OFFERS} WHERE scopes.scope IN {database.listed('text')} {_NEWEST_LAST}"
        rows = await database.rows_of(connection, statement, names)
    found: dict[str, tuple[ScopeState, Offered | None]] = {}
    for row in rows:
        state = state_of(row)
        offered = Offered(row[7], row[8], row[9]) if row[7] is not None else None
        found[state.scope] = (state, offered)  # the newest comes last
    return found


async def settled(
    database: Database, connection: AsyncConnection, station_nos: Collection[int], since_ms: int
) -> dict[int, dict[str, int]]:
    """Per station and epoch (those that moved since *since_ms*) the seq up to which no document is still new."""
    listed = database.listed()
    moved = await database.rows_of(connection, f"{_EPOCHS} WHERE station_no IN {listed}", station_nos)
    busy = await database.rows_of(connection, f"{_BUSY} AND bodies.station_no IN {listed}", station_nos)
    new_in = {row[0] for row in busy}
    epoch_nos = [row[1] for row in moved if row[0] in new_in and row[4] >= since_ms]
    first_new: dict[int, int] = {}
    if epoch_nos:
        statement = f"{_FIRST_NEW} AND journal.epoch_no IN {listed} GROUP BY journal.epoch_no"
        rows = await database.rows_of(connection, statement, epoch_nos)
        first_new = {row[0]: row[1] for row in rows}
    found: dict[int, dict[str, int]] = {station_no: {} for station_no in station_nos}
    for station_no, epoch_no, epoch, last, updated_ms in moved:
        if updated_ms >= since_ms:
            found[station_no][epoch.hex()] = first_new.get(epoch_no, last + 1) - 1
    return found


@dataclass(frozen=True, slots=True)
class Stamp:
    """A value that differs whenever a scope moved or a station was poked, read without looking at each of them."""

    scopes: tuple[int, int]
    pokes: int


async def stamp(connection: AsyncConnection) -> Stamp:
    # Heads never go back and every change of a scope moves its head, so their sum tells all.
    heads = select(func.coalesce(func.sum(scopes.c.head), 0)).scalar_subquery()
    count = select(func.count()).select_from(scopes).scalar_subquery()
    pokes = select(func.coalesce(func.sum(stations.c.poke), 0)).scalar_subquery()
    row = (await connection.execute(select(count, heads, pokes))).one()
    return Stamp((int(row[0]), int(row[1])), int(row[2]))


async def heads(connection: AsyncConnection) -> dict[str, int]:
    """Scope -> head."""
    return {row[0]: row[1] for row in await connection.execute(select(scopes.c.scope, scopes.c.head))}


async def pokes(connection: AsyncConnection) -> dict[int, int]:
    """Station -> its count of "sync now" calls."""
    return {
        row[0]: row[1] for row in await connection.execute(select(stations.c.station_no, stations.c.poke))
    }
