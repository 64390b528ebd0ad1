"""One process owns a SQLite database: a lock file beside it, held as long as the process lives.

The operating system lets go of the lock when the process dies, so nothing has to be cleaned up after a crash. On
PostgreSQL any number of nodes work on one database, and nothing is locked here.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from sqlalchemy.engine import make_url

from shared.errors import Busy, ConfigError


@contextlib.contextmanager
def owned(database_url: str) -> Iterator[None]:
    """Own the database for the length of the block.

    Raises:
        Busy: another process owns it; the message names it.
        ConfigError: the lock file cannot be written.
    """
    database = _database_file(database_url)
    if database is None:
        yield
        return
    path = database.with_name(database.name + ".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="ascii")
    except OSError as error:
        raise ConfigError(f"the lock file {path} cannot be written: {error.strerror}") from None
    with file:
        if not _lock(file):
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise Busy(
                f"process {holder} works on the database {database} already",
                hint="stop it first; several nodes need PostgreSQL",
            )
        file.seek(0)
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _database_file(database_url: str) -> Path | None:
    url = make_url(database_url)
    if not url.drivername.startswith("sqlite") or not url.database or url.database == ":memory:":
        return None
    return Path(url.database)


if sys.platform == "win32":
    import msvcrt

    _FAR_AWAY = 1 << 30  # a locked region cannot be read, and the process id at the front should be

    def _lock(file: IO[str]) -> bool:
        file.seek(_FAR_AWAY)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _lock(file: IO[str]) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
