"""Take what can still be read out of a broken journal, document by document.

Each document carries its own hashes, so a readable one is proven right whatever happened around it. Those that the
centre surely has (at or below the safe position) become history; all others are journaled again in a new epoch with
the same bytes: what the centre knows already is an alias there and has no second effect (R5).
"""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_agent.db import commit
from edge_agent.db.connection import transaction, uri
from edge_agent.db.leaves import leaf_rows
from edge_agent.db.totals import add_history
from shared.canonical import parse_object
from shared.errors import BadInput
from shared.journal import link

DOCUMENTS = """
SELECT doc_id, idempotency_key, request_hash, epoch_no, seq,
       CAST(header AS BLOB), CAST(payload AS BLOB), header_hash, payload_hash, sealed_ms
FROM documents
"""
PAGE_BYTES = 4096


@dataclass(slots=True)
class Found:
    """What came out of a broken journal; `expected` is None where not even the positions can be counted."""

    again: int = 0
    history: int = 0
    expected: int | None = None

    def __str__(self) -> str:
        if self.expected is None:
            missing = "how many are missing is not known"
        else:
            missing = f"{max(0, self.expected - self.again - self.history)} are missing"
        return f"{self.again} documents are journaled again, {self.history} were safe, {missing}"


def salvage(connection: sqlite3.Connection, broken: Path, fresh: Path, tail: commit.Tail) -> Found:
    """Copy every provable document of *broken* into the new journal, in one transaction.

    Args:
        fresh: an empty journal of the same schema; the first page of *broken* is taken from it if that is unreadable.
    """
    found = Found()
    with tempfile.TemporaryDirectory(prefix="salvage-", dir=broken.parent) as folder:
        # On a copy: the broken file stays as it was found, for people with better tools.
        copy = Path(folder) / broken.name
        for suffix in ("", "-wal"):
            part = broken.with_name(broken.name + suffix)
            if part.exists():
                shutil.copyfile(part, copy.with_name(copy.name + suffix))
        if not _has_schema(copy):
            _replace_first_page(copy, fresh.read_bytes()[:PAGE_BYTES])
        with transaction(connection):
            _rescue(connection, copy, tail, found)
    return found


def _has_schema(path: Path) -> bool:
    source = sqlite3.connect(uri(path, "rw"), uri=True, isolation_level=None)
    try:
        return bool(
            source.execute("SELECT count(*) FROM sqlite_master WHERE name = 'documents'").fetchone()[0]
        )
    except sqlite3.Error:
        return False
    finally:
        source.close()


def _replace_first_page(path: Path, page: bytes) -> None:
    """Give a journal the header and the schema that every journal of this version begins with."""
    pages = path.stat().st_size // PAGE_BYTES
    with path.open("r+b") as file:
        # Bytes 28 to 31 of the header are the file's size in pages (sqlite.org/fileformat2.html, 1.3).
        file.write(page[:28] + pages.to_bytes(4, "big") + page[32:])


def _rescue(connection: sqlite3.Connection, copy: Path, tail: commit.Tail, found: Found) -> None:
    source = sqlite3.connect(uri(copy, "rw"), uri=True, isolation_level=None)
    try:
        epochs, number = _epochs(source), _last_number(source)
        found.expected = _positions(source)
    finally:
        source.close()
    seq, head = 0, tail.head
    known: set[str] = set()
    for row in _documents(copy):
        (
            doc_id,
            key,
            request_hash,
            old_epoch_no,
            old_seq,
            header,
            payload,
            header_hash,
            payload_hash,
            sealed_ms,
        ) = row
        if doc_id in known:
            continue
        known.add(doc_id)
        number = max(number, _counter(header, tail.station))
        old = epochs.get(old_epoch_no)
        if old is not None and old_seq <= old[1]:
            add_history(connection, old[0], old_seq, header, payload)
            found.history += 1
            continue
        if seq == 0:
            commit.write_epoch(connection, tail)
        seq += 1
        head = link(head, seq, header_hash, payload_hash)
        place = (seq, doc_id, key, request_hash, tail.epoch_no, seq, head)
        commit.insert_documents(connection, [(*place, header, payload, header_hash, payload_hash, sealed_ms)])
        found.again += 1
    connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('last_number', ?)", (str(number),))


def _documents(copy: Path) -> Iterator[tuple[Any, ...]]:
    """Every document that is proven right; some twice where the table's tree is broken and all leaves are read."""
    source = sqlite3.connect(uri(copy, "rw"), uri=True, isolation_level=None)
    try:
        yield from filter(_is_right, source.execute(DOCUMENTS + "ORDER BY doc_no"))
        return
    except sqlite3.Error:
        pass  # the tree is broken: the leaves are still there
    finally:
        source.close()
    yield from filter(_is_right, leaf_rows(copy, "documents", DOCUMENTS))


def _is_right(row: tuple[Any, ...]) -> bool:
    doc_id, header, payload, header_hash, payload_hash = row[0], *row[5:9]
    return (
        isinstance(doc_id, str)
        and isinstance(header, bytes)
        and isinstance(payload, bytes)
        and hashlib.sha256(header).digest() == header_hash
        and hashlib.sha256(payload).digest() == payload_hash
    )


def _epochs(source: sqlite3.Connection) -> dict[int, tuple[bytes, int]]:
    """Epoch and safe position by number, as far as they can be read."""
    try:
        return {
            row[0]: (row[1], row[2]) for row in source.execute("SELECT epoch_no, epoch, safe_seq FROM epochs")
        }
    except sqlite3.Error:
        return {}


def _positions(source: sqlite3.Connection) -> int | None:
    try:
        return int(source.execute("SELECT count(DISTINCT doc_no) FROM journal").fetchone()[0])
    except sqlite3.Error:
        return None


def _last_number(source: sqlite3.Connection) -> int:
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
