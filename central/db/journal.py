"""Rows of the journal: what intake reads under the stations' locks, and what it stores.

Written in each database's own dialect, because every document passes here: one hop for all facts of a group of
pushes, one for all its rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from central.db.database import Database
from central.db.tables.journal import bodies, damaged_hashes, gate, held, journal, pending
from central.db.transactions import SQLITE_NOW, Insert, Transaction


class EpochRow(NamedTuple):
    """An epoch as the centre has it."""

    epoch_no: int
    last: int
    head: bytes
    safe_seq: int
    safe_head: bytes
    last_number: int


class StationRow(NamedTuple):
    state: str
    quarantined: bool


class GateRow(NamedTuple):
    """The document that holds a doc_id."""

    doc_no: int
    station_no: int
    payload_hash: bytes


@dataclass(slots=True)
class Facts:
    """What stands in the database about a group of pushes; the stations' rows are locked."""

    now_ms: int
    stations: dict[int, StationRow]
    keys: dict[tuple[int, bytes], str]
    epochs: dict[tuple[int, bytes], EpochRow]
    gate: dict[bytes, GateRow]


@dataclass(slots=True)
class NewRows:
    """What a group of pushes adds: whole rows in the column order of their tables."""

    journal: list[tuple[int, int, int, bytes]]
    bodies: list[tuple[int, int, int, bool, bytes, bytes]]
    damaged: list[tuple[int, bytes, bytes]]
    gate: list[tuple[bytes, int, int, bytes]]
    pending: list[tuple[int]]
    held: list[tuple[int, int, str, int]]
    epochs: list[tuple[int, bytes, int, int, int]]
    """(last, head, last_number, updated_ms, epoch_no)"""


_EPOCH_COLUMNS = "station_no, epoch, epoch_no, last, head, safe_seq, safe_head, last_number"

_SQLITE_STATIONS = "SELECT station_no, state, quarantined FROM stations "
_SQLITE_KEYS = "SELECT station_no, public_key, state FROM station_keys "
_SQLITE_EPOCHS = f"SELECT {_EPOCH_COLUMNS} FROM epochs WHERE (station_no, epoch) IN (VALUES "  # noqa: S608
_SQLITE_GATE = "SELECT doc_id, doc_no, station_no, payload_hash FROM gate WHERE doc_id IN "

_POSTGRES_STATIONS = (
    "SELECT station_no, state, quarantined, (extract(epoch FROM clock_timestamp()) * 1000)::bigint"
    " FROM stations WHERE station_no = ANY($1) ORDER BY station_no FOR UPDATE"
)
_POSTGRES_KEYS = "SELECT station_no, public_key, state FROM station_keys WHERE station_no = ANY($1)"
_POSTGRES_EPOCHS = (
    f"SELECT {_EPOCH_COLUMNS} FROM epochs"  # noqa: S608
    " WHERE (station_no, epoch) IN (SELECT * FROM unnest($1::bigint[], $2::bytea[]))"
)
_POSTGRES_GATE = "SELECT doc_id, doc_no, station_no, payload_hash FROM gate WHERE doc_id = ANY($1::bytea[])"

_UPDATE_EPOCH = {
    True: "UPDATE epochs SET last = ?, head = ?, last_number = ?, updated_ms = ? WHERE epoch_no = ?",
    False: "UPDATE epochs SET last = $1, head = $2, last_number = $3, updated_ms = $4 WHERE epoch_no = $5",
}


def _marks(count: int) -> str:
    return ",".join("?" * count)


