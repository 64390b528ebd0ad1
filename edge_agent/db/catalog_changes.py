"""Apply changes to a scope's rows in catalog.db, and to the typed tables that look-ups use.

The functions run on the writer's thread, inside a transaction of their caller's.
Rule 1: a row's version is computed from its payload, never believed, so that the digest proves the payloads.
Rule 2: the typed tables are what `shared/catalog/index.py` draws from the rows; only differences are written.
Rule 3: bulk goes in statements of many rows, which leave the interpreter free for selling while SQLite works.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import orjson

from shared.canonical import version_of
from shared.catalog import index
from shared.digest import Digest, row_hash

log = logging.getLogger(__name__)

ROWS_PER_STATEMENT = 400
"""At most six columns each: far below SQLite's bound of 32,766 variables."""

Change = tuple[str, str, bytes | None]
"""(entity, key, payload); None deletes."""


def changes_of(rows: Sequence[Sequence[Any]], payloads: Sequence[bytes]) -> list[Change]:
    """The changes of a page: its rows (seq, entity, key, version) and their payload lines."""
    return [
        (entity, key, payload if version is not None else None)
        for (_, entity, key, version), payload in zip(rows, payloads, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Typed:
    """What look-ups need of a catalog row; empty for an entity that is only found by its key."""

    product: index.ProductRow | None = None
    barcodes: tuple[index.BarcodeRow, ...] = ()
    price: index.PriceRow | None = None


_NOTHING = Typed()


def typed(entity: str, key: str, payload: bytes | None) -> Typed:
    """The typed rows of one row. A row that has none though it should stays a generic one and is told in the log."""
    if payload is None or entity not in ("product", "price"):
        return _NOTHING
    try:
        value = orjson.loads(payload)
        if entity == "price":
            price = index.price_row(value)
            _texts(price[:4])
            return Typed(price=price)
        product, barcodes = index.product_row(value), index.barcode_rows(value)
        _texts(product[:2])
        if len(barcodes) > 1:
            # The first place wins where a product names one barcode twice.
            barcodes = list({row[0]: row for row in reversed(barcodes)}.values())
        for row in barcodes:
            _texts(row[:2])
        return Typed(product, tuple(barcodes))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        log.warning("catalog_row_not_indexed", extra={"entity": entity, "key": key, "why": repr(error)})
        return _NOTHING


def _texts(values: tuple[Any, ...]) -> None:
    # A table would refuse anything else, and with it the whole scope.
    for value in values:
        if type(value) is not str:
            raise TypeError(f"{value!r} is not a text")


# ---- rows of a scope that is built from nothing ----


class NewRows:
    """Rows drawn for all tables, ready to be written by one statement after the other.

    Made off the writer's thread: hashing and parsing one page goes on while SQLite writes the one before.
    """

    def __init__(self, scope_no: int, changes: Sequence[Change]) -> None:
        self.changes = changes
        self.added = 0
        self.total = 0
        self.rows: list[Any] = []
        self.products: list[Any] = []
        self.barcodes: list[Any] = []
        self.prices: list[Any] = []
        # In key order, so that the tables grow at their ends and not all over.
        for entity, key, payload in sorted(
            (change for change in changes if change[2] is not None), key=_PLACE
        ):
            assert payload is not None
            version = version_of(payload)
            self.added += 1
            self.total += row_hash(entity, key, version)
            self.rows += (scope_no, entity, key, version, payload)
            drawn = typed(entity, key, payload)
            if drawn.product is not None:
                self.products += (scope_no, key, *drawn.product)
                for barcode, *rest in drawn.barcodes:
                    self.barcodes += (barcode, scope_no, key, *rest)
            elif drawn.price is not None:
                self.prices += (drawn.price[0], scope_no, key, *drawn.price[1:])


_PLACE = itemgetter(0, 1)


def write_new(connection: sqlite3.Connection, scope_no: int, digest: Digest, drawn: NewRows) -> Digest:
    """Write the rows of a scope that is being built, and return its new digest."""
    connection.execute("SAVEPOINT new_rows")
    try:
        _many(connection, "INSERT INTO rows VALUES ", 5, drawn.rows)
        _many(connection, _INSERT_PRODUCTS, 5, drawn.products)
        _many(connection, _INSERT_BARCODES, 6, drawn.barcodes)
        _many(connection, _INSERT_PRICES, 8, drawn.prices)
    except sqlite3.IntegrityError:
        # A row that an earlier page had already: it was changed while the pages were on their way.
        connection.execute("ROLLBACK TO new_rows")
        return apply_changes(connection, scope_no, digest, drawn.changes)
    finally:
        connection.execute("RELEASE new_rows")
    deleted = [change for change in drawn.changes if change[2] is None]
    return apply_changes(connection, scope_no, digest.shift(drawn.added, drawn.total), deleted)


# ---- changes ----


def apply_changes(
    connection: sqlite3.Connection, scope_no: int, digest: Digest, changes: Sequence[Change]
) -> Digest:
    """Apply *changes*, in their order, and return the scope's new digest."""
    newest: dict[str, dict[str, bytes | None]] = {}
    for entity, key, payload in changes:
        newest.setdefault(entity, {})[key] = payload
    for entity, wanted in newest.items():
        digest = _merge(connection, scope_no, digest, entity, wanted)
    return digest


def _merge(
    connection: sqlite3.Connection,
    scope_no: int,
    digest: Digest,
    entity: str,
    changes: dict[str, bytes | None],
) -> Digest:
    """Bring one entity's rows to *changes*, touching only what differs."""
    old = {
        key: (version, payload)
        for key, version, payload in _by_keys(
            connection,
            "SELECT key, version, payload FROM rows WHERE scope_no = ? AND entity = ? AND key IN ",
            (scope_no, entity),
            changes,
        )
    }
    puts: list[Any] = []
    gone: list[str] = []
    touched: list[tuple[str, bytes | None, bytes | None]] = []
    count = total = 0
    for key, payload in changes.items():
        was = old.get(key)
        version = version_of(payload) if payload is not None else None
        if version == (was[0] if was else None):
            continue
        if was is not None:
            count -= 1
            total -= row_hash(entity, key, was[0])
        if version is not None:
            count += 1
            total += row_hash(entity, key, version)
            puts += (scope_no, entity, key, version, payload)
        else:
            gone.append(key)
        touched.append((key, was[1] if was else None, payload))
    _many(connection, "INSERT OR REPLACE INTO rows VALUES ", 5, puts)
    _delete(
        connection, "DELETE FROM rows WHERE scope_no = ? AND entity = ? AND key IN ", (scope_no, entity), gone
    )
    if entity in ("product", "price"):
        drawn = [(key, typed(entity, key, was), typed(entity, key, new)) for key, was, new in touched]
        _retype(connection, scope_no, drawn)
    return digest.shift(count, total)


def _retype(connection: sqlite3.Connection, scope_no: int, touched: list[tuple[str, Typed, Typed]]) -> None:
    """Write the differences between the typed rows of *touched* keys before and after."""
    renumbered = [(key, new.product) for key, was, new in touched if was.product != new.product]
    if renumbered:
        at, keys = (scope_no,), [key for key, _ in renumbered]
        numbers = _by_keys(
            connection, "SELECT product_no FROM products WHERE scope_no = ? AND key IN ", at, keys
        )
        _delete(connection, "DELETE FROM names WHERE rowid IN ", (), [number for (number,) in numbers])
        _delete(connection, "DELETE FROM products WHERE scope_no = ? AND key IN ", at, keys)
        products = [value for key, product in renumbered if product for value in (scope_no, key, *product)]
        _many(connection, _INSERT_PRODUCTS, 5, products)
    old_codes, new_codes, old_prices, new_prices = [], [], [], []
    for key, was, new in touched:
        if was.barcodes != new.barcodes:
            old_codes += [(row[0], scope_no, key) for row in was.barcodes]
            new_codes += [
                value for barcode, *rest in new.barcodes for value in (barcode, scope_no, key, *rest)
            ]
        if was.price != new.price:
            old_prices += [(was.price[0], scope_no, key)] if was.price else []
            new_prices += [new.price[0], scope_no, key, *new.price[1:]] if new.price else []
    connection.executemany("DELETE FROM barcodes WHERE barcode = ? AND scope_no = ? AND key = ?", old_codes)
    _many(connection, _INSERT_BARCODES, 6, new_codes)
    connection.executemany("DELETE FROM prices WHERE product = ? AND scope_no = ? AND key = ?", old_prices)
    _many(connection, _INSERT_PRICES, 8, new_prices)


_INSERT_PRODUCTS = "INSERT INTO products (scope_no, key, code, name, measured) VALUES "
_INSERT_BARCODES = "INSERT INTO barcodes VALUES "
_INSERT_PRICES = "INSERT INTO prices VALUES "


def _many(connection: sqlite3.Connection, head: str, width: int, values: list[Any]) -> None:
    """Insert rows of *width* columns whose values stand one after the other."""
    place = "(" + ",".join("?" * width) + ")"
    step = ROWS_PER_STATEMENT * width
    for start in range(0, len(values), step):
        part = values[start : start + step]
        connection.execute(head + ",".join([place] * (len(part) // width)), part)


def _by_keys(
    connection: sqlite3.Connection, head: str, fixed: tuple[Any, ...], keys: Iterable[str]
) -> Iterator[tuple[Any, ...]]:
    for part in _parts(list(keys)):
        yield from connection.execute(f"{head}({','.join('?' * len(part))})", [*fixed, *part])


def _delete(connection: sqlite3.Connection, head: str, fixed: tuple[Any, ...], keys: Sequence[Any]) -> None:
    for part in _parts(keys):
        connection.execute(f"{head}({','.join('?' * len(part))})", [*fixed, *part])


def _parts(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(rows), ROWS_PER_STATEMENT):
        yield rows[start : start + ROWS_PER_STATEMENT]
