"""Take what can still be read out of a broken journal, document by document.

Each document carries its own hashes, so a readable one is proven right whatever happened around it. Those that the
centre surely has (at or below the safe position) become history; all others are journaled again in a new epoch with
the same bytes: what the centre knows already is an alias there and has no second effect (R5).
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_agent.db import commit
from edge_agent.db.connection import transaction, uri
from edge_agent.db.totals import add_history
from shared.canonical import parse_object
from shared.errors import BadInput
from shared.journal import link

READ_DOCUMENT = """
SELECT doc_no, doc_id, idempotency_key, request_hash, epoch_no, seq, header, payload,
       header_hash, payload_hash, sealed_ms
FROM documents WHERE doc_no > ? ORDER BY doc_no LIMIT 1
"""
STEP_MAX = 1 << 12
"""After so many unreadable numbers in a row beyond the last known document the search ends."""


@dataclass(slots=True)
class Found:
    """What came out of a broken journal."""

    again: int = 0
    history: int = 0
    damaged: int = 0

    def __str__(self) -> str:
        return f"{self.again} documents are journaled again, {self.history} were safe, {self.damaged} cannot be read"


def salvage(connection: sqlite3.Connection, broken: Path, tail: commit.Tail) -> Found:
    """Copy every provable document of *broken* into the new journal, in one transaction."""
    found = Found()
    try:
        source = sqlite3.connect(uri(broken, "rw"), uri=True, isolation_level=None)
    except sqlite3.Error:
        return found
    try:
        with transaction(connection):
            _copy(connection, source, tail, found)
    finally:
        source.close()
    return found


def _copy(connection: sqlite3.Connection, source: sqlite3.Connection, tail: commit.Tail, found: Found) -> None:
    epochs = _epochs(source)
    epoch_no, seq, doc_no, head, number = 0, 0, 0, tail.head, _floor(source)
    for row in _documents(source, found):
        doc_id, key, request_hash, old_epoch_no, old_seq = row[1:6]
        header, payload, header_hash, payload_hash, sealed_ms = row[6:]
        number = max(number, _counter(header, tail.station))
        old = epochs.get(old_epoch_no)
        if old is not None and old_seq <= old[1]:
            add_history(connection, old[0], old_seq, header, payload)
            found.history += 1
            continue
        epoch_no = epoch_no or commit.write_epoch(connection, tail)
        seq, doc_no = seq + 1, doc_no + 1
        head = link(head, seq, header_hash, payload_hash)
        connection.execute(
            commit.INSERT_DOCUMENT,
            (doc_no, doc_id, key, request_hash, epoch_no, seq, header, payload, header_hash, payload_hash, sealed_ms),
        )
        connection.execute(commit.INSERT_POSITION, (epoch_no, seq, doc_no, head))
        found.again += 1
    connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('last_number', ?)", (str(number),))


def _documents(source: sqlite3.Connection, found: Found) -> Iterator[tuple[Any, ...]]:
    """Every readable document in order; an unreadable page is jumped over by ever larger steps."""
    after, step = 0, 1
    while True:
        try:
            row = source.execute(READ_DOCUMENT, (after,)).fetchone()
        except sqlite3.Error:
            if step > STEP_MAX:
                return
            after, step = after + step, step * 2
            continue
        if row is None:
            return
        after, step = row[0], 1
        if _is_right(row):
            yield row
        else:
            found.damaged += 1


def _is_right(row: tuple[Any, ...]) -> bool:
    header, payload, header_hash, payload_hash = row[6:10]
    return (
        isinstance(header, bytes)
        and isinstance(payload, bytes)
        and hashlib.sha256(header).digest() == header_hash
        and hashlib.sha256(payload).digest() == payload_hash
    )


def _epochs(source: sqlite3.Connection) -> dict[int, tuple[bytes, int]]:
    """Epoch and safe position by number, as far as they can be read."""
    try:
        return {row[0]: (row[1], row[2]) for row in source.execute("SELECT epoch_no, epoch, safe_seq FROM epochs")}
    except sqlite3.Error:
        return {}


def _floor(source: sqlite3.Connection) -> int:
    try:
        row = source.execute("SELECT value FROM meta WHERE key = 'last_number'").fetchone()
        return int(row[0]) if row else 0
    except (sqlite3.Error, ValueError):
        return 0


def _counter(header: bytes, station: str) -> int:
    """The counter inside a number of ours; 0 for a number of the till's own."""
    try:
        number = str(parse_object(header).get("number", ""))
    except BadInput:
        return 0
    prefix, _, counter = number.rpartition("-")
    return int(counter) if prefix == station and counter.isdecimal() else 0
