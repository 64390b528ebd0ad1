"""What the station took per business date and payment type: a projection of the documents, caught up when read.

A sale pays nothing for it. `meta.totals_upto` moves in the same transaction as the sums, so a document counts once
whatever is killed when; `edge_agent/verify.py` compares sums and documents.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping

import orjson

from edge_agent.db.connection import transaction
from shared.documents import RECEIPT_KINDS
from shared.protocol.messages import DayTotal

BATCH_DOCUMENTS = 200
READ_UPTO = "SELECT coalesce((SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'totals_upto'), 0)"
WRITE_UPTO = "INSERT OR REPLACE INTO meta (key, value) VALUES ('totals_upto', ?)"
NOT_COUNTED = """
SELECT doc_no, CAST(header AS BLOB), CAST(payload AS BLOB) FROM documents
WHERE doc_no > ? ORDER BY doc_no LIMIT ?
"""
ADD_TOTAL = """
INSERT INTO day_totals (business_date, type, currency, count, amount_minor) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (business_date, type, currency) DO UPDATE
SET count = count + excluded.count, amount_minor = amount_minor + excluded.amount_minor
"""
INSERT_HISTORY = "INSERT OR IGNORE INTO history (epoch, seq, doc_id, header, payload) VALUES (?, ?, ?, ?, ?)"
KNOWN_DOCUMENT = """
SELECT EXISTS (SELECT 1 FROM documents WHERE doc_id = ?1) OR EXISTS (SELECT 1 FROM history WHERE doc_id = ?1)
"""

Totals = Mapping[tuple[str, str, str], tuple[int, int]]
"""(business date, payment type, currency) -> (payments, amount in minor units)."""


def totals_of(documents: Iterable[tuple[bytes, bytes]]) -> Totals:
    """The payments of receipts among *documents* (header, payload); a damaged one counts as nothing."""
    sums: dict[tuple[str, str, str], tuple[int, int]] = defaultdict(lambda: (0, 0))
    for header_bytes, payload_bytes in documents:
        try:
            header, payload = orjson.loads(header_bytes), orjson.loads(payload_bytes)
            if header["kind"] not in RECEIPT_KINDS:
                continue
            business_date, currency = header["business_date"], payload["currency"]
            for payment in payload["payments"]:
                key = (business_date, payment["type"], currency)
                count, amount = sums[key]
                sums[key] = (count + 1, amount + payment["amount_minor"])
        except (ValueError, KeyError, TypeError):
            continue
    return sums


def day_totals(connection: sqlite3.Connection, since_date: str) -> list[DayTotal]:
    """The totals from *since_date* on, as far as they are caught up."""
    rows = connection.execute(
        "SELECT business_date, type, currency, count, amount_minor FROM day_totals WHERE business_date >= ? "
        "ORDER BY business_date, type, currency",
        (since_date,),
    )
    return [
        DayTotal(business_date=date, type=kind, currency=currency, count=count, amount_minor=amount)
        for date, kind, currency, count, amount in rows
    ]


def catch_up(connection: sqlite3.Connection) -> bool:
    """Count the next documents that are not counted yet; False when there were none."""
    upto = connection.execute(READ_UPTO).fetchone()[0]
    rows = connection.execute(NOT_COUNTED, (upto, BATCH_DOCUMENTS)).fetchall()
    if not rows:
        return False
    with transaction(connection):
        _add(connection, totals_of((header, payload) for _, header, payload in rows))
        connection.execute(WRITE_UPTO, (str(rows[-1][0]),))
    return True


def add_history(
    connection: sqlite3.Connection, epoch: bytes, seq: int, header: bytes, payload: bytes
) -> None:
    """Keep a document that was read back, inside the caller's transaction; it counts unless it is here already."""
    doc_id = str(orjson.loads(header)["doc_id"])
    known = connection.execute(KNOWN_DOCUMENT, (doc_id,)).fetchone()[0]
    cursor = connection.execute(INSERT_HISTORY, (epoch, seq, doc_id, header, payload))
    if cursor.rowcount and not known:
        _add(connection, totals_of([(header, payload)]))


def _add(connection: sqlite3.Connection, totals: Totals) -> None:
    connection.executemany(
        ADD_TOTAL, [(*key, count, amount) for key, (count, amount) in sorted(totals.items())]
    )
