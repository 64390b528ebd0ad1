"""SQL of documents that foreign systems hand in. Every function works inside the caller's transaction.

Rule: the desk's row is locked first; so what one outlet of a source sends is taken one after the other.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from central.db.database import AnyRow, Database, chunks
from central.db.tables.journal import bodies, epochs, gate
from central.db.tables.papers import document_keys, requests, sources
from central.db.tables.registry import OWN_STORE, SOURCE, stations, stores

_IN_MAX = 1_000


@dataclass(slots=True)
class Desk:
    """What one outlet of a source sends, and where its chain stands."""

    station_no: int
    epoch_no: int
    last: int
    head: bytes
    store: str
    zone: str


async def lock_desk(connection: AsyncConnection, code: str) -> Desk | None:
    """The desk, held until the transaction ends; None where nothing was sent from there yet."""
    locked = select(stations.c.station_no).where(stations.c.code == code, stations.c.state == SOURCE)
    station_no = (await connection.execute(locked.with_for_update())).scalar_one_or_none()
    if station_no is None:
        return None
    statement = (
        select(epochs.c.epoch_no, epochs.c.last, epochs.c.head, stores.c.code.label("store"), stores.c.zone)
        .select_from(
            epochs.join(stations, stations.c.station_no == epochs.c.station_no).join(
                stores, stores.c.store_no == stations.c.store_no
            )
        )
        .where(epochs.c.station_no == station_no)
    )
    row = (await connection.execute(statement)).one()
    return Desk(station_no, row.epoch_no, row.last, row.head, row.store, row.zone)


async def add_desk(
    connection: AsyncConnection, code: str, store: AnyRow, epoch: bytes, genesis: bytes, now_ms: int
) -> Desk:
    """A desk and its one epoch. Two nodes may try at once: the unique code decides."""
    added = stations.insert().values(
        code=code,
        store_no=store.store_no,
        name=code,
        state=SOURCE,
        quarantined=False,
        newest_nonce_ms=0,
        poke=0,
        last_number=0,
        created_ms=now_ms,
    )
    station_no = (await connection.execute(added.returning(stations.c.station_no))).scalar_one()
    begun = epochs.insert().values(
        station_no=station_no,
        epoch=epoch,
        last=0,
        head=genesis,
        safe_seq=0,
        safe_head=genesis,
        was_current=False,
        last_number=0,
        created_ms=now_ms,
        updated_ms=now_ms,
    )
    epoch_no = (await connection.execute(begun.returning(epochs.c.epoch_no))).scalar_one()
    return Desk(station_no, epoch_no, 0, genesis, store.code, store.zone)


async def own_store(database: Database, connection: AsyncConnection) -> AnyRow:
    """What stands in for a store at the centre's own desk: no shop, no prices, no time but UTC."""
    values = {"code": OWN_STORE, "name": "", "zone": "UTC", "currency": ""}
    await connection.execute(database.insert(stores).values(values).on_conflict_do_nothing())
    return (await connection.execute(select(stores).where(stores.c.code == OWN_STORE))).one()


async def answered(connection: AsyncConnection, station_no: int, key: str) -> AnyRow | None:
    """`request_hash, status, answer` of a request that was answered."""
    statement = select(requests.c.request_hash, requests.c.status, requests.c.answer)
    statement = statement.where(requests.c.station_no == station_no, requests.c.key == key)
    return (await connection.execute(statement)).one_or_none()


async def add_answer(connection: AsyncConnection, values: dict[str, Any]) -> None:
    await connection.execute(requests.insert().values(**values))


async def forget_answers(connection: AsyncConnection, before_ms: int) -> int:
    """Delete answers that were given before; returns how many."""
    return (await connection.execute(delete(requests).where(requests.c.at_ms < before_ms))).rowcount


