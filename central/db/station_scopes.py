"""What the catalog knows of stations: where they belong, the scopes they read, what of their journals is settled.

Each function answers for many stations at once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from central.db.catalog import ScopeState, one_of, state_of
from central.db.database import Database
from central.db.tables import bodies, epochs, journal, pending, scopes, stations
from shared.canonical import canonical
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
"""
_OFFERS = """
SELECT scopes.scope_no, scopes.scope, scopes.gen, scopes.head, scopes.count, scopes.digest, scopes.floor,
       snapshots.sha256, snapshots.seq, snapshots.bytes
FROM scopes
LEFT JOIN snapshots ON snapshots.scope_no = scopes.scope_no AND snapshots.gen = scopes.gen AND snapshots.built_ms > 0
"""
_NEWEST_LAST = "ORDER BY snapshots.seq, snapshots.built_ms"


async def members(
    database: Database, connection: AsyncConnection, station_nos: Collection[int] | None = None
) -> dict[int, Member]:
    """The named stations, or all of them."""
    condition = (
        f"WHERE stations.station_no IN {_listed(database, 'bigint')}" if station_nos is not None else ""
    )
    found: dict[int, list[Any]] = {}
    for row in await _read(database, connection, f"{_MEMBERS} {condition}", station_nos):
        found.setdefault(row[0], []).append(row)
    return {station_no: _member(rows) for station_no, rows in found.items()}


def _listed(database: Database, kind: str) -> str:
    """Any number of values in one parameter."""
    return "(SELECT value FROM json_each(?))" if database.is_sqlite else f"(SELECT unnest($1::{kind}[]))"


async def _read(
    database: Database, connection: AsyncConnection, statement: str, these: Collection[int | str] | None
) -> list[Any]:
    values: list[Any] = []
    if these is not None:
        values = [canonical(list(these)).decode() if database.is_sqlite else list(these)]
    return (await database.script(connection, [(statement, values)]))[0]


def _member(rows: list[Any]) -> Member:
    station_no, code, poke, store, price_list = rows[0][:5]
    belongs = tuple((row[5], row[6], row[7]) for row in rows if row[5] is not None)
    return Member(station_no, Membership(code, store, price_list, belongs), poke)


async def scope_offers(
    database: Database, connection: AsyncConnection, names: Collection[str] | None = None
) -> dict[str, tuple[ScopeState, Offered | None]]:
    """The scopes that exist, of the named ones or of all, each with its snapshot on offer."""
    condition = f"WHERE scopes.scope IN {_listed(database, 'text')}" if names is not None else ""
    found: dict[str, tuple[ScopeState, Offered | None]] = {}
    for row in await _read(database, connection, f"{_OFFERS} {condition} {_NEWEST_LAST}", names):
        state = state_of(row)
        offered = Offered(row[7], row[8], row[9]) if row[7] is not None else None
        found[state.scope] = (state, offered)  # the newest comes last
    return found


async def settled(
    database: Database, connection: AsyncConnection, station_nos: Collection[int], since_ms: int
) -> dict[int, dict[str, int]]:
    """Per station and epoch (those that moved since *since_ms*) the seq up to which no document is still new."""
    query = select(epochs.c.station_no, epochs.c.epoch_no, epochs.c.epoch, epochs.c.last).where(
        one_of(database, epochs.c.station_no, station_nos), epochs.c.updated_ms >= since_ms
    )
    rows = (await connection.execute(query)).all()
    first_new = await _first_new(database, connection, station_nos, [(row[0], row[1]) for row in rows])
    found: dict[int, dict[str, int]] = {station_no: {} for station_no in station_nos}
    for station_no, epoch_no, epoch, last in rows:
        found[station_no][epoch.hex()] = first_new.get(epoch_no, last + 1) - 1
    return found


async def _first_new(
    database: Database,
    connection: AsyncConnection,
    station_nos: Collection[int],
    station_epochs: list[tuple[int, int]],
) -> Mapping[int, int]:
    """Per epoch the first seq whose document is still pending."""
    # Nearly always nothing is pending, or little: start from there, and look at the journals of those stations only.
    owners = (
        select(bodies.c.station_no)
        .join(pending, pending.c.doc_no == bodies.c.doc_no)
        .where(one_of(database, bodies.c.station_no, station_nos))
        .distinct()
    )
    busy = set((await connection.execute(owners)).scalars())
    epoch_nos = [epoch_no for station_no, epoch_no in station_epochs if station_no in busy]
    if not epoch_nos:
        return {}
    query = (
        select(journal.c.epoch_no, func.min(journal.c.seq))
        .join(pending, pending.c.doc_no == journal.c.doc_no)
        .where(one_of(database, journal.c.epoch_no, epoch_nos))
        .group_by(journal.c.epoch_no)
    )
    return {row[0]: row[1] for row in await connection.execute(query)}


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
