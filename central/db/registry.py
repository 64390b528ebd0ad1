"""Rows of stations, keys, enrolment codes and epochs, as sessions and enrolment read and write them.

Whoever changes a station's state holds its row's lock first (`station_by_code`, `station_by_no` with `lock=True`);
on SQLite the one writer is that lock.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from central.db.database import Database, chunks
from central.db.tables.journal import epochs
from central.db.tables.registry import (
    SOURCE,
    enrolment_codes,
    groups,
    station_groups,
    station_keys,
    stations,
    stores,
)
from central.db.tables.system import audit, meta

_IN_MAX = 5_000
OTHER_EPOCHS_MAX = 1_000


async def meta_value(database: Database, connection: AsyncConnection, key: str, fresh: str) -> str:
    """The single value of *key*, stored as *fresh* where there is none yet."""
    await connection.execute(database.insert(meta).values(key=key, value=fresh).on_conflict_do_nothing())
    return str((await connection.execute(select(meta.c.value).where(meta.c.key == key))).scalar_one())


async def note(connection: AsyncConnection, at_ms: int, who: str, what: str, detail: str) -> None:
    """One line of the audit trail."""
    await connection.execute(audit.insert().values(at_ms=at_ms, who=who, what=what, detail=detail))


# ---- stores, groups, stations ----


async def add_store(
    connection: AsyncConnection,
    *,
    code: str,
    name: str,
    zone: str,
    currency: str,
    price_list: str | None = None,
) -> int:
    statement = stores.insert().values(
        code=code, name=name, zone=zone, currency=currency, price_list=price_list
    )
    return int((await connection.execute(statement.returning(stores.c.store_no))).scalar_one())


async def add_group(
    connection: AsyncConnection, *, code: str, name: str, priority: int = 0, price_list: str | None = None
) -> int:
    statement = groups.insert().values(code=code, name=name, priority=priority, price_list=price_list)
    return int((await connection.execute(statement.returning(groups.c.group_no))).scalar_one())


async def add_station(
    connection: AsyncConnection,
    *,
    code: str,
    store_no: int,
    name: str,
    created_ms: int,
    group_nos: Sequence[int] = (),
) -> int:
    """A station that nobody has enrolled as yet."""
    statement = stations.insert().values(
        code=code,
        store_no=store_no,
        name=name,
        state="new",
        quarantined=False,
        newest_nonce_ms=0,
        poke=0,
        last_number=0,
        created_ms=created_ms,
    )
    station_no = int((await connection.execute(statement.returning(stations.c.station_no))).scalar_one())
    if group_nos:
        members = [{"station_no": station_no, "group_no": group_no} for group_no in group_nos]
        await connection.execute(station_groups.insert(), members)
    return station_no


_STATION = select(
    stations, stores.c.code.label("store"), stores.c.zone.label("zone"), stores.c.currency.label("currency")
).join(stores, stores.c.store_no == stations.c.store_no)
_STATION = _STATION.where(stations.c.state != SOURCE)


async def station_by_code(connection: AsyncConnection, code: str, *, lock: bool = False) -> Any:
    """A station with its store's code, zone and currency."""
    statement = _STATION.where(stations.c.code == code)
    return (await connection.execute(_locked(statement, lock))).one_or_none()


async def station_by_no(connection: AsyncConnection, station_no: int, *, lock: bool = False) -> Any:
    """As `station_by_code`, by number."""
    statement = _STATION.where(stations.c.station_no == station_no)
    return (await connection.execute(_locked(statement, lock))).one_or_none()


def _locked(statement: Any, lock: bool) -> Any:
    return statement.with_for_update(of=stations) if lock else statement


async def update_station(connection: AsyncConnection, station_no: int, **values: Any) -> None:
    await connection.execute(update(stations).where(stations.c.station_no == station_no).values(**values))


# ---- keys ----


async def key_state(connection: AsyncConnection, station_no: int, public_key: bytes) -> str | None:
    statement = select(station_keys.c.state).where(
        station_keys.c.station_no == station_no, station_keys.c.public_key == public_key
    )
    state: str | None = (await connection.execute(statement)).scalar_one_or_none()
    return state


async def key_owner(connection: AsyncConnection, public_key: bytes) -> Any:
    """(station_no, state) of a public key, whoever's it is."""
    statement = select(station_keys.c.station_no, station_keys.c.state).where(
        station_keys.c.public_key == public_key
    )
    return (await connection.execute(statement)).one_or_none()


async def active_keys(connection: AsyncConnection, station_no: int) -> list[bytes]:
    statement = select(station_keys.c.public_key).where(
        station_keys.c.station_no == station_no, station_keys.c.state == "active"
    )
    return list((await connection.execute(statement)).scalars())


async def add_key(connection: AsyncConnection, station_no: int, public_key: bytes, created_ms: int) -> None:
    await connection.execute(
        station_keys.insert().values(
            station_no=station_no, public_key=public_key, state="active", created_ms=created_ms
        )
    )


async def retire_keys(connection: AsyncConnection, station_no: int) -> None:
    """What is still unsent under the keys so far stays welcome, but is held."""
    await connection.execute(
        update(station_keys)
        .where(station_keys.c.station_no == station_no, station_keys.c.state == "active")
        .values(state="retired")
    )