async def known_keys(
    connection: AsyncConnection, source: str, kind: str, hashes: Collection[bytes]
) -> list[AnyRow]:
    """The rows of these keys, held until the transaction ends, each with the `header` of its document."""
    found: list[AnyRow] = []
    for part in chunks(sorted(hashes), _IN_MAX):
        statement = (
            select(document_keys, bodies.c.header)
            .join(bodies, bodies.c.doc_no == document_keys.c.doc_no)
            .where(
                document_keys.c.source == source,
                document_keys.c.kind == kind,
                document_keys.c.key_hash.in_(part),
            )
            .order_by(document_keys.c.key_hash)
            .with_for_update(of=document_keys)
        )
        found += (await connection.execute(statement)).all()
    return found


async def add_keys(connection: AsyncConnection, values: Sequence[dict[str, Any]]) -> None:
    """Keys' first documents. Where another node was faster, the unique index says so and the work is done again."""
    if values:
        await connection.execute(document_keys.insert(), values)


async def change_key(connection: AsyncConnection, values: dict[str, Any]) -> None:
    await connection.execute(
        update(document_keys)
        .where(
            document_keys.c.source == values["source"],
            document_keys.c.kind == values["kind"],
            document_keys.c.key_hash == values["key_hash"],
        )
        .values(**values)
    )


async def at_gate(connection: AsyncConnection, doc_ids: Collection[bytes]) -> dict[bytes, int]:
    """doc_id -> the document that holds it."""
    found: dict[bytes, int] = {}
    for part in chunks(list(doc_ids), _IN_MAX):
        statement = select(gate.c.doc_id, gate.c.doc_no).where(gate.c.doc_id.in_(part))
        found |= {bytes(row[0]): row[1] for row in await connection.execute(statement)}
    return found


# ---- sources, as HQ sees them ----


async def policies(connection: AsyncConnection, source: str) -> str | None:
    """JSON of a source's policies; None where there is no such source."""
    statement = select(sources.c.policies).where(sources.c.source == source)
    return (await connection.execute(statement)).scalar_one_or_none()


async def add_source(connection: AsyncConnection, source: str, now_ms: int) -> None:
    await connection.execute(sources.insert().values(source=source, policies="{}", created_ms=now_ms))


async def lock_policies(connection: AsyncConnection, source: str) -> str | None:
    statement = select(sources.c.policies).where(sources.c.source == source).with_for_update()
    return (await connection.execute(statement)).scalar_one_or_none()


async def set_policies(connection: AsyncConnection, source: str, text: str) -> None:
    await connection.execute(update(sources).where(sources.c.source == source).values(policies=text))


async def list_sources(connection: AsyncConnection) -> Sequence[AnyRow]:
    return (await connection.execute(select(sources).order_by(sources.c.source))).all()


async def desks(connection: AsyncConnection) -> Sequence[AnyRow]:
    """`code, store, documents, last_ms` of every desk."""
    statement = (
        select(
            stations.c.code,
            stores.c.code.label("store"),
            epochs.c.last.label("documents"),
            epochs.c.updated_ms.label("last_ms"),
        )
        .select_from(
            stations.join(stores, stores.c.store_no == stations.c.store_no).join(
                epochs, epochs.c.station_no == stations.c.station_no
            )
        )
        .where(stations.c.state == SOURCE, stores.c.code != OWN_STORE)
    )
    return (await connection.execute(statement.order_by(stations.c.code))).all()


async def repeats(connection: AsyncConnection) -> dict[str, int]:
    """Source -> duplicates that were refused or skipped."""
    statement = select(document_keys.c.source, func.sum(document_keys.c.repeats))
    statement = statement.where(document_keys.c.repeated_ms.is_not(None)).group_by(document_keys.c.source)
    return {row[0]: int(row[1]) for row in await connection.execute(statement)}


async def duplicates(connection: AsyncConnection, source: str, limit: int) -> Sequence[AnyRow]:
    """Keys that came again and were refused or skipped, the last ones first, with the document's header."""
    statement = (
        select(document_keys, bodies.c.header)
        .join(bodies, bodies.c.doc_no == document_keys.c.doc_no)
        .where(document_keys.c.source == source, document_keys.c.repeated_ms.is_not(None))
    )
    return (
        await connection.execute(statement.order_by(document_keys.c.repeated_ms.desc()).limit(limit))
    ).all()
