"""The snapshot file: one scope at one seq as an SQLite database, in the form that shared/catalog/snapshot.sql gives.

Synchronous, for one thread of its own; it is written once, in key order, and never changed.
"""

from __future__ import annotations

import shared.sqlite  # noqa: F401 # isort: skip; first: it decides which SQLite `sqlite3` is

import sqlite3
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from shared.canonical import parse_object
from shared.catalog.index import barcode_rows, price_row, product_row

Row = tuple[str, str, bytes, bytes]
"""(entity, key, version, payload)"""

_SCHEMA = resources.files("shared.catalog").joinpath("snapshot.sql").read_text("utf-8")
_PRAGMAS = "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA temp_store=MEMORY;"
# Gathered in the rows' order, copied in their own: the station appends them to its tables and sorts nothing.
_GATHER = """
CREATE TEMP TABLE gathered_barcodes (barcode TEXT, key TEXT, product TEXT, variant TEXT, pack TEXT,
                                     PRIMARY KEY (barcode, key)) WITHOUT ROWID;
CREATE TEMP TABLE gathered_prices (key TEXT, product TEXT, variant TEXT, pack TEXT, price_list TEXT,
                                   valid_from INTEGER, valid_until INTEGER, PRIMARY KEY (product, key)) WITHOUT ROWID;
"""
_COPY = (
    """INSERT INTO barcodes (barcode, key, product, variant, pack)
       SELECT barcode, key, product, variant, pack FROM gathered_barcodes ORDER BY barcode, key""",
    """INSERT INTO prices (key, product, variant, pack, price_list, valid_from, valid_until)
       SELECT key, product, variant, pack, price_list, valid_from, valid_until FROM gathered_prices
       ORDER BY product, key""",
)


class SnapshotFile:
    """A snapshot being written at *path*, which must not exist yet."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        # Nothing here outlives a crash: the file counts once its hash stands in the database.
        self._connection.executescript(f"{_PRAGMAS} {_SCHEMA} {_GATHER}")
        self._connection.execute("BEGIN")

    def add(self, rows: Sequence[Row]) -> None:
        """Append rows, in key order, and gather what tills look up by."""
        products: list[tuple[Any, ...]] = []
        barcodes: list[tuple[Any, ...]] = []
        prices: list[tuple[Any, ...]] = []
        for entity, key, _, payload in rows:
            if entity == "product":
                product = parse_object(payload)
                products.append((key, *product_row(product)))
                barcodes += [(barcode, key, *rest) for barcode, *rest in barcode_rows(product)]
            elif entity == "price":
                prices.append((key, *price_row(parse_object(payload))))
        many = self._connection.executemany
        many("INSERT INTO rows (entity, key, version, payload) VALUES (?, ?, ?, ?)", rows)
        many("INSERT INTO products (key, code, name, measured) VALUES (?, ?, ?, ?)", products)
        # A barcode that a product names twice means what it means first, as on the station.
        many("INSERT OR IGNORE INTO gathered_barcodes VALUES (?, ?, ?, ?, ?)", barcodes)
        many("INSERT INTO gathered_prices VALUES (?, ?, ?, ?, ?, ?, ?)", prices)

    def finish(self, scope: str, gen: str, seq: int, count: int, digest: str) -> None:
        """Say what it is; nothing may be added after."""
        about = (scope, gen, seq, count, digest)
        self._connection.execute(
            "INSERT INTO about (scope, gen, seq, count, digest) VALUES (?, ?, ?, ?, ?)", about
        )
        for statement in (*_COPY, "COMMIT"):
            self._connection.execute(statement)

    def close(self) -> None:
        self._connection.close()
