"""SQL of what HQ sees of and does to stores, groups and stations; `registry.py` has what enrolment and sessions need.

Statements only; what may be done to whom is decided in `central/registry/stores.py`. Every function that takes part
in a decision about one station reads its row with `lock_station` first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from central.db.database import AnyRow
from central.db.tables.journal import epochs, held, pending
from central.db.tables.registry import (
    OWN_STORE,
    SOURCE,
    enrolment_codes,
    groups,
    station_groups,
    station_keys,
    stations,
    stores,
)

# ---- stores and groups ----


async def store_by_code(connection: AsyncConnection, code: str) -> AnyRow | None:
    found = select(stores).where(stores.c.code == code, stores.c.code != OWN_STORE)
    return (await connection.execute(found)).one_or_none()


async def stores_by_code(connection: AsyncConnection) -> dict[str, int]:
    """Every store's number by its code."""
    found = select(stores.c.code, stores.c.store_no).where(stores.c.code != OWN_STORE)
    return {row[0]: row[1] for row in await connection.execute(found)}


async def update_store(connection: AsyncConnection, store_no: int, values: Mapping[str, Any]) -> None:
    await connection.execute(update(stores).where(stores.c.store_no == store_no).values(**values))


async def list_stores(connection: AsyncConnection) -> Sequence[AnyRow]:
    """Every store with the number of its stations."""
    counts = (
        select(stations.c.store_no, func.count().label("stations"))
        .where(stations.c.state != SOURCE)
        .group_by(stations.c.store_no)
        .subquery("counts")
    )
    statement = select(stores, func.coalesce(counts.c.stations, 0).label("stations"))
    statement = statement.select_from(stores.outerjoin(counts, counts.c.store_no == stores.c.store_no))
    statement = statement.where(stores.c.code != OWN_STORE)
    return (await connection.execute(statement.order_by(stores.c.code))).all()


async def group_by_code(connection: AsyncConnection, code: str) -> AnyRow | None:
    return (await connection.execute(select(groups).where(groups.c.code == code))).one_or_none()


async def groups_by_code(connection: AsyncConnection) -> dict[str, int]:
    """Every group's number by its code."""
    return {row[0]: row[1] for row in await connection.execute(select(groups.c.code, groups.c.group_no))}


async def update_group(connection: AsyncConnection, group_no: int, values: Mapping[str, Any]) -> None:
    await connection.execute(update(groups).where(groups.c.group_no == group_no).values(**values))


async def list_groups(connection: AsyncConnection) -> Sequence[AnyRow]:
    """Every group with the number of its stations."""
    counts = (
        select(station_groups.c.group_no, func.count().label("stations"))
        .group_by(station_groups.c.group_no)
        .subquery("counts")
    )
    statement = select(groups, func.coalesce(counts.c.stations, 0).label("stations"))
    statement = statement.select_from(groups.outerjoin(counts, counts.c.group_no == groups.c.group_no))
    return (await connection.execute(statement.order_by(groups.c.code))).all()


# ---- stations ----


async def lock_station(connection: AsyncConnection, code: str) -> AnyRow | None:
    """A station's row, held against pushes and sessions until the transaction ends."""
    statement = select(stations).where(stations.c.code == code, stations.c.state != SOURCE).with_for_update()
    return (await connection.execute(statement)).one_or_none()


async def stations_by_code(connection: AsyncConnection, codes: Sequence[str]) -> dict[str, AnyRow]:
    """Number, state, store_no, name of those that exist."""
    columns = (stations.c.code, stations.c.station_no, stations.c.state, stations.c.store_no, stations.c.name)
    found: dict[str, AnyRow] = {}
    for start in range(0, len(codes), 1_000):
        statement = select(*columns).where(stations.c.code.in_(codes[start : start + 1_000]))
        found.update({row.code: row for row in await connection.execute(statement)})
    return found


async def set_station(connection: AsyncConnection, station_no: int, values: Mapping[str, Any]) -> None:
    await connection.execute(update(stations).where(stations.c.station_no == station_no).values(**values))


async def poke(
    connection: AsyncConnection,
    *,
    codes: Sequence[str] | None = None,
    store_no: int | None = None,
    group_no: int | None = None,
) -> int:
    """Tell stations to look now: those named, those of a store, those of a group, or all; returns how many."""
    statement = update(stations).where(stations.c.state != SOURCE).values(poke=stations.c.poke + 1)
    if codes is not None:
        statement = statement.where(stations.c.code.in_(codes))
    if store_no is not None:
        statement = statement.where(stations.c.store_no == store_no)
    if group_no is not None:
        members = select(station_groups.c.station_no).where(station_groups.c.group_no == group_no)
        statement = statement.where(stations.c.station_no.in_(members))
    return (await connection.execute(statement)).rowcount


