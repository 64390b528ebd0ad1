"""The limits of this machine: the same work in plain sqlite3 (or COPY on PostgreSQL), with nothing around it.

No network, no parsing, no hashing, no checks: rows lie ready in memory and are written with `synchronous=FULL`.
Every limit returns what took time, in seconds, so that each workload says for itself what a rate is.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pysqlite3 as sqlite3
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

import shared.sqlite  # noqa: F401 -- the same SQLite, bound as fast as ours
from central.db.tables import deliveries as deliveries_tables
from central.db.tables import documents as documents_tables
from central.db.tables import journal as journal_tables
from shared.canonical import canonical, sha256
from tests.support import yardstick_sales as sales
from tests.support.yardstick import FIRST_MS

TRANSACTION_DOCUMENTS = 500

SALES_SCHEMA = """
CREATE TABLE document (doc_id TEXT PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE sale (doc_id TEXT PRIMARY KEY, shift TEXT, cashier TEXT, customer TEXT, opened_at TEXT, closed_at TEXT,
    currency TEXT, total BIGINT, tax BIGINT, discount BIGINT);
CREATE TABLE sale_line (doc_id TEXT NOT NULL, n INTEGER NOT NULL, product TEXT, name TEXT, quantity TEXT,
    price BIGINT, discount BIGINT, rate INTEGER, tax BIGINT, amount BIGINT, PRIMARY KEY (doc_id, n));
CREATE TABLE sale_payment (doc_id TEXT NOT NULL, n INTEGER NOT NULL, type TEXT, amount BIGINT, reference TEXT,
    PRIMARY KEY (doc_id, n));
"""
ITEMS_SCHEMA = """
CREATE TABLE item (code TEXT PRIMARY KEY, name TEXT, unit TEXT, grp TEXT, tax TEXT, price BIGINT, updated_ms BIGINT,
    barcode TEXT, doc BLOB);
CREATE INDEX item_barcode ON item (barcode);
"""
INSERT_ITEM = "INSERT INTO item VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
UPSERT_ITEM = f"""{INSERT_ITEM} ON CONFLICT (code) DO UPDATE SET barcode = excluded.barcode, name = excluded.name,
    unit = excluded.unit, grp = excluded.grp, tax = excluded.tax, price = excluded.price,
    updated_ms = excluded.updated_ms, doc = excluded.doc"""

SaleRows = tuple[tuple[Any, ...], list[tuple[Any, ...]], list[tuple[Any, ...]], tuple[str, bytes]]


@contextmanager
def plain(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that is as durable as ours and does nothing by itself."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA cache_size = -65536")
    try:
        yield connection
    finally:
        connection.close()


# ---- W1: one sale at a time ----


def sale_rows(doc_id: str, sale: dict[str, Any], body: bytes) -> SaleRows:
    """A sale as document and rows."""
    columns = ("shift", "cashier", "customer", "opened_at", "closed_at", "currency")
    columns = (*columns, "total_minor", "tax_minor", "discount_minor")
    lines = [
        (doc_id, line["n"], line["product"], line["name"], line["quantity"], line["price_minor"],
         line["discount_minor"], line["taxes"][0]["rate_bp"], line["taxes"][0]["amount_minor"], line["amount_minor"])
        for line in sale["lines"]
    ]  # fmt: skip
    payments = [(doc_id, p["n"], p["type"], p["amount_minor"], p.get("reference")) for p in sale["payments"]]
    return (doc_id, *(sale[column] for column in columns)), lines, payments, (doc_id, body)


def insert_sale(connection: sqlite3.Connection, rows: SaleRows) -> None:
    sale, lines, payments, document = rows
    connection.execute("INSERT INTO document VALUES (?, ?)", document)
    connection.execute("INSERT INTO sale VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", sale)
    connection.executemany("INSERT INTO sale_line VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", lines)
    connection.executemany("INSERT INTO sale_payment VALUES (?, ?, ?, ?, ?)", payments)


def commit_sales(path: Path, count: int) -> float:
    """Write *count* sales, a transaction and a sync each."""
    rows = []
    for number in range(count):
        sale = sales.payload(sales.raw_sale(number))
        rows.append(sale_rows(sales.doc_id(number), sale, canonical(sale)))
    with plain(path) as connection:
        connection.executescript(SALES_SCHEMA)
        since = time.perf_counter()
        for row in rows:
            connection.execute("BEGIN IMMEDIATE")
            insert_sale(connection, row)
            connection.execute("COMMIT")
        return time.perf_counter() - since


# ---- W2 and W6: documents and their rows at the centre ----

_INTAKE = (journal_tables.journal, journal_tables.bodies, journal_tables.gate, journal_tables.pending)
_APPLY = (
    documents_tables.documents,
    documents_tables.lines,
    documents_tables.payments,
    deliveries_tables.deliveries,
)


@dataclass(frozen=True, slots=True)
class CentreBatch:
    """What one batch of documents becomes at the centre; rows by table name, in the order of their keys."""

    rows: dict[str, list[tuple[Any, ...]]]
    last: int
    head: bytes


def centre_batches(count: int, size: int = TRANSACTION_DOCUMENTS) -> list[CentreBatch]:
    """The rows of *count* sales of one station, as the centre's own tables hold them."""
    batches = []
    for start in range(0, count, size):
        rows: dict[str, list[tuple[Any, ...]]] = {table.name: [] for table in (*_INTAKE, *_APPLY)}
        for number in range(start, min(count, start + size)):
            _add_document(rows, number)
        rows["gate"].sort()
        last = min(count, start + size)
        batches.append(CentreBatch(rows, last, sha256(b"%d" % last)))
    return batches


def _add_document(rows: dict[str, list[tuple[Any, ...]]], number: int) -> None:
    payload = sales.payload(sales.raw_sale(number))
    header, body = sales.header(number, "T-1"), canonical(payload)
    doc_no, doc_id = number + 1, bytes.fromhex(header["doc_id"].replace("-", ""))
    time_ms = FIRST_MS + number
    rows["journal"].append((1, doc_no, doc_no, sha256(body)))
    rows["bodies"].append((doc_no, 1, time_ms, False, canonical(header), body))
    rows["gate"].append((doc_id, doc_no, 1, sha256(body)))
    rows["pending"].append((doc_no,))
    rows["documents"].append(
        (1, doc_no, "sale", header["business_date"], header["number"], time_ms, time_ms,
         payload["shift"], payload["cashier"], payload["customer"], "EUR",
         payload["total_minor"], payload["tax_minor"], payload["discount_minor"])
    )  # fmt: skip
    rows["lines"] += [
        (1, doc_no, line["n"], line["product"], None, None, int(line["quantity"]) * 1_000_000, line["price_minor"],
         line["discount_minor"], line["taxes"][0]["amount_minor"], line["amount_minor"], None, None)
        for line in payload["lines"]
    ]  # fmt: skip
    rows["payments"] += [
        (1, doc_no, payment["n"], payment["type"], payment["amount_minor"], payment.get("reference"))
        for payment in payload["payments"]
    ]
    rows["deliveries"].append((1, doc_no, "document", "ready", None))


def replay_sqlite(path: Path, batches: Sequence[CentreBatch]) -> float:
    """Write *batches* with plain sqlite3: a transaction for positions and bodies, one for rows and deliveries."""
    inserts = {
        table.name: f"INSERT INTO {table.name} VALUES ({', '.join('?' * len(table.columns))})"
        for table in (*_INTAKE, *_APPLY)
    }
    with plain(path) as connection:
        for statement in _schema(sqlite.dialect()):
            connection.execute(statement)
        connection.execute(
            "INSERT INTO epochs VALUES (1, 1, x'01', 0, x'00', 0, x'00', 1, NULL, NULL, NULL, 0, 0, 0)"
        )
        since = time.perf_counter()
        for batch in batches:
            connection.execute("BEGIN IMMEDIATE")
            for table in _INTAKE:
                connection.executemany(inserts[table.name], batch.rows[table.name])
            connection.execute(
                "UPDATE epochs SET last = ?, head = ? WHERE epoch_no = 1", (batch.last, batch.head)
            )
            connection.execute("COMMIT")
            connection.execute("BEGIN IMMEDIATE")
            for table in _APPLY:
                connection.executemany(inserts[table.name], batch.rows[table.name])
            connection.executemany("DELETE FROM pending WHERE doc_no = ?", batch.rows["pending"])
            connection.execute("COMMIT")
        return time.perf_counter() - since


async def replay_postgres(url: str, batches: Sequence[CentreBatch]) -> float:
    """The same on PostgreSQL: COPY, and for the gate COPY into a temporary table and INSERT … ON CONFLICT."""
    import asyncpg

    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        for statement in _schema(postgresql.dialect()):
            await connection.execute(statement)
        await connection.execute(
            "INSERT INTO epochs (epoch_no, station_no, epoch, last, head, safe_seq, safe_head, was_current,"
            " last_number, created_ms, updated_ms) VALUES (1, 1, '\\x01', 0, '\\x00', 0, '\\x00', true, 0, 0, 0)"
        )
        await connection.execute("CREATE TEMPORARY TABLE arrived (LIKE gate) ON COMMIT DELETE ROWS")
        since = time.perf_counter()
        for batch in batches:
            async with connection.transaction():
                await connection.copy_records_to_table("arrived", records=batch.rows["gate"])
                await connection.execute("INSERT INTO gate SELECT * FROM arrived ON CONFLICT DO NOTHING")
                for table in (journal_tables.journal, journal_tables.bodies, journal_tables.pending):
                    await connection.copy_records_to_table(table.name, records=batch.rows[table.name])
                await connection.execute(
                    "UPDATE epochs SET last = $1, head = $2 WHERE epoch_no = 1", batch.last, batch.head
                )
            async with connection.transaction():
                for table in _APPLY:
                    await connection.copy_records_to_table(table.name, records=batch.rows[table.name])
                numbers = [row[0] for row in batch.rows["pending"]]
                await connection.execute("DELETE FROM pending WHERE doc_no = ANY($1)", numbers)
        return time.perf_counter() - since
    finally:
        await connection.close()


def _schema(dialect: Any) -> Iterator[str]:
    """The statements that make our own tables, without their references to tables that are left out here."""
    for table in (journal_tables.epochs, *_INTAKE, *_APPLY):
        yield str(CreateTable(table, include_foreign_key_constraints=[]).compile(dialect=dialect))
        for index in table.indexes:
            yield str(CreateIndex(index).compile(dialect=dialect))


# ---- W3 and W4: items on a station ----


def insert_items(path: Path, rows: Sequence[tuple[Any, ...]]) -> float:
    """Write *rows* into an empty table, in one transaction."""
    with plain(path) as connection:
        connection.executescript(ITEMS_SCHEMA)
        return _in_one_transaction(connection, INSERT_ITEM, rows)


def upsert_items(path: Path, rows: Sequence[tuple[Any, ...]]) -> float:
    """Change *rows* of a table that is there, in one transaction."""
    with plain(path) as connection:
        return _in_one_transaction(connection, UPSERT_ITEM, rows)


def _in_one_transaction(
    connection: sqlite3.Connection, statement: str, rows: Sequence[tuple[Any, ...]]
) -> float:
    since = time.perf_counter()
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(statement, rows)
    connection.execute("COMMIT")
    return time.perf_counter() - since
