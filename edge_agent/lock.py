"""One process per instance: whoever holds the lock file owns the journal.

The operating system gives the lock back when its holder dies, however it dies; the text in the file only tells a
person who that is.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import IO, Self

from shared.errors import Busy, CannotStore

FILE_NAME = "lock"
# Windows locks bytes against reading too, so the locked one lies far behind the text.
_LOCKED_BYTE = 1 << 30


class InstanceLock:
    """The lock of a data folder; hold it as a context."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / FILE_NAME
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file = open(self._path, "a+b")
        except OSError as error:
            raise CannotStore(
                f"{self._path} cannot be opened: {error.strerror}", hint="look at data_dir and its rights"
            ) from error
        try:
            _take(self._file)
        except OSError:
            pid = _told(self._path)
            self._file.close()
            raise Busy(
                f"{self._path.parent} is in use by another agent{f', process {pid}' if pid else ''}",
                hint="stop it first; a second station on this PC is an instance of its own: --instance NAME",
            ) from None
        self._file.seek(0)
        self._file.truncate()
        self._file.write(f"{os.getpid()}\n".encode())
        self._file.flush()
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.truncate(0)
            self._file.close()
            self._file = None


def holder(data_dir: Path) -> int | None:
    """The process that holds the lock of *data_dir*, or None when nobody does."""
    path = data_dir / FILE_NAME
    try:
        with open(path, "r+b") as file:
            try:
                _take(file)
            except OSError:
                return _told(path) or 0
            return None
    except OSError:
        return None


def _told(path: Path) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        return int(path.read_text(encoding="ascii"))
    return None


if sys.platform == "win32":
    import msvcrt

    def _take(file: IO[bytes]) -> None:
        file.seek(_LOCKED_BYTE)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        file.seek(0)

else:
    import fcntl

    def _take(file: IO[bytes]) -> None:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