async def facts(
    transaction: Transaction,
    station_nos: Collection[int],
    epochs: Collection[tuple[int, bytes]],
    doc_ids: Collection[bytes],
) -> Facts:
    """Lock the stations in sorted order and read what `decide_push` and the gate have to know."""
    numbers, named, ids = sorted(station_nos), sorted(epochs), list(doc_ids)
    if transaction.is_sqlite:
        among, pairs = f"WHERE station_no IN ({_marks(len(numbers))})", ",".join(["(?,?)"] * len(named))
        (now,), stations, keys, epoch_rows, gate_rows = await transaction.script(
            [
                (SQLITE_NOW, ()),
                (_SQLITE_STATIONS + among, numbers),
                (_SQLITE_KEYS + among, numbers),
                (f"{_SQLITE_EPOCHS}{pairs})", list(itertools.chain.from_iterable(named))),
                (f"{_SQLITE_GATE}({_marks(len(ids))})", ids),
            ],
        )
        now_ms = now[0]
    else:
        stations, keys, epoch_rows, gate_rows = await transaction.script(
            [
                (_POSTGRES_STATIONS, (numbers,)),
                (_POSTGRES_KEYS, (numbers,)),
                (_POSTGRES_EPOCHS, ([pair[0] for pair in named], [pair[1] for pair in named])),
                (_POSTGRES_GATE, (ids,)),
            ],
        )
        now_ms = max((row[3] for row in stations), default=0)
    return Facts(
        now_ms=now_ms,
        stations={row[0]: StationRow(row[1], bool(row[2])) for row in stations},
        keys={(row[0], row[1]): row[2] for row in keys},
        epochs={(row[0], row[1]): EpochRow(*tuple(row)[2:]) for row in epoch_rows},
        gate={row[0]: GateRow(row[1], row[2], row[3]) for row in gate_rows},
    )


async def stored_heads(transaction: Transaction, epoch_no: int, seqs: Sequence[int]) -> dict[int, bytes]:
    """The heads stored at some positions of an epoch."""
    if transaction.is_sqlite:
        statement = f"SELECT seq, head FROM journal WHERE epoch_no = ? AND seq IN ({_marks(len(seqs))})"  # noqa: S608
        (rows,) = await transaction.script([(statement, (epoch_no, *seqs))])
    else:
        statement = "SELECT seq, head FROM journal WHERE epoch_no = $1 AND seq = ANY($2)"
        (rows,) = await transaction.script([(statement, (epoch_no, list(seqs)))])
    return {row[0]: row[1] for row in rows}


_NEW_EPOCH = (
    "INSERT INTO epochs (station_no, epoch, last, head, safe_seq, safe_head, was_current, last_number,"
    " created_ms, updated_ms) VALUES "
)


async def new_epoch(
    transaction: Transaction,
    station_no: int,
    epoch: bytes,
    genesis: bytes,
    now_ms: int,
) -> EpochRow:
    """The row of an epoch that no session has named."""
    values = (station_no, epoch, genesis, now_ms)
    if transaction.is_sqlite:
        statement = _NEW_EPOCH + "(?1, ?2, 0, ?3, 0, ?3, FALSE, 0, ?4, ?4) RETURNING epoch_no"
    else:
        statement = _NEW_EPOCH + "($1, $2, 0, $3, 0, $3, FALSE, 0, $4, $4) RETURNING epoch_no"
    ((row,),) = await transaction.script([(statement, values)])
    return EpochRow(row[0], 0, genesis, 0, genesis, 0)


async def set_parent(
    transaction: Transaction, station_no: int, epoch_no: int, parent: tuple[bytes, int, bytes]
) -> bytes | None:
    """Note which epoch this one says to follow; return one that followed it before, if there is any."""
    if transaction.is_sqlite:
        update = "UPDATE epochs SET parent = ?, parent_last = ?, parent_head = ? WHERE epoch_no = ?"
        others = "SELECT epoch FROM epochs WHERE station_no = ? AND parent = ? AND epoch_no <> ? LIMIT 1"
    else:
        update = "UPDATE epochs SET parent = $1, parent_last = $2, parent_head = $3 WHERE epoch_no = $4"
        others = "SELECT epoch FROM epochs WHERE station_no = $1 AND parent = $2 AND epoch_no <> $3 LIMIT 1"
    _, found = await transaction.script(
        [(update, (*parent, epoch_no)), (others, (station_no, parent[0], epoch_no))]
    )
    return bytes(found[0][0]) if found else None


async def first_doc_no(transaction: Transaction) -> int:
    """The next free document number on SQLite, where the one writer counts on."""
    ((row,),) = await transaction.script([("SELECT coalesce(max(doc_no), 0) + 1 FROM bodies", ())])
    return int(row[0])


async def draw_doc_nos(transaction: Transaction, count: int) -> list[int]:
    """Fresh document numbers on PostgreSQL, rising."""
    statement = "SELECT nextval('doc_no_seq') FROM generate_series(1, $1)"
    (rows,) = await transaction.script([(statement, (count,))])
    return sorted(row[0] for row in rows)


