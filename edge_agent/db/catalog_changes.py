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
from dataclasses import dataclass, field
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


@dataclass(frozen=True, slots=True)
class Indexed:
    """The typed rows of one catalog row; empty for an entity that is only looked up by key."""

    product: index.ProductRow | None = None
    barcodes: dict[str, index.BarcodeRow] = field(default_factory=dict)
    price: index.PriceRow | None = None


_NOTHING = Indexed()


def indexed(entity: str, key: str, payload: bytes | None) -> Indexed:
    """What look-ups need of a row. One that cannot be drawn stays a generic row and is told in the log."""
    if payload is None or entity not in ("product", "price"):
        return _NOTHING
    try:
        value = orjson.loads(payload)
        if entity == "price":
            return _checked(Indexed(price=index.price_row(value)))
        # The first place wins where a product names one barcode twice.
        barcodes: dict[str, index.BarcodeRow] = {}
        for row in index.barcode_rows(value):
            barcodes.setdefault(row[0], row)
        return _checked(Indexed(index.product_row(value), barcodes))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        log.warning("catalog_row_not_indexed", extra={"entity": entity, "key": key, "why": repr(error)})
        return _NOTHING


def _checked(drawn: Indexed) -> Indexed:
    """Raise `TypeError` where a table would refuse the row: one odd row must not hold up its scope."""
    texts = [*(drawn.product or ())[:2], *(drawn.price or ())[:4], *drawn.barcodes]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError(f"not all of {texts} are texts")
    return drawn


def apply_changes(
    connection: sqlite3.Connection, scope_no: int, digest: Digest, changes: Sequence[Change], *, fresh: bool
) -> Digest:
    """Apply *changes*, in their order, and return the scope's new digest.

    Args:
        fresh: the scope is being built from nothing, so most keys are new; a hint for speed only.
    """
    if fresh:
        live = [change for change in changes if change[2] is not None]
        connection.execute("SAVEPOINT fresh")
        try:
            added = _insert_new(connection, scope_no, live)
        except sqlite3.IntegrityError:
            # A row that an earlier page had already: it was changed while the pages were on their way.
            connection.execute("ROLLBACK TO fresh")
        else:
            changes = [change for change in changes if change[2] is None]
            digest = digest.shift(len(live), added)
        finally:
            connection.execute("RELEASE fresh")
    newest = {(entity, key): payload for entity, key, payload in changes}
    for entity in dict.fromkeys(entity for entity, _ in newest):
        digest = _merge(
            connection,
            scope_no,
            digest,
            entity,
            {key: payload for (e, key), payload in newest.items() if e == entity},
        )
    return digest


def _insert_new(connection: sqlite3.Connection, scope_no: int, changes: Sequence[Change]) -> int:
    """Insert rows that are new, with what look-ups need of them; return the sum of their hashes.

    Raises:
        sqlite3.IntegrityError: one is not new; the caller undoes what was written.
    """
    rows: list[tuple[Any, ...]] = []
    products: list[tuple[Any, ...]] = []
    barcodes: list[tuple[Any, ...]] = []
    prices: list[tuple[Any, ...]] = []
    total = 0
    for entity, key, payload in changes:
        assert payload is not None
        version = version_of(payload)
        total += row_hash(entity, key, version)
        rows.append((scope_no, entity, key, version, payload))
        drawn = indexed(entity, key, payload)
        if drawn.product is not None:
            products.append((scope_no, key, *drawn.product))
            barcodes += [(barcode, scope_no, key, *rest) for barcode, *rest in drawn.barcodes.values()]
        elif drawn.price is not None:
            product, *rest = drawn.price
            prices.append((product, scope_no, key, *rest))
    _many(connection, "INSERT INTO rows VALUES ", 5, rows)
    _many(connection, _INSERT_PRODUCTS, 5, products)
    _many(connection, "INSERT OR REPLACE INTO barcodes VALUES ", 6, sorted(barcodes, key=lambda row: row[0]))
    _many(connection, "INSERT OR REPLACE INTO prices VALUES ", 8, prices)
    return total


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
    puts: list[tuple[Any, ...]] = []
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
            puts.append((scope_no, entity, key, version, payload))
        else:
            gone.append(key)
        touched.append((key, was[1] if was else None, payload))
    _many(connection, "INSERT OR REPLACE INTO rows VALUES ", 5, puts)
    _delete(
        connection, "DELETE FROM rows WHERE scope_no = ? AND entity = ? AND key IN ", (scope_no, entity), gone
    )
    if entity in ("product", "price"):
        _reindex(
            connection,
            scope_no,
            [(key, indexed(entity, key, was), indexed(entity, key, new)) for key, was, new in touched],
        )
    return digest.shift(count, total)


def _reindex(
    connection: sqlite3.Connection, scope_no: int, touched: list[tuple[str, Indexed, Indexed]]
) -> None:
    """Write the differences between the typed rows of *touched* keys before and after."""
    renumbered = [key for key, was, new in touched if was.product != new.product]
    if renumbered:
        at = (scope_no,)
        numbers = _by_keys(
            connection, "SELECT product_no FROM products WHERE scope_no = ? AND key IN ", at, renumbered
        )
        _delete(connection, "DELETE FROM names WHERE rowid IN ", (), [number for (number,) in numbers])
        _delete(connection, "DELETE FROM products WHERE scope_no = ? AND key IN ", at, renumbered)
        _many(
            connection,
            _INSERT_PRODUCTS,
            5,
            [
                (scope_no, key, *new.product)
                for key, was, new in touched
                if new.product and was.product != new.product
            ],
        )
    old_codes = [
        (barcode, scope_no, key)
        for key, was, new in touched
        for barcode, row in was.barcodes.items()
        if new.barcodes.get(barcode) != row
    ]
    new_codes = [
        (barcode, scope_no, key, *row[1:])
        for key, was, new in touched
        for barcode, row in new.barcodes.items()
        if was.barcodes.get(barcode) != row
    ]
    connection.executemany("DELETE FROM barcodes WHERE barcode = ? AND scope_no = ? AND key = ?", old_codes)
    _many(connection, "INSERT OR REPLACE INTO barcodes VALUES ", 6, new_codes)
    old_prices = [
        (was.price[0], scope_no, key) for key, was, new in touched if was.price and was.price != new.price
    ]
    connection.executemany("DELETE FROM prices WHERE product = ? AND scope_no = ? AND key = ?", old_prices)
    new_prices = [
        (new.price[0], scope_no, key, *new.price[1:])
        for key, was, new in touched
        if new.price and was.price != new.price
    ]
    _many(connection, "INSERT OR REPLACE INTO prices VALUES ", 8, new_prices)


_INSERT_PRODUCTS = "INSERT INTO products (scope_no, key, code, name, measured) VALUES "


def _many(connection: sqlite3.Connection, head: str, width: int, rows: Sequence[tuple[Any, ...]]) -> None:
    place = "(" + ",".join("?" * width) + ")"
    for part in _parts(rows):
        connection.execute(head + ",".join([place] * len(part)), [value for row in part for value in row])


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
