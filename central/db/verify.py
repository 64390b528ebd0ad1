"""SQL of `verify`: walks in pages over everything that was ever stored, and anti-joins for what belongs to nothing.

Every function reads inside the caller's one consistent view; a page is small enough to leave the event loop to others.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Table, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from central.db.database import AnyRow
from central.db.deliveries import SETTLED
from central.db.tables.catalog import scope_rows, scopes, snapshot_parts, snapshots
from central.db.tables.deliveries import batches, deliveries
from central.db.tables.documents import documents, lines, payments
from central.db.tables.integrations import integrations
from central.db.tables.journal import (
    bodies,
    damaged_hashes,
    discarded,
    epochs,
    gate,
    held,
    journal,
    parked,
    pending,
    repairs,
    waiting,
)
from central.db.tables.papers import paper_links, paper_units, papers
from central.db.tables.registry import stations

_SMALL: dict[str, Table] = {
    "pending": pending,
    "waiting": waiting,
    "parked": parked,
    "held": held,
    "discarded": discarded,
}

# ---- chains ----


async def all_epochs(connection: AsyncConnection, station: str | None) -> Sequence[AnyRow]:
    statement = select(epochs, stations.c.code.label("station")).join(
        stations, stations.c.station_no == epochs.c.station_no
    )
    if station is not None:
        statement = statement.where(stations.c.code == station)
    return (await connection.execute(statement.order_by(stations.c.code, epochs.c.epoch_no))).all()


async def chain_page(connection: AsyncConnection, epoch_no: int, after: int, limit: int) -> Sequence[AnyRow]:
    """Positions after a seq with the bytes that stand there; `header` is null where the body is gone."""
    statement = (
        select(
            journal.c.seq,
            journal.c.doc_no,
            journal.c.head,
            bodies.c.station_no,
            bodies.c.damaged,
            bodies.c.header,
            bodies.c.payload,
            damaged_hashes.c.header_hash,
            damaged_hashes.c.payload_hash,
        )
        .select_from(
            journal.outerjoin(bodies, bodies.c.doc_no == journal.c.doc_no).outerjoin(
                damaged_hashes, damaged_hashes.c.doc_no == journal.c.doc_no
            )
        )
        .where(journal.c.epoch_no == epoch_no, journal.c.seq > after)
    )
    return (await connection.execute(statement.order_by(journal.c.seq).limit(limit))).all()


# ---- documents ----


async def states(connection: AsyncConnection) -> dict[str, dict[int, str]]:
    """Per small table, doc_no -> why."""
    found: dict[str, dict[int, str]] = {}
    for name, table in _SMALL.items():
        why: Any = table.c.why if "why" in table.c else table.c.doc_no
        found[name] = {
            row.doc_no: str(row.why)
            for row in await connection.execute(select(table.c.doc_no, why.label("why")))
        }
    return found


async def documents_page(
    connection: AsyncConnection, station_no: int | None, after: int, limit: int
) -> Sequence[AnyRow]:
    """Bodies after a doc_no with the row that was made of each (`kind` null: none)."""
    statement = (
        select(
            bodies.c.doc_no,
            bodies.c.station_no,
            bodies.c.damaged,
            func.coalesce(repairs.c.header, bodies.c.header).label("header"),
            func.coalesce(repairs.c.payload, bodies.c.payload).label("payload"),
            bodies.c.payload.label("sealed"),
            damaged_hashes.c.payload_hash.label("recorded_hash"),
            documents.c.kind,
            documents.c.total_minor,
            documents.c.business_date,
            papers.c.doc_no.label("paper"),
        )
        .select_from(
            bodies.outerjoin(
                documents,
                (documents.c.station_no == bodies.c.station_no) & (documents.c.doc_no == bodies.c.doc_no),
            )
            .outerjoin(repairs, repairs.c.doc_no == bodies.c.doc_no)
            .outerjoin(damaged_hashes, damaged_hashes.c.doc_no == bodies.c.doc_no)
            .outerjoin(
                papers, (papers.c.station_no == bodies.c.station_no) & (papers.c.doc_no == bodies.c.doc_no)
            )
        )
        .where(bodies.c.doc_no > after)
    )
    if station_no is not None:
        statement = statement.where(bodies.c.station_no == station_no)
    return (await connection.execute(statement.order_by(bodies.c.doc_no).limit(limit))).all()


async def line_sums(
    connection: AsyncConnection, keys: Collection[tuple[int, int]]
) -> dict[int, tuple[int, int]]:
    """doc_no -> (count, sum of amounts) of the lines of documents given as (station_no, doc_no)."""
    return await _sums(connection, lines, keys)


async def payment_sums(
    connection: AsyncConnection, keys: Collection[tuple[int, int]]
) -> dict[int, tuple[int, int]]:
    """As `line_sums`, of payments."""
    return await _sums(connection, payments, keys)


async def _sums(
    connection: AsyncConnection, table: Table, keys: Collection[tuple[int, int]]
) -> dict[int, tuple[int, int]]:
    found: dict[int, tuple[int, int]] = {}
    by_station: dict[int, list[int]] = {}
    for station_no, doc_no in keys:
        by_station.setdefault(station_no, []).append(doc_no)
    for station_no, doc_nos in by_station.items():
        statement = (
            select(table.c.doc_no, func.count(), func.sum(table.c.amount_minor))
            .where(table.c.station_no == station_no, table.c.doc_no.in_(doc_nos))
            .group_by(table.c.doc_no)
        )
        for doc_no, count, total in await connection.execute(statement):
            found[doc_no] = (count, int(total))
    return found


async def gates(connection: AsyncConnection, doc_ids: Sequence[bytes]) -> dict[bytes, AnyRow]:
    """The gate's rows of these doc_ids."""
    statement = select(gate).where(gate.c.doc_id.in_(doc_ids))
    return {bytes(row.doc_id): row for row in await connection.execute(statement)}


