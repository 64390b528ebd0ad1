"""Open journal.db so that a loss is never silent.

A marker beside the station's identity remembers that a journal was begun. A journal that is missing, empty or broken
while the marker stands is moved aside, what can be read of it is kept (`edge_agent/db/salvage.py`), the station
goes on in a new epoch, and an alarm says what happened.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from importlib import resources
from pathlib import Path

from edge_agent.db.commit import Tail
from edge_agent.db.connection import CACHE_KIB, OwnedConnection, transaction
from edge_agent.db.documents import add_alarm
from edge_agent.db.salvage import salvage
from edge_agent.keyfile import write_durably
from shared.errors import ConfigError, DamagedData
from shared.journal import genesis, link

SCHEMA_VERSION = 1
APPLICATION_ID = 0x43464A31
"""`CFJ1`: `file journal.db` tells whose it is."""
FULL_CHECK_BYTES = 32 << 20
"""A file up to this size is checked page by page at every start (0.1 s); a larger one by the nightly verify."""
WAL_PAGES = 2_000
"""8 MiB between checkpoints, about 300 sales: the stall of a checkpoint is beyond the 99th sale in a hundred."""
ROOM_BLOBS, ROOM_BLOB_BYTES = 8, 1_000_000
TAIL_CHECKED = 100
"""So many of the newest documents are checked against the chain at every start."""

LAST_LINKS = """
SELECT j.epoch_no, j.seq, j.head, d.header_hash, d.payload_hash
FROM journal j JOIN documents d USING (doc_no)
WHERE j.epoch_no = (SELECT max(epoch_no) FROM journal)
ORDER BY j.seq DESC LIMIT ?
"""
NEWEST_EPOCH = """
SELECT e.epoch, coalesce(j.seq, e.first - 1), coalesce(j.head, e.prev_head)
FROM epochs e LEFT JOIN journal j
  ON j.epoch_no = e.epoch_no AND j.seq = (SELECT max(seq) FROM journal WHERE epoch_no = e.epoch_no)
ORDER BY e.epoch_no DESC LIMIT 1
"""
# A number is never used again, also after the newest documents were purged: all of those were counted before.
LAST_DOC_NO = """
SELECT max(coalesce((SELECT max(doc_no) FROM documents), 0),
           coalesce((SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'totals_upto'), 0))
