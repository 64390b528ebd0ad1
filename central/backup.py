"""Copy the centre's database, prove the copy, and only then tell the stations that what is in it is safe.

A station deletes a document of its own only when the centre calls it safe (R6), so a copy that was never opened must
not count. SQLite: online backup, `quick_check`, every chain computed anew from the copy's bytes, then its positions
are marked safe in the live database. PostgreSQL: the operator's own tool makes and tests the copy and says with
`--taken-at` what it covers; five minutes before that moment are taken off, for clocks and transactions under way.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pysqlite3
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from central import audit
from central.db import journal
from central.db import verify as rows
from central.db.database import Database
from central.verify import Report, verify_in
from shared.clock import rfc3339
from shared.errors import BadInput, CannotStore, DamagedData

MARGIN_MS = 5 * 60_000
_SQLITE_MAGIC = b"SQLite format 3\0"


@dataclass(frozen=True, slots=True)
class Backup:
    """What was copied and what it made safe."""

    path: str | None
    bytes: int
    positions: int
    epochs_made_safe: int


async def backup_sqlite(database: Database, source: Path, target: Path) -> tuple[Backup, Report]:
    """Copy *source*, the live database's file, to *target*, prove the copy and mark what it holds as safe.

    Raises:
        BadInput: the target exists.
        DamagedData: the copy does not pass; it is kept as `<target>.damaged` and nothing is marked.
    """
    if await asyncio.to_thread(target.exists):
        raise BadInput(f"{target} exists already", hint="give a new name; backups are never overwritten")
    part = target.with_name(target.name + ".part")
    try:
        await asyncio.to_thread(_copy, source, part)
    except (OSError, pysqlite3.Error) as error:
        part.unlink(missing_ok=True)
        raise CannotStore(
            f"the copy to {part} failed: {error}", hint="check the disk that it goes to"
        ) from None
    copy = Database(f"sqlite+aiosqlite:///{part}")
    try:
        fault, report, covered = await _prove(copy)
    finally:
        await copy.close()
    broken = [finding for finding in report.findings if finding.check == "chain"]
    if fault or broken:
        damaged = target.with_name(target.name + ".damaged")
        os.replace(part, damaged)
        raise DamagedData(
            f"the copy does not pass: {fault or broken[0].what}; it is kept as {damaged} and nothing was marked safe",
            hint="run `counterflow-central verify` on the live centre; the stations still have what is not safe",
        )
    size = await asyncio.to_thread(_publish, part, target)
    moved = await _mark(database, covered, {"path": str(target)})
    return Backup(str(target), size, report.checked.get("positions", 0), moved), report


async def _prove(copy: Database) -> tuple[str | None, Report, dict[int, tuple[int, bytes]]]:
    """What is wrong with the copy's file, what its rows say, and up to where each epoch is in it."""
    try:
        async with copy.read() as connection:
            fault = await rows.quick_check(connection)
            report = await verify_in(connection)
            epochs = await rows.all_epochs(connection, None)
    except DBAPIError as error:
        return f"SQLite says {error.orig}", Report(), {}
    return fault, report, {epoch.epoch_no: (epoch.last, epoch.head) for epoch in epochs}


async def covered_by(database: Database, taken_at_ms: int) -> Backup:
    """Mark as safe what a backup of PostgreSQL, taken at a time and tested by the operator, holds.

    Raises:
        BadInput: the time is not in the past.
    """
    async with database.read() as connection:
        now_ms = await database.now_ms(connection)
        if taken_at_ms > now_ms:
            raise BadInput(
                f"{rfc3339(taken_at_ms)} is in the future; the database's clock says {rfc3339(now_ms)}",
                hint="give the moment at which the backup began",
            )
        covered = await journal.positions(database, connection, taken_at_ms - MARGIN_MS)
    moved = await _mark(database, covered, {"taken_at": rfc3339(taken_at_ms)})
    return Backup(None, 0, 0, moved)


async def _mark(database: Database, covered: dict[int, tuple[int, bytes]], detail: dict[str, str]) -> int:
    async def work(connection: AsyncConnection) -> int:
        moved = await journal.mark_safe(database, connection, covered)
        at_ms = await database.now_ms(connection)
        await audit.record(connection, at_ms, "cli", "backup", {**detail, "epochs": moved})
        return moved

    return await database.run(work)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    live = pysqlite3.connect(f"file:{source}?mode=ro", uri=True, timeout=30)
    try:
        copy = pysqlite3.connect(str(target))
        try:
            live.backup(
                copy
            )  # in one step: in smaller ones it starts again at every write of the live centre
        finally:
            copy.close()
    finally:
        live.close()
    with open(target, "rb") as file:
        os.fsync(file.fileno())


def put_back(source: Path, target: Path, now_ms: int) -> Path | None:
    """Put a copy that was made by `backup_sqlite` in the database's place; nobody may work on either.

    What stood there is kept under another name, its write-ahead log with it: beside another database that log would
    ruin it. Cut off anywhere, it may be done again.

    Returns:
        where the replaced database is now, or None if there was none.
    Raises:
        BadInput: *source* is no SQLite database.
        CannotStore: the disk does not take the copy.
    """
    try:
        with open(source, "rb") as file:
            is_database = file.read(len(_SQLITE_MAGIC)) == _SQLITE_MAGIC
    except OSError as error:
        raise BadInput(f"{source} cannot be read: {error.strerror}", hint="name the backup's file") from None
    if not is_database:
        raise BadInput(f"{source} is no SQLite database", hint="name a file that `backup` has made")
    part = target.with_name(target.name + ".part")
    aside = target.with_name(f"{target.name}.before-restore-{now_ms}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, part)
        with open(part, "r+b") as file:
            os.fsync(file.fileno())
        replaced = target.exists()
        for suffix in ("-wal", "-shm", ""):
            old = target.with_name(target.name + suffix)
            if old.exists():
                os.replace(old, aside.with_name(aside.name + suffix))
        os.replace(part, target)
        _sync_folder(target.parent)
    except OSError as error:
        raise CannotStore(
            f"{source} cannot be put in the place of {target}: {error.strerror}", hint="free space there"
        ) from error
    return aside if replaced else None


def _publish(part: Path, target: Path) -> int:
    """Give the proven copy its name, durably; returns its size."""
    # Opening the copy to prove it may leave empty companions; a backup is one file.
    for suffix in ("-wal", "-shm"):
        part.with_name(part.name + suffix).unlink(missing_ok=True)
    os.replace(part, target)
    _sync_folder(target.parent)
    return target.stat().st_size


def _sync_folder(folder: Path) -> None:
    if os.name != "nt":  # Windows has no fsync of folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