async def groups_of(connection: AsyncConnection, station_nos: Sequence[int]) -> dict[int, list[str]]:
    """Group codes of each station, strongest first."""
    found: dict[int, list[str]] = {number: [] for number in station_nos}
    for start in range(0, len(station_nos), 1_000):
        statement = (
            select(station_groups.c.station_no, groups.c.code)
            .join(groups, groups.c.group_no == station_groups.c.group_no)
            .where(station_groups.c.station_no.in_(station_nos[start : start + 1_000]))
            .order_by(groups.c.priority.desc(), groups.c.code)
        )
        for station_no, code in await connection.execute(statement):
            found[station_no].append(code)
    return found


async def add_to_groups(connection: AsyncConnection, station_no: int, group_nos: Iterable[int]) -> None:
    rows = [{"station_no": station_no, "group_no": number} for number in sorted(set(group_nos))]
    if rows:
        await connection.execute(station_groups.insert(), rows)


async def remove_from_groups(connection: AsyncConnection, station_no: int, group_nos: Sequence[int]) -> None:
    await connection.execute(
        delete(station_groups).where(
            station_groups.c.station_no == station_no, station_groups.c.group_no.in_(group_nos)
        )
    )


async def list_stations(
    connection: AsyncConnection,
    *,
    after: str = "",
    limit: int,
    store: str | None = None,
    group: str | None = None,
    state: str | None = None,
    code: str | None = None,
) -> Sequence[AnyRow]:
    """Stations by code, with their store's code. *state* may also be `quarantined`."""
    statement = select(stations, stores.c.code.label("store")).join(
        stores, stores.c.store_no == stations.c.store_no
    )
    statement = statement.where(stations.c.code > after, stations.c.state != SOURCE)
    if code is not None:
        statement = statement.where(stations.c.code == code)
    if store is not None:
        statement = statement.where(stores.c.code == store)
    if group is not None:
        members = (
            select(station_groups.c.station_no)
            .join(groups, groups.c.group_no == station_groups.c.group_no)
            .where(groups.c.code == group)
        )
        statement = statement.where(stations.c.station_no.in_(members))
    if state == "quarantined":
        statement = statement.where(stations.c.quarantined)
    elif state is not None:
        statement = statement.where(stations.c.state == state)
    return (await connection.execute(statement.order_by(stations.c.code).limit(limit))).all()


async def keys_of(connection: AsyncConnection, station_no: int) -> Sequence[AnyRow]:
    statement = select(station_keys.c.public_key, station_keys.c.state, station_keys.c.created_ms)
    statement = statement.where(station_keys.c.station_no == station_no).order_by(station_keys.c.created_ms)
    return (await connection.execute(statement)).all()


async def epochs_of(connection: AsyncConnection, station_no: int) -> Sequence[AnyRow]:
    """The epochs of a station, newest first."""
    statement = select(epochs).where(epochs.c.station_no == station_no).order_by(epochs.c.updated_ms.desc())
    return (await connection.execute(statement)).all()


async def revoke_station(connection: AsyncConnection, station_no: int) -> None:
    """Close every door of a station: its row, its keys, and codes that nobody has used yet."""
    await set_station(connection, station_no, {"state": "revoked"})
    await connection.execute(
        update(station_keys).where(station_keys.c.station_no == station_no).values(state="revoked")
    )
    await drop_unused_codes(connection, station_no)


async def open_codes(connection: AsyncConnection, now_ms: int) -> Sequence[AnyRow]:
    """Enrolment codes that may still be used, the newest first."""
    statement = (
        select(
            enrolment_codes,
            stations.c.code.label("station"),
            groups.c.code.label("group"),
            stores.c.code.label("store"),
        )
        .select_from(
            enrolment_codes.outerjoin(stations, stations.c.station_no == enrolment_codes.c.station_no)
            .outerjoin(groups, groups.c.group_no == enrolment_codes.c.group_no)
            .outerjoin(stores, stores.c.store_no == enrolment_codes.c.store_no)
        )
        .where(enrolment_codes.c.uses_left > 0, enrolment_codes.c.expires_ms > now_ms)
    )
    return (await connection.execute(statement.order_by(enrolment_codes.c.created_ms.desc()))).all()


async def close_code(connection: AsyncConnection, code_hash: bytes) -> None:
    """Let nobody use a code any more; who has used it still gets the same answer."""
    statement = update(enrolment_codes).where(enrolment_codes.c.hash == code_hash)
    await connection.execute(statement.values(uses_left=0))


async def drop_unused_codes(connection: AsyncConnection, station_no: int) -> None:
    """Forget codes of a station that nobody has used; a used one stays, for the same answer to the same machine."""
    unused = (enrolment_codes.c.station_no == station_no) & enrolment_codes.c.used_by.is_(None)
    await connection.execute(delete(enrolment_codes).where(unused))


RELEASABLE = ("quarantine", "retired-key")
"""What a release lets through; a conflict or a damaged document stays held whatever HQ says about the station."""


async def release_held(connection: AsyncConnection, station_no: int) -> int:
    """Make what is held of a station pending; the caller holds its row's lock. Returns how many will be applied."""
    chosen = (held.c.station_no == station_no) & held.c.why.in_(RELEASABLE)
    moved = await connection.execute(
        pending.insert().from_select(["doc_no"], select(held.c.doc_no).where(chosen))
    )
    await connection.execute(delete(held).where(chosen))
    return moved.rowcount
