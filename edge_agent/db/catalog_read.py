"""Look things up in catalog.db. Functions for the reader connection's thread; each is one consistent view.

A row of a stronger scope hides the row of the same key in a weaker one, and with it what look-ups find that one by.
"""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any, TypeVar

import orjson

from edge_agent.lookup import Row

T = TypeVar("T")

# CROSS JOIN keeps the order of the tables as written: the few scopes, or the few hits, are always first.
_BY_KEY = """
SELECT s.scope, s.rank, r.key, r.version, r.payload
FROM scopes s CROSS JOIN rows r ON r.scope_no = s.scope_no
WHERE r.entity = ? AND r.key = ? ORDER BY s.rank"""

_BY_BARCODE = """
SELECT b.scope_no, b.key, b.variant, b.pack
FROM barcodes b CROSS JOIN scopes s ON s.scope_no = b.scope_no
WHERE b.barcode = ? ORDER BY s.rank, b.key"""

_BY_MEASURED = """
SELECT p.scope_no, p.key, NULL, NULL
FROM products p CROSS JOIN scopes s ON s.scope_no = p.scope_no
WHERE p.measured = ? ORDER BY s.rank, p.key"""

_BY_NAME = """
SELECT p.scope_no, p.key, NULL, NULL
FROM names n CROSS JOIN products p ON p.product_no = n.rowid CROSS JOIN scopes s ON s.scope_no = p.scope_no
WHERE n.names MATCH ? ORDER BY n.rank LIMIT ?"""

_NAMES_DONE = "SELECT coalesce((SELECT max(product_no) FROM products), 0) <= names_upto FROM progress"

_WINNER = """
SELECT s.scope, s.rank, r.key, r.version, r.payload, s.scope_no
FROM scopes s CROSS JOIN rows r ON r.scope_no = s.scope_no
WHERE r.entity = 'product' AND r.key = ? ORDER BY s.rank LIMIT 1"""

_PRICES = """
SELECT s.scope, s.rank, r.key, r.version, r.payload
FROM prices p CROSS JOIN scopes s ON s.scope_no = p.scope_no
CROSS JOIN rows r ON r.scope_no = p.scope_no AND r.entity = 'price' AND r.key = p.key
WHERE p.product = ?"""

_LIST = """
SELECT r.key, ? AS scope, ? AS rank, r.version, r.payload FROM rows r
WHERE r.scope_no = ? AND r.entity = ? AND r.key > ? ORDER BY r.key LIMIT ?"""


class Found:
    """A product, and the variant or pack that the asked code stands for."""

    __slots__ = ("pack", "product", "variant")

    def __init__(self, product: Row, variant: str | None = None, pack: str | None = None) -> None:
        self.product = product
        self.variant = variant
        self.pack = pack


def one_view(connection: sqlite3.Connection, work: Callable[..., T], *args: Any) -> T:
    """Run *work* with nothing changing under it."""
    connection.execute("BEGIN")
    try:
        return work(connection, *args)
    finally:
        connection.execute("COMMIT")


def rows_by_key(connection: sqlite3.Connection, entity: str, key: str) -> list[Row]:
    """All rows of this key, the strongest first."""
    return [_row(found) for found in connection.execute(_BY_KEY, (entity, key))]


def by_barcode(connection: sqlite3.Connection, barcode: str) -> list[Found]:
    return list(_effective(connection, connection.execute(_BY_BARCODE, (barcode,))))


def by_measured(connection: sqlite3.Connection, codes: Sequence[str]) -> list[Found]:
    """Products that scales print one of *codes* for; the first spelling that finds something counts."""
    for code in codes:
        found = list(_effective(connection, connection.execute(_BY_MEASURED, (code,))))
        if found:
            return found
    return []


def by_name(connection: sqlite3.Connection, expression: str, limit: int) -> tuple[list[Found], bool]:
    """Products by the words of their names, best first, and whether the name index is complete at the moment."""
    complete = bool(connection.execute(_NAMES_DONE).fetchone()[0])
    # Some hits may be hidden by stronger scopes; a few more are asked for than wanted.
    found = _effective(connection, connection.execute(_BY_NAME, (expression, 2 * limit + 10)))
    return [hit for hit, _ in zip(found, range(limit), strict=False)], complete


def prices_of(connection: sqlite3.Connection, product: str) -> list[Row]:
    """Every price row of a product in every scope, whether it holds now or not."""
    return [_row(found) for found in connection.execute(_PRICES, (product,))]


def list_entity(connection: sqlite3.Connection, entity: str, after: str, limit: int) -> list[Row]:
    """The rows of an entity by key, each from the scope that wins."""
    scopes = connection.execute("SELECT scope_no, scope, rank FROM scopes").fetchall()
    # Each scope gives its first rows in key order; merged, the first *limit* keys of all are among them.
    lists = [
        connection.execute(_LIST, (scope, rank, scope_no, entity, after, limit)).fetchall()
        for scope_no, scope, rank in scopes
    ]
    merged = heapq.merge(*lists, key=lambda row: (row[0].encode(), row[2]))
    winners = (next(rows) for _, rows in groupby(merged, key=lambda row: row[0]))
    return [
        _row((scope, rank, key, version, payload))
        for (key, scope, rank, version, payload), _ in zip(winners, range(limit), strict=False)
    ]


def _effective(connection: sqlite3.Connection, hits: sqlite3.Cursor) -> Iterator[Found]:
    for scope_no, key, variant, pack in hits:
        winner = connection.execute(
            _WINNER,
            (key,),
        ).fetchone()
        if winner is not None and winner[5] == scope_no:
            yield Found(_row(winner[:5]), variant, pack)


def _row(found: Sequence[Any]) -> Row:
    scope, rank, key, version, payload = found
    return Row(scope, rank, key, version, orjson.loads(payload))