async def store(transaction: Transaction, rows: NewRows) -> None:
    """Write all of a group."""
    inserts: list[Insert] = [
        (journal, sorted(rows.journal)),
        (bodies, rows.bodies),
        (damaged_hashes, rows.damaged),
        (gate, sorted(rows.gate)),
        (pending, rows.pending),
        (held, rows.held),
    ]
    await transaction.store(inserts, [(_UPDATE_EPOCH[transaction.is_sqlite], rows.epochs)])


async def note(transaction: Transaction, at_ms: int, who: str, what: str, detail: str) -> None:
    """One line of the audit trail."""
    marks = "?, ?, ?, ?" if transaction.is_sqlite else "$1, $2, $3, $4"
    statement = f"INSERT INTO audit (at_ms, who, what, detail) VALUES ({marks})"  # noqa: S608
    await transaction.script([(statement, (at_ms, who, what, detail))])


class HistoryRow(NamedTuple):
    seq: int
    head: bytes
    header: bytes
    payload: bytes
    header_hash: bytes | None
    payload_hash: bytes | None


async def history(
    transaction: Transaction, epoch_no: int, after: int, limit: int, bytes_max: int
) -> list[HistoryRow]:
    """Documents of an epoch after a position: at least one if there is any, else at most *bytes_max* of them."""
    query = (
        "SELECT j.seq, j.head, b.header, b.payload, d.header_hash, d.payload_hash FROM journal j"
        " JOIN bodies b ON b.doc_no = j.doc_no LEFT JOIN damaged_hashes d ON d.doc_no = j.doc_no"
    )
    if transaction.is_sqlite:
        query += " WHERE j.epoch_no = ? AND j.seq > ? ORDER BY j.seq LIMIT ?"
    else:
        query += " WHERE j.epoch_no = $1 AND j.seq > $2 ORDER BY j.seq LIMIT $3"
    (rows,) = await transaction.script([(query, (epoch_no, after, limit))])
    found: list[HistoryRow] = []
    size = 0
    for row in rows:
        size += len(row[2]) + len(row[3])
        if found and size > bytes_max:
            break
        found.append(HistoryRow(*row))
    return found


# ---- what a backup makes safe ----


_POSITIONS = (
    "SELECT j.epoch_no, j.seq, j.head FROM journal j"
    " JOIN (SELECT e.epoch_no, coalesce((SELECT min(n.seq) FROM journal n"
    " JOIN bodies b ON b.doc_no = n.doc_no"
    " WHERE n.epoch_no = e.epoch_no AND n.seq > e.safe_seq AND b.received_ms >= "
)
_POSITIONS_END = (
    "), e.last + 1) - 1 AS seq FROM epochs e WHERE e.last > e.safe_seq) s"
    " ON s.epoch_no = j.epoch_no AND s.seq = j.seq"
)


async def positions(
    database: Database, connection: AsyncConnection, before_ms: int
) -> dict[int, tuple[int, bytes]]:
    """Per epoch that is not fully safe: the last position (seq, head) before the first document that came later.

    A document may stand again at a later position (an alias), so the latest of the early ones would not be a prefix.
    """
    transaction = database.within(connection)
    statement = _POSITIONS + ("?" if transaction.is_sqlite else "$1") + _POSITIONS_END
    (rows,) = await transaction.script([(statement, (before_ms,))])
    return {row[0]: (row[1], row[2]) for row in rows}


_MOVE_SAFE = {
    True: "UPDATE epochs SET safe_seq = ?, safe_head = ? WHERE epoch_no = ? AND safe_seq < ? RETURNING 1",
    False: "UPDATE epochs SET safe_seq = $1, safe_head = $2 WHERE epoch_no = $3 AND safe_seq < $4 RETURNING 1",
}


async def mark_safe(
    database: Database, connection: AsyncConnection, covered: Mapping[int, tuple[int, bytes]]
) -> int:
    """Move the safe point of epochs forward to positions that a verified copy holds; returns how many moved.

    A position counts only where this database has the same head at it.
    """
    transaction = database.within(connection)
    moved = 0
    for epoch_no, (seq, head) in sorted(covered.items()):
        if (await stored_heads(transaction, epoch_no, [seq])).get(seq) != head:
            continue
        values = (seq, head, epoch_no, seq)
        statement = _MOVE_SAFE[transaction.is_sqlite]
        (rows,) = await transaction.script([(statement, values)])
        moved += len(rows)
    return moved
