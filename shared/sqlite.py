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

# The driver looks for an adapter of every NULL and every blob that it binds, and raises and swallows an AttributeError
# when there is none: 1.2 µs each, two thirds of the time of inserting rows. These two hand the value back, in C.
_nothing: dict[None, None] = {}
pysqlite3.dbapi2.register_adapter(type(None), _nothing.get)
pysqlite3.dbapi2.register_adapter(bytes, bytes)


def version() -> tuple[int, ...]:
    """The version of the SQLite library in use."""
    return tuple(pysqlite3.sqlite_version_info)


def is_safe() -> bool:
    """Whether the library in use keeps every commit in WAL mode; `doctor` shows it and a start refuses otherwise."""
    return version() >= SAFE_FROM
