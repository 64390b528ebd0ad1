"""Rows of applying: what waits, what it turns into, and what stays behind with a reason."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from central.db.database import Database, chunks
from central.db.tables import (
    bodies,
    deliveries,
    documents,
    gate,
    lines,
    parked,
    payments,
    pending,
    repairs,
    waiting,
)

_IN_MAX = 5_000


class Body(NamedTuple):
    """A stored document; `payload` is the corrected one where it was repaired."""

    doc_no: int
    station_no: int
    received_ms: int
    header: bytes
    payload: bytes


@dataclass(slots=True)
class NewRows:
    """What applying adds: whole rows in the column order of their tables."""

    documents: list[tuple[Any, ...]] = field(default_factory=list)
    lines: list[tuple[Any, ...]] = field(default_factory=list)
    payments: list[tuple[Any, ...]] = field(default_factory=list)
    deliveries: list[tuple[int, int, str, str, int | None]] = field(default_factory=list)
    waiting: list[tuple[int, str, bytes | None, int]] = field(default_factory=list)
    parked: list[tuple[int, str, str, int, int, str]] = field(default_factory=list)


_TAKE_SQLITE = (
    "DELETE FROM pending WHERE doc_no IN"
    " (SELECT doc_no FROM pending ORDER BY doc_no LIMIT ?) RETURNING doc_no"
)
_TAKE_POSTGRES = (
    "DELETE FROM pending WHERE doc_no = ANY(ARRAY("
    "SELECT doc_no FROM pending ORDER BY doc_no LIMIT $1 FOR UPDATE SKIP LOCKED)) RETURNING doc_no"
)


async def take_pending(database: Database, connection: AsyncConnection, limit: int) -> list[int]:
    """Take the oldest documents that wait to be applied; what another node has taken is passed over."""
    statement = _TAKE_SQLITE if database.is_sqlite else _TAKE_POSTGRES
    (rows,) = await database.script(connection, [(statement, (limit,))])
    return sorted(row[0] for row in rows)


async def bodies_of(connection: AsyncConnection, doc_nos: Sequence[int]) -> list[Body]:
    """Stored documents, with their repairs."""
    found: list[Body] = []
    for part in chunks(doc_nos, _IN_MAX):
        statement = (
            select(
                bodies.c.doc_no,
                bodies.c.station_no,
                bodies.c.received_ms,
                bodies.c.header,
                func.coalesce(repairs.c.payload, bodies.c.payload),
            )
            .outerjoin(repairs, repairs.c.doc_no == bodies.c.doc_no)
            .where(bodies.c.doc_no.in_(part))
            .order_by(bodies.c.doc_no)
        )
        found += [Body(*row) for row in await connection.execute(statement)]
    return found


async def applied_ids(connection: AsyncConnection, doc_ids: Collection[bytes]) -> set[bytes]:
    """Which of these documents are applied."""
    found: set[bytes] = set()
    for part in chunks(sorted(doc_ids), _IN_MAX):
        statement = (
            select(gate.c.doc_id)
            .join(
                documents,
                (documents.c.station_no == gate.c.station_no) & (documents.c.doc_no == gate.c.doc_no),
            )
            .where(gate.c.doc_id.in_(part))
        )
        found |= set((await connection.execute(statement)).scalars())
    return found


async def store(database: Database, connection: AsyncConnection, rows: NewRows) -> None:
    """Write all that a batch of documents turned into."""
    inserts = [
        (documents, sorted(rows.documents)),
        (lines, sorted(rows.lines)),
        (payments, sorted(rows.payments)),
        (deliveries, sorted(rows.deliveries)),
        (waiting, rows.waiting),
        (parked, rows.parked),
    ]
    await database.store(connection, inserts)


# ---- what waits for others ----


async def release_waiting(database: Database, connection: AsyncConnection, limit: int) -> int:
    """Put documents whose reference is applied by now back among the pending; returns how many."""
    statement = (
        select(waiting.c.doc_no)
        .join(gate, gate.c.doc_id == waiting.c.reference)
        .join(
            documents, (documents.c.station_no == gate.c.station_no) & (documents.c.doc_no == gate.c.doc_no)
        )
        .order_by(waiting.c.doc_no)
        .limit(limit)
    )
    return await _back_to_pending(database, connection, list((await connection.execute(statement)).scalars()))


async def release_schema(database: Database, connection: AsyncConnection) -> int:
    """Put documents that waited for a newer build back among the pending: this build may be it."""
    statement = select(waiting.c.doc_no).where(waiting.c.why == "schema").order_by(waiting.c.doc_no)
    return await _back_to_pending(database, connection, list((await connection.execute(statement)).scalars()))


async def _back_to_pending(database: Database, connection: AsyncConnection, doc_nos: Sequence[int]) -> int:
    moved = 0
    for part in chunks(doc_nos, _IN_MAX):
        gone = delete(waiting).where(waiting.c.doc_no.in_(part)).returning(waiting.c.doc_no)
        rows = sorted((await connection.execute(gone)).scalars())
        await database.insert_rows(connection, pending, [(doc_no,) for doc_no in rows])
        moved += len(rows)
    return moved


# ---- what is parked ----


class ParkedRow(NamedTuple):
    doc_no: int
    reason: str
    detail: str
    attempts: int
    since_ms: int
    history: str


async def parked_rows(
    connection: AsyncConnection, *, doc_nos: Sequence[int] | None, reason: str | None, after: int, limit: int
) -> list[ParkedRow]:
    """Parked documents, by number or by reason, in the order of their numbers, locked."""
    statement = (
        select(parked).where(parked.c.doc_no > after).order_by(parked.c.doc_no).limit(limit).with_for_update()
    )
    if doc_nos is not None:
        statement = statement.where(parked.c.doc_no.in_(list(doc_nos)))
    if reason is not None:
        statement = statement.where(parked.c.reason == reason)
    return [ParkedRow(*row) for row in await connection.execute(statement)]


async def unpark(connection: AsyncConnection, doc_nos: Sequence[int]) -> None:
    for part in chunks(doc_nos, _IN_MAX):
        await connection.execute(delete(parked).where(parked.c.doc_no.in_(part)))


async def park_again(connection: AsyncConnection, row: ParkedRow) -> None:
    """Another attempt failed."""
    values = {"reason": row.reason, "detail": row.detail, "attempts": row.attempts, "history": row.history}
    await connection.execute(update(parked).where(parked.c.doc_no == row.doc_no).values(**values))


async def put_repair(
    database: Database, connection: AsyncConnection, doc_no: int, payload: bytes, by: str, at_ms: int
) -> None:
    """Keep a corrected payload beside the sealed one."""
    values = {"payload": payload, "by": by, "at_ms": at_ms}
    statement = database.insert(repairs).values(doc_no=doc_no, **values)
    await connection.execute(statement.on_conflict_do_update(index_elements=["doc_no"], set_=values))
