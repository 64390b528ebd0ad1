"""Read documents out of a journal whose tree is broken: leaf by leaf, without the pages that lead to them.

In SQLite's file format (sqlite.org/fileformat2.html, 1.6) a leaf of a table is a page of its own that begins with
0x0D. Put in the place of the table's root it is a whole, small table, and SQLite itself reads the rows in it. Leaves
of other tables give rows too; only the hashes tell, so the caller proves every row.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TABLE_LEAF = 0x0D
PAGE_BYTES = 4096


def leaf_rows(copy: Path, table: str, select: str) -> Iterator[tuple[Any, ...]]:
    """Every row that *select* finds in any leaf page of the file.

    Args:
        copy: a copy of the broken file that may be written to, its write-ahead log folded in.
        table: whose root the leaves are put into.
        select: the statement to run on each.
    """
    root = _root_page(copy, table)
    if root is None:
        return
    with copy.open("r+b") as file:
        pages = file.seek(0, os.SEEK_END) // PAGE_BYTES
        # The root's own turn comes first, before other leaves are written over it; page 1 is never a leaf of ours.
        for page in (root, *range(2, pages + 1)):
            file.seek((page - 1) * PAGE_BYTES)
            leaf = file.read(PAGE_BYTES)
            if leaf[0] != TABLE_LEAF:
                continue
            file.seek((root - 1) * PAGE_BYTES)
            file.write(leaf)
            file.flush()
            yield from _rows(copy, select)


def _root_page(path: Path, table: str) -> int | None:
    try:
        found = _all(path, "SELECT rootpage FROM sqlite_master WHERE name = ?", table)
    except sqlite3.Error:
        return None
    return found[0][0] if found else None


def _rows(path: Path, select: str) -> list[tuple[Any, ...]]:
    try:
        return _all(path, select)
    except sqlite3.Error:
        return []


def _all(path: Path, statement: str, *arguments: str) -> list[tuple[Any, ...]]:
    # Immutable: nothing but these very bytes is read, and nothing is written.
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True, isolation_level=None)
    try:
        return connection.execute(statement, arguments).fetchall()
    finally:
        connection.close()