@dataclass(frozen=True, slots=True)
class Caller:
    """A station and one of its keys, as they stand now."""

    code: str
    store_no: int
    state: str
    key_state: str


# Written out for both dialects, not composed: every request of every station runs it.
_CALLERS = """
SELECT stations.station_no, station_keys.public_key, stations.code, stations.store_no, stations.state,
       station_keys.state
FROM stations JOIN station_keys ON station_keys.station_no = stations.station_no
WHERE stations.station_no IN """


async def callers(
    database: Database, connection: AsyncConnection, station_nos: Collection[int]
) -> dict[tuple[int, bytes], Caller]:
    """Whom session tokens may name: (station, public key) -> how they stand."""
    rows = await database.rows_of(connection, _CALLERS + database.listed(), station_nos)
    return {(row[0], bytes(row[1])): Caller(*row[2:6]) for row in rows}


# ---- enrolment codes ----


async def add_code(
    connection: AsyncConnection,
    *,
    code_hash: bytes,
    station_no: int | None,
    group_no: int | None,
    store_no: int | None,
    replace: bool,
    uses_left: int,
    expires_ms: int,
    created_ms: int,
) -> None:
    await connection.execute(
        enrolment_codes.insert().values(
            hash=code_hash,
            station_no=station_no,
            group_no=group_no,
            store_no=store_no,
            replace=replace,
            uses_left=uses_left,
            expires_ms=expires_ms,
            created_ms=created_ms,
        )
    )


async def code_by_hash(connection: AsyncConnection, code_hash: bytes) -> Any:
    """An enrolment code, locked."""
    statement = select(enrolment_codes).where(enrolment_codes.c.hash == code_hash).with_for_update()
    return (await connection.execute(statement)).one_or_none()


async def use_code(connection: AsyncConnection, code_hash: bytes, public_key: bytes) -> None:
    await connection.execute(
        update(enrolment_codes)
        .where(enrolment_codes.c.hash == code_hash)
        .values(uses_left=enrolment_codes.c.uses_left - 1, used_by=public_key)
    )


async def group_by_no(connection: AsyncConnection, group_no: int) -> Any:
    return (await connection.execute(select(groups).where(groups.c.group_no == group_no))).one()


async def is_member(connection: AsyncConnection, station_no: int, group_no: int) -> bool:
    statement = select(func.count()).where(
        station_groups.c.station_no == station_no, station_groups.c.group_no == group_no
    )
    return bool((await connection.execute(statement)).scalar_one())


async def taken_codes(connection: AsyncConnection, prefix: str) -> set[str]:
    """Codes of stations that begin with *prefix*."""
    statement = select(stations.c.code).where(stations.c.code.startswith(prefix, autoescape=True))
    return set((await connection.execute(statement)).scalars())


# ---- epochs, as sessions see them ----


async def epoch_rows(
    connection: AsyncConnection, station_no: int, named: Collection[bytes]
) -> dict[bytes, Any]:
    """The rows of the named epochs of a station; those never seen are absent."""
    found: dict[bytes, Any] = {}
    for part in chunks(sorted(named), _IN_MAX):
        statement = select(epochs).where(epochs.c.station_no == station_no, epochs.c.epoch.in_(part))
        found |= {row.epoch: row for row in await connection.execute(statement)}
    return found


async def other_epochs(
    connection: AsyncConnection, station_no: int, named: Collection[bytes], since_ms: int
) -> list[Any]:
    """The newest epochs with documents that the station did not name and that are young enough to be read back."""
    statement = (
        select(epochs)
        .where(epochs.c.station_no == station_no, epochs.c.last > 0, epochs.c.updated_ms >= since_ms)
        .order_by(epochs.c.updated_ms.desc(), epochs.c.epoch_no.desc())
        .limit(OTHER_EPOCHS_MAX + len(named))
    )
    rows = [row for row in await connection.execute(statement) if row.epoch not in named]
    return rows[:OTHER_EPOCHS_MAX]


async def last_number(connection: AsyncConnection, station_no: int) -> int:
    """The highest counter that stands in a number of this station's documents."""
    statement = select(func.coalesce(func.max(epochs.c.last_number), 0)).where(
        epochs.c.station_no == station_no
    )
    return int((await connection.execute(statement)).scalar_one())


async def mark_current(
    database: Database,
    connection: AsyncConnection,
    station_no: int,
    epoch: bytes,
    genesis: bytes,
    now_ms: int,
) -> None:
    """Remember that this epoch was some machine's current one; its row is made if it has no document yet."""
    statement = database.insert(epochs).values(
        station_no=station_no,
        epoch=epoch,
        last=0,
        head=genesis,
        safe_seq=0,
        safe_head=genesis,
        was_current=True,
        last_number=0,
        created_ms=now_ms,
        updated_ms=now_ms,
    )
    await connection.execute(
        statement.on_conflict_do_update(index_elements=["station_no", "epoch"], set_={"was_current": True})
    )


async def forget_current(connection: AsyncConnection, station_no: int) -> None:
    """No epoch of this station counts as having been current: the next session begins the check for copies anew."""
    await connection.execute(
        update(epochs)
        .where(epochs.c.station_no == station_no, epochs.c.was_current.is_(True))
        .values(was_current=False)
    )
    await update_station(connection, station_no, quarantined=False, current_epoch=None)
