"""What `edge_agent/verify.py` needs to see of journal.db. Functions for the journal's thread."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from edge_agent.db.totals import READ_UPTO, totals_of

LINKS = """
SELECT j.seq, j.head, d.doc_id, CAST(d.header AS BLOB), CAST(d.payload AS BLOB), d.header_hash, d.payload_hash
FROM journal j JOIN epochs e USING (epoch_no) LEFT JOIN documents d USING (doc_no)
WHERE e.epoch = ? AND j.seq > ? ORDER BY j.seq LIMIT ?
"""
ORPHANS = """
SELECT d.doc_id FROM documents d LEFT JOIN journal j ON j.epoch_no = d.epoch_no AND j.seq = d.seq
WHERE j.doc_no IS NOT d.doc_no AND NOT EXISTS (SELECT 1 FROM journal k WHERE k.doc_no = d.doc_no)
LIMIT 100
"""
COUNTED = "SELECT CAST(header AS BLOB), CAST(payload AS BLOB) FROM documents WHERE doc_no <= ?"
# A document that was read back counts unless it is in the journal itself, and once if it was read back twice.
COUNTED_HISTORY = """
SELECT CAST(header AS BLOB), CAST(payload AS BLOB) FROM history h
WHERE NOT EXISTS (SELECT 1 FROM documents d WHERE d.doc_id = h.doc_id) GROUP BY h.doc_id
"""
STORED_TOTALS = "SELECT business_date, type, currency, count, amount_minor FROM day_totals"
PURGED_DATE = "SELECT coalesce((SELECT value FROM meta WHERE key = 'purged_date'), '')"


@dataclass(frozen=True, slots=True)
class Link:
    """One position; its document's fields are None where the document is not there."""

    seq: int
    head: bytes
    doc_id: str | None
    header: bytes | None
    payload: bytes | None
    header_hash: bytes | None
    payload_hash: bytes | None


def structure(connection: sqlite3.Connection) -> list[str]:
    """What SQLite finds wrong with the file's pages and indexes; empty when it is whole."""
    return [row[0] for row in connection.execute("PRAGMA quick_check(20)") if row[0] != "ok"]


def links(connection: sqlite3.Connection, epoch: bytes, after_seq: int, limit: int) -> list[Link]:
    return [Link(*row) for row in connection.execute(LINKS, (epoch, after_seq, limit))]


def orphans(connection: sqlite3.Connection) -> list[str]:
    return [row[0] for row in connection.execute(ORPHANS)]


def wrong_totals(connection: sqlite3.Connection) -> list[str]:
    """Totals that differ from their documents, of the days of which nothing was purged yet."""
    upto = connection.execute(READ_UPTO).fetchone()[0]
    purged_date = connection.execute(PURGED_DATE).fetchone()[0]
    sums = dict(totals_of(connection.execute(COUNTED, (upto,))))
    for key, (count, amount) in totals_of(connection.execute(COUNTED_HISTORY)).items():
        have = sums.get(key, (0, 0))
        sums[key] = (have[0] + count, have[1] + amount)
    stored = {(row[0], row[1], row[2]): (row[3], row[4]) for row in connection.execute(STORED_TOTALS)}
    wrong = []
    for key in sorted(sums.keys() | stored.keys()):
        documents, total = sums.get(key, (0, 0)), stored.get(key, (0, 0))
        if key[0] > purged_date and documents != total:
            wrong.append(
                f"{' '.join(key)}: the total is {total[0]} payments, {total[1]}; "
                f"the documents are {documents[0]} payments, {documents[1]}"
            )
    return wrong
