"""One SQLite connection and the one thread that may touch it.

Work is sent to the thread as whole functions, so that a transaction is never spread over two turns of the event
loop and costs one hop. The connection is in autocommit: a function that writes says BEGIN and COMMIT itself.
"""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import aiosqlite

import shared.sqlite
from shared.errors import Busy, CannotStore, ConfigError, CounterflowError, DamagedData

T = TypeVar("T")

BUSY_TIMEOUT_S = 5.0
"""Only a reader of the command line can be in the way, and it never holds a lock for long."""
WAL_PAGES = 4_000
"""16 MiB between checkpoints."""

CACHE_KIB = 8_192


class OwnedConnection:
    """Runs functions, one at a time and in order, in the thread that owns the connection."""

    def __init__(self, connection: aiosqlite.Connection, path: Path) -> None:
        self._aio = connection
        self._raw: sqlite3.Connection = connection._conn
        self.path = path

    @classmethod
    async def open(cls, path: Path, *, read_only: bool = False) -> OwnedConnection:
        """Open *path* (made if absent, unless *read_only*) with the settings that a durable commit needs.

        Raises:
            ConfigError: this SQLite can lose commits.
            DamagedData: not a database, or its first page is broken.
            CannotStore: the file cannot be opened.
        """
        if not shared.sqlite.is_safe():
            have = ".".join(map(str, shared.sqlite.version()))
            raise ConfigError(
                f"SQLite {have} can lose commits in WAL mode", hint="install pysqlite3 >= 0.6.1"
            )
        with stated(path):
            aio = await aiosqlite.connect(
                uri(path, "ro" if read_only else "rwc"),
                uri=True,
                isolation_level=None,
                timeout=BUSY_TIMEOUT_S,
            )
        owned = cls(aio, path)
        try:
            await owned.run(functools.partial(_configure, read_only=read_only))
        except BaseException:
            await owned.close()
            raise
        return owned

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run *work* in the thread and return what it returns; errors of SQLite come out as ours."""
        with stated(self.path):
            result: T = await self._aio._execute(work, self._raw)  # type: ignore[no-untyped-call]
        return result

    def post(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """Run *work* in the thread without waiting; it must report its outcome, and its errors, itself."""
        self._aio._tx.put_nowait((None, functools.partial(work, self._raw)))

    async def close(self) -> None:
        """Wait for what was sent before, then close; the last one out checkpoints."""
        await self._aio.close()


def uri(path: Path, mode: str) -> str:
    """*path* as SQLite's URI; `ro`, `rw` or `rwc`."""
    return f"{path.absolute().as_uri()}?mode={mode}"


def _configure(connection: sqlite3.Connection, read_only: bool) -> None:
    if read_only:
        connection.execute("PRAGMA query_only = ON")
        return
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
    connection.execute("PRAGMA journal_size_limit = 33554432")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    connection.execute("PRAGMA cell_size_check = ON")


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """BEGIN IMMEDIATE ... COMMIT around the block; whatever goes wrong leaves nothing behind."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def stated(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours."""
    try:
        yield
    except sqlite3.Error as error:
        raise as_ours(error, path) from error


def as_ours(error: sqlite3.Error, path: Path) -> CounterflowError:
    """What an error of SQLite means to the one who meets it."""
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return DamagedData(
            f"{path.name} is damaged: {error}", hint="`counterflow-agent verify` tells what is left"
        )
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return Busy(f"another process writes to {path.name}", hint="only one agent may run for a data folder")
    if name.startswith("SQLITE_FULL"):
        return CannotStore(
            f"the disk of {path.name} is full; nothing was accepted", hint=f"free space in {path.parent}"
        )
    if name.startswith(("SQLITE_READONLY", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return CannotStore(
            f"{path.name} cannot be written ({error}); nothing was accepted",
            hint=f"look at the disk and the permissions of {path.parent}",
        )
    return DamagedData(f"{path.name}: {error}")