async def orphans(connection: AsyncConnection) -> dict[str, list[int]]:
    """Rows that belong to no stored document, and stored documents that stand at no position: table -> doc_nos."""
    found = {}
    of_body = {"gate": gate, "documents": documents, "repairs": repairs, "deliveries": deliveries, **_SMALL}
    for name, table in of_body.items():
        statement = select(table.c.doc_no).outerjoin(bodies, bodies.c.doc_no == table.c.doc_no)
        found[name] = await _some(connection, statement.where(bodies.c.doc_no.is_(None)))
    of_row = (lines, payments, papers, paper_links, paper_units)
    for name, table in {table.name: table for table in of_row}.items():
        same = (documents.c.station_no == table.c.station_no) & (documents.c.doc_no == table.c.doc_no)
        statement = select(table.c.doc_no).distinct().outerjoin(documents, same)
        found[name] = await _some(connection, statement.where(documents.c.doc_no.is_(None)))
    placed = select(bodies.c.doc_no).where(bodies.c.doc_no.not_in(select(journal.c.doc_no)))
    found["bodies"] = await _some(connection, placed)
    return {name: doc_nos for name, doc_nos in found.items() if doc_nos}


ORPHANS_MAX = 100


async def _some(connection: AsyncConnection, statement: Any) -> list[int]:
    return list((await connection.execute(statement.limit(ORPHANS_MAX))).scalars())


# ---- deliveries ----


async def active_integrations(connection: AsyncConnection) -> Sequence[AnyRow]:
    statement = select(integrations).where(integrations.c.enabled).order_by(integrations.c.integration_no)
    return (await connection.execute(statement)).all()


async def unapplied_deliveries(connection: AsyncConnection) -> list[int]:
    """Documents that are delivered or to be delivered, and were never applied."""
    statement = (
        select(deliveries.c.doc_no)
        .distinct()
        .join(bodies, bodies.c.doc_no == deliveries.c.doc_no)
        .outerjoin(
            documents,
            (documents.c.station_no == bodies.c.station_no) & (documents.c.doc_no == bodies.c.doc_no),
        )
        .where(documents.c.doc_no.is_(None))
    )
    return await _some(connection, statement)


async def stuck_deliveries(connection: AsyncConnection) -> Sequence[AnyRow]:
    """Deliveries under way in a batch that is not there, or is done already."""
    statement = (
        select(deliveries.c.doc_no, deliveries.c.state, deliveries.c.batch_no, batches.c.batch_id)
        .outerjoin(batches, batches.c.batch_no == deliveries.c.batch_no)
        .where(
            deliveries.c.state.not_in(("gathering", "grouped", "ready", "waiting", "parked", *SETTLED)),
            batches.c.batch_no.is_(None) | (batches.c.state == "done"),
        )
    )
    return (await connection.execute(statement.limit(ORPHANS_MAX))).all()


# ---- catalog ----


async def all_scopes(connection: AsyncConnection) -> Sequence[AnyRow]:
    # Named apart: `count` is a method of every row.
    statement = select(scopes, scopes.c.count.label("rows")).order_by(scopes.c.scope)
    return (await connection.execute(statement)).all()


async def scope_page(connection: AsyncConnection, scope_no: int, after: int, limit: int) -> Sequence[AnyRow]:
    """Rows of a scope in seq order."""
    statement = select(scope_rows).where(scope_rows.c.scope_no == scope_no, scope_rows.c.seq > after)
    return (await connection.execute(statement.order_by(scope_rows.c.seq).limit(limit))).all()


async def all_snapshots(connection: AsyncConnection) -> Sequence[AnyRow]:
    """The snapshots on offer, with their scopes; not those that are still being stored."""
    statement = (
        select(snapshots, scopes.c.scope, scopes.c.head, scopes.c.gen.label("scope_gen"))
        .outerjoin(scopes, scopes.c.scope_no == snapshots.c.scope_no)
        .where(snapshots.c.built_ms > 0)
    )
    return (await connection.execute(statement)).all()


async def snapshot_part(connection: AsyncConnection, sha256: bytes, part: int) -> bytes | None:
    statement = select(snapshot_parts.c.data).where(
        snapshot_parts.c.sha256 == sha256, snapshot_parts.c.part == part
    )
    found: bytes | None = (await connection.execute(statement)).scalar_one_or_none()
    return found


# ---- the file itself ----


async def quick_check(connection: AsyncConnection) -> str | None:
    """What SQLite finds wrong with the file's structure; None when it is whole."""
    found: str = (await connection.execute(text("PRAGMA quick_check(1)"))).scalar_one()
    return None if found == "ok" else found