"""
LAST_NUMBER = """
SELECT max(e.number_base + coalesce((SELECT max(seq) FROM journal WHERE epoch_no = e.epoch_no), e.first - 1))
FROM epochs e
"""


async def open_journal(
    path: Path, station: str, marker: Path, now_ms: int, epoch: bytes, *, thorough: bool = False
) -> OwnedConnection:
    """Open the journal of *station* for writing, make it if it was never begun, rescue it if it is broken.

    Args:
        marker: file that stands as long as a journal must exist.
        epoch: random id for the documents that are rescued, if any.
        thorough: check every page whatever the file's size.
    Raises:
        ConfigError: the file belongs to another station, or to a newer version of the agent.
        CannotStore: the disk does not let itself be written.
    """
    connection = await _opened(path, station, marker, now_ms, epoch, thorough=thorough)
    try:
        await connection.run(lambda raw: _reserve_room(raw, path))
    except BaseException:
        await connection.close()
        raise
    return connection


async def _opened(
    path: Path, station: str, marker: Path, now_ms: int, epoch: bytes, *, thorough: bool
) -> OwnedConnection:
    must_exist = _exists(marker)
    trouble = _missing(path) if must_exist else ""
    if not trouble:
        connection: OwnedConnection | None = None
        try:
            connection = await OwnedConnection.open(path)
            await connection.run(
                lambda raw: _prepare(raw, station, path, must_exist=must_exist, thorough=thorough)
            )
        except DamagedData as error:
            trouble = error.what
        except BaseException:
            if connection is not None:
                await connection.close()
            raise
        else:
            _mark(marker, station)
            return connection
        if connection is not None:
            await connection.close()

    aside = _set_aside(path, now_ms)
    connection = await OwnedConnection.open(path)
    try:
        await connection.run(lambda raw: _begin_again(raw, path, station, aside, trouble, now_ms, epoch))
    except BaseException:
        await connection.close()
        raise
    _mark(marker, station)
    return connection


def next_tail(connection: sqlite3.Connection, station: str, epoch: bytes, now_ms: int) -> Tail:
    """The place of the next document: a new epoch behind the newest one."""
    parent = connection.execute(NEWEST_EPOCH).fetchone()
    floor = connection.execute("SELECT value FROM meta WHERE key = 'last_number'").fetchone()
    return Tail(
        station=station,
        epoch_no=connection.execute("SELECT coalesce(max(epoch_no), 0) + 1 FROM epochs").fetchone()[0],
        epoch=epoch,
        parent=parent,
        started_ms=now_ms,
        number_base=max(connection.execute(LAST_NUMBER).fetchone()[0] or 0, int(floor[0]) if floor else 0),
        doc_no=connection.execute(LAST_DOC_NO).fetchone()[0],
        seq=0,
        head=genesis(station, epoch),
        is_written=False,
    )


def _reserve_room(connection: sqlite3.Connection, path: Path) -> None:
    """Let the write-ahead log have its full size from the start.

    Writing over a file costs half of making it longer (the file system commits its new size with every fsync), and
    a disk that gets full still has this room for sales. What is rolled back was written there all the same.
    """
    connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
    log = path.with_name(path.name + "-wal")
    if log.exists() and log.stat().st_size >= ROOM_BLOBS * ROOM_BLOB_BYTES:
        return
    connection.execute("PRAGMA cache_size = -512")  # what the cache cannot hold goes into the log at once
    with contextlib.suppress(sqlite3.OperationalError):  # a disk too full for it: go on without
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("CREATE TABLE room (filler BLOB)")
        for _ in range(ROOM_BLOBS):
            connection.execute("INSERT INTO room VALUES (zeroblob(?))", (ROOM_BLOB_BYTES,))
    if connection.in_transaction:
        connection.execute("ROLLBACK")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    with contextlib.suppress(OSError), log.open("r+b") as file:
        os.fsync(file.fileno())  # now, not with the first sale


def _exists(marker: Path) -> bool:
    return marker.exists()


def _missing(path: Path) -> str:
    if not path.exists():
        return f"{path.name} is missing"
    return f"{path.name} is empty" if path.stat().st_size == 0 else ""


def _prepare(
    connection: sqlite3.Connection, station: str, path: Path, *, must_exist: bool, thorough: bool
) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise ConfigError(
            f"{path.name} was written by a newer agent (schema {version}, this one knows {SCHEMA_VERSION})",
            hint="install that version again; the journal was not touched",
        )
    if version == 0:
        if must_exist or connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise DamagedData(f"{path.name} holds no journal")
        create_schema(connection, station)
        return
    owner = connection.execute("SELECT value FROM meta WHERE key = 'station'").fetchone()
    if owner is None:
        raise DamagedData(f"{path.name} does not say whose it is")
    if owner[0] != station:
        raise ConfigError(
            f"{path.name} is the journal of station {owner[0]}, this is station {station}",
            hint="documents are journaled only under the station that made them: enrol again, which archives it",
        )
    _check_structure(connection, path, thorough=thorough)


def _check_structure(connection: sqlite3.Connection, path: Path, *, thorough: bool) -> None:
    if thorough or path.stat().st_size <= FULL_CHECK_BYTES:
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise DamagedData(f"{path.name} is damaged: {found}")
    newer: tuple[int, bytes, bytes, bytes] | None = None
    for _, seq, head, header_hash, payload_hash in connection.execute(LAST_LINKS, (TAIL_CHECKED,)):
        if newer is not None and (newer[0] != seq + 1 or link(head, *newer[:1], *newer[2:]) != newer[1]):
            raise DamagedData(f"{path.name} is damaged: its chain breaks behind document {seq}")
        newer = (seq, head, header_hash, payload_hash)


def create_schema(connection: sqlite3.Connection, station: str) -> None:
    """All tables of an empty journal, in one transaction."""
    script = resources.files("edge_agent.db").joinpath("journal.sql").read_text(encoding="utf-8")
    with transaction(connection):
        for statement in script.split(";\n"):
            connection.execute(statement)
        connection.execute("INSERT INTO meta (key, value) VALUES ('station', ?)", (station,))
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _begin_again(
    connection: sqlite3.Connection,
    path: Path,
    station: str,
    aside: Path | None,
    trouble: str,
    now_ms: int,
    epoch: bytes,
) -> None:
    create_schema(connection, station)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    kept = ""
    if aside is not None:
        found = salvage(connection, aside, path, next_tail(connection, station, epoch, now_ms))
        kept = f"; it lies aside as {aside.name}; {found}"
    text = f"{trouble}{kept}; the station goes on in a new epoch and reads the rest back from the centre"
    add_alarm(connection, "journal-lost", text, now_ms)


def _set_aside(path: Path, now_ms: int) -> Path | None:
    """Rename a broken journal and what belongs to it; None where there is nothing left of it."""
    aside = path.with_name(f"{path.stem}.damaged-{now_ms}{path.suffix}")
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.replace(aside.with_name(aside.name + suffix))
    return aside if aside.exists() and aside.stat().st_size > 0 else None


def _mark(marker: Path, station: str) -> None:
    if marker.exists():
        return
    write_durably(
        marker,
        f"{station}: journal.db was begun; if it is gone, that is a loss and not a fresh start\n".encode(),
    )
