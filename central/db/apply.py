"""Rows of applying: what waits, what it turns into, and what stays behind with a reason."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from central.db.database import chunks
from central.db.tables.deliveries import deliveries
from central.db.tables.documents import documents, lines, payments
from central.db.tables.journal import parked, pending, waiting
from central.db.tables.papers import paper_links, paper_units, papers
from central.db.transactions import Insert, Transaction

_IN_MAX = 5_000


class Body(NamedTuple):
    """A stored document; header and payload are the corrected ones where it was repaired."""

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
    papers: list[tuple[Any, ...]] = field(default_factory=list)
    links: list[tuple[Any, ...]] = field(default_factory=list)
    units: list[tuple[Any, ...]] = field(default_factory=list)


_TAKE_SQLITE = (
    "DELETE FROM pending WHERE doc_no IN"
    " (SELECT doc_no FROM pending ORDER BY doc_no LIMIT ?) RETURNING doc_no"
)
_TAKE_POSTGRES = (
    "DELETE FROM pending WHERE doc_no = ANY(ARRAY("
    "SELECT doc_no FROM pending ORDER BY doc_no LIMIT $1 FOR UPDATE SKIP LOCKED)) RETURNING doc_no"
)


async def take_pending(transaction: Transaction, limit: int) -> list[int]:
    """Take the oldest documents that wait to be applied; what another node has taken is passed over."""
    statement = _TAKE_SQLITE if transaction.is_sqlite else _TAKE_POSTGRES
    (rows,) = await transaction.script([(statement, (limit,))])
    return sorted(row[0] for row in rows)


_BODIES = (
    "SELECT b.doc_no, b.station_no, b.received_ms,"
    " coalesce(r.header, b.header), coalesce(r.payload, b.payload) FROM bodies b"
    " LEFT JOIN repairs r ON r.doc_no = b.doc_no WHERE b.doc_no {among} ORDER BY b.doc_no"
)
_APPLIED = (
    "SELECT g.doc_id FROM gate g JOIN documents d ON d.station_no = g.station_no AND d.doc_no = g.doc_no"
    " WHERE g.doc_id {among}"
)


async def bodies_of(transaction: Transaction, doc_nos: Sequence[int]) -> list[Body]:
    """Stored documents, with their repairs."""
    rows = await _among(transaction, _BODIES, sorted(doc_nos))
    return [Body(*row) for row in rows]


async def applied_ids(transaction: Transaction, doc_ids: Collection[bytes]) -> set[bytes]:
    """Which of these documents are applied."""
    rows = await _among(transaction, _APPLIED, sorted(doc_ids))
    return {row[0] for row in rows}


async def _among(transaction: Transaction, query: str, values: Sequence[Any]) -> list[Any]:
    """The rows of a query with `{among}`, for any number of values."""
    rows: list[Any] = []
    for part in chunks(values, _IN_MAX):
        if transaction.is_sqlite:
            statement, parameters = query.format(among=f"IN ({','.join('?' * len(part))})"), part
        else:
            statement, parameters = query.format(among="= ANY($1)"), [list(part)]
        rows += (await transaction.script([(statement, parameters)]))[0]
    return rows


def _by_document(row: tuple[Any, ...]) -> tuple[int, int]:
    return row[0], row[1]


async def store(transaction: Transaction, rows: NewRows) -> None:
    """Write all that a batch of documents turned into."""
    inserts: list[Insert] = [
        (documents, sorted(rows.documents)),
        (lines, sorted(rows.lines)),
        (payments, sorted(rows.payments)),
        (deliveries, sorted(rows.deliveries)),
        (waiting, rows.waiting),
        (parked, rows.parked),
        (papers, sorted(rows.papers, key=_by_document)),
        (paper_links, rows.links),
        (paper_units, rows.units),
    ]
    await transaction.store(inserts)


# ---- what waits for others ----

_RELEASABLE = (
    "SELECT w.doc_no FROM waiting w JOIN gate g ON g.doc_id = w.reference"
    " JOIN documents d ON d.station_no = g.station_no AND d.doc_no = g.doc_no ORDER BY w.doc_no LIMIT {limit}"
)
_SCHEMA = "SELECT doc_no FROM waiting WHERE why = 'schema' ORDER BY doc_no"
_NO_LONGER_WAITING = "DELETE FROM waiting WHERE doc_no {among} RETURNING doc_no"


async def release_waiting(transaction: Transaction, limit: int) -> int:
    """Put documents whose reference is applied by now back among the pending; returns how many."""
    statement = _RELEASABLE.format(limit="?" if transaction.is_sqlite else "$1")
    (rows,) = await transaction.script([(statement, (limit,))])
    return await _back_to_pending(transaction, rows)


async def release_schema(transaction: Transaction) -> int:
    """Put documents that waited for a newer build back among the pending: this build may be it."""
    (rows,) = await transaction.script([(_SCHEMA, ())])
    return await _back_to_pending(transaction, rows)


async def _back_to_pending(transaction: Transaction, rows: Sequence[Any]) -> int:
    # Deleting decides who moves a document, should another node do the same.
    moved = await _among(transaction, _NO_LONGER_WAITING, [row[0] for row in rows])
    await transaction.store([(pending, sorted((row[0],) for row in moved))])
    return len(moved)


# ---- what is parked ----


class ParkedRow(NamedTuple):
    doc_no: int
    reason: str
    detail: str
    attempts: int
    since_ms: int
    history: str


class Choice(NamedTuple):
    """Parked documents by reason, or by number (at most some thousands)."""

    reason: str | None = None
    doc_nos: Sequence[int] | None = None


async def parked_rows(transaction: Transaction, choice: Choice, after: int, limit: int) -> list[ParkedRow]:
    """Parked documents after a number, in the order of their numbers, locked."""
    columns = ", ".join(ParkedRow._fields)
    if transaction.is_sqlite:
        chosen: list[Any] = [choice.reason] if choice.doc_nos is None else list(choice.doc_nos)
        where = "reason = ?" if choice.doc_nos is None else f"doc_no IN ({','.join('?' * len(chosen))})"
        statement = f"SELECT {columns} FROM parked WHERE {where} AND doc_no > ? ORDER BY doc_no LIMIT ?"  # noqa: S608
    else:
        chosen = [choice.reason] if choice.doc_nos is None else [list(choice.doc_nos)]
        where = "reason = $1" if choice.doc_nos is None else "doc_no = ANY($1)"
        statement = (
            f"SELECT {columns} FROM parked WHERE {where} AND doc_no > $2 ORDER BY doc_no LIMIT $3 FOR UPDATE"  # noqa: S608
        )
    (rows,) = await transaction.script([(statement, [*chosen, after, limit])])
    return [ParkedRow(*row) for row in rows]


_UNPARK = {True: "DELETE FROM parked WHERE doc_no = ?", False: "DELETE FROM parked WHERE doc_no = $1"}
_PARK_AGAIN = {
    True: "UPDATE parked SET reason = ?, detail = ?, attempts = ?, history = ? WHERE doc_no = ?",
    False: "UPDATE parked SET reason = $1, detail = $2, attempts = $3, history = $4 WHERE doc_no = $5",
}
_REPAIR = (
    "INSERT INTO repairs (doc_no, payload, by, at_ms) VALUES ({marks}) ON CONFLICT (doc_no) DO UPDATE"
    " SET payload = excluded.payload, by = excluded.by, at_ms = excluded.at_ms"
)


async def settle_parked(transaction: Transaction, gone: Sequence[int], again: Sequence[ParkedRow]) -> None:
    """After another attempt: these are not parked any more, and these still are."""
    failed = [(row.reason, row.detail, row.attempts, row.history, row.doc_no) for row in again]
    done = [(doc_no,) for doc_no in gone]
    await transaction.store(
        [], [(_UNPARK[transaction.is_sqlite], done), (_PARK_AGAIN[transaction.is_sqlite], failed)]
    )


async def put_repairs(transaction: Transaction, repaired: Sequence[tuple[int, bytes, str, int]]) -> None:
    """Keep corrected payloads beside the sealed ones: (doc_no, payload, by, at_ms)."""
    statement = _REPAIR.format(marks="?, ?, ?, ?" if transaction.is_sqlite else "$1, $2, $3, $4")
    await transaction.store([], [(statement, repaired)])
