"""The one place that decides which SQLite the product runs on.

SQLite 3.7.0 to 3.51.2 can lose committed transactions in WAL mode when two or more connections are open (fixed in
3.51.3); the one bundled with Python is in that range. Importing this module before `aiosqlite` or `sqlalchemy`
replaces the standard library's module by the `pysqlite3` wheel, which carries its own newer SQLite.
"""

from __future__ import annotations

import sys

import pysqlite3

SAFE_FROM = (3, 51, 3)

sys.modules["sqlite3"] = pysqlite3
sys.modules["sqlite3.dbapi2"] = pysqlite3.dbapi2


def version() -> tuple[int, ...]:
    """The version of the SQLite library in use."""
    return tuple(pysqlite3.sqlite_version_info)


def is_safe() -> bool:
    """Whether the library in use keeps every commit in WAL mode; `doctor` shows it and a start refuses otherwise."""
    return version() >= SAFE_FROM
