"""Documents as people and POS software ask for them: status, export, what was read back, and alarms.

Functions for the journal's thread.
"""

from __future__ import annotations

import base64
import hashlib
import sqlite3
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from edge_agent.db.connection import transaction
from edge_agent.db.positions import RAISE_PURGED_DATE
from edge_agent.db.totals import add_history
from shared.canonical import canonical, parse_object
from shared.errors import DamagedData, NotFound
from shared.ids import reference

STATUS = """
SELECT d.doc_no, CAST(d.header AS BLOB), d.seq, e.epoch_no, e.epoch, e.folded_after, e.acked_seq, e.safe_seq
FROM documents d JOIN epochs e USING (epoch_no) WHERE d.doc_id = ?
"""
LATEST_POSITION = """
SELECT e.epoch, j.seq, e.acked_seq, e.safe_seq FROM journal j JOIN epochs e USING (epoch_no)
WHERE j.doc_no = ? AND j.epoch_no > ? ORDER BY j.epoch_no DESC LIMIT 1
"""
IN_HISTORY = "SELECT CAST(header AS BLOB), epoch, seq FROM history WHERE doc_id = ? LIMIT 1"
EXPORT = """
SELECT d.doc_no, d.doc_id, CAST(d.header AS BLOB), CAST(d.payload AS BLOB), d.header_hash, d.payload_hash,
       e.epoch, d.seq
FROM documents d JOIN epochs e USING (epoch_no) WHERE d.doc_no > ? ORDER BY d.doc_no LIMIT ?
"""
HISTORY_LAST = "SELECT coalesce(max(seq), 0) FROM history WHERE epoch = ?"
_OLD_HISTORY = "FROM history WHERE json_extract(CAST(header AS TEXT), '$.business_date') < ?"
HISTORY_DATE = "SELECT max(json_extract(CAST(header AS TEXT), '$.business_date')) " + _OLD_HISTORY
PURGE_HISTORY = "DELETE " + _OLD_HISTORY
RAISE_ALARM = """
INSERT INTO alarms (name, text, since_ms) VALUES (?, ?, ?)
ON CONFLICT (name) DO UPDATE SET text = excluded.text
"""


class DocumentStatus(BaseModel):
    """How far a document has come: `accepted` here, `sent` to the centre, `safe` in its verified backup.

    `epoch` and `seq` are where it stands now; `reference` is the one on the receipt and never changes.
    """

    doc_id: str
    kind: str
    number: str
    business_date: str
    reference: str
    status: str
    epoch: str
    seq: int


def owner(connection: sqlite3.Connection) -> str:
    """The station whose journal this is."""
    row = connection.execute("SELECT value FROM meta WHERE key = 'station'").fetchone()
    if row is None:
        raise DamagedData("the journal does not say whose it is")
    return str(row[0])


def hold_view(connection: sqlite3.Connection) -> None:
    """Read from now on what is committed now, until the connection is closed."""
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM sqlite_master").fetchone()


def status_of(connection: sqlite3.Connection, doc_id: str) -> DocumentStatus:
    """How far a document has come.

    Raises:
        NotFound: it never was here, or was purged after the centre had it safe.
    """
    row = connection.execute(STATUS, (doc_id,)).fetchone()
    if row is None:
        read_back = connection.execute(IN_HISTORY, (doc_id,)).fetchone()
        if read_back is None:
            raise NotFound(
                f"document {doc_id} is not in this station's journal", hint="old ones are at the centre"
            )
        header, epoch, seq = read_back
        return _status(doc_id, header, (epoch, seq), (epoch, seq), "safe")
    doc_no, header, first_seq, epoch_no, first_epoch, folded_after, acked_seq, safe_seq = row
    epoch, seq = first_epoch, first_seq
    if folded_after is not None and first_seq > folded_after:
        again = connection.execute(LATEST_POSITION, (doc_no, epoch_no)).fetchone()
        if again is not None:
            epoch, seq, acked_seq, safe_seq = again
    state = "safe" if seq <= safe_seq else "sent" if seq <= acked_seq else "accepted"
    return _status(doc_id, header, (first_epoch, first_seq), (epoch, seq), state)


def _status(
    doc_id: str, header_bytes: bytes, first: tuple[bytes, int], now: tuple[bytes, int], state: str
) -> DocumentStatus:
    header = parse_object(header_bytes, f"the header of document {doc_id}")
    return DocumentStatus(
        doc_id=doc_id,
        kind=header["kind"],
        number=header["number"],
        business_date=header["business_date"],
        reference=reference(*first),
        status=state,
        epoch=now[0].hex(),
        seq=now[1],
    )


def export_page(connection: sqlite3.Connection, after: int, limit: int) -> tuple[list[bytes], int]:
    """The next documents as lines of JSON, and the number to go on behind."""
    lines = []
    for row in connection.execute(EXPORT, (after, limit)):
        after = row[0]
        lines.append(_export_line(row))
    return lines, after


def _export_line(row: tuple[Any, ...]) -> bytes:
    header: bytes = row[2]
    payload: bytes = row[3]
    doc_id, header_hash, payload_hash, epoch, seq = row[1], *row[4:]
    place = {"doc_id": doc_id, "epoch": epoch.hex(), "seq": seq, "reference": reference(epoch, seq)}
    if hashlib.sha256(header).digest() == header_hash and hashlib.sha256(payload).digest() == payload_hash:
        return canonical(place)[:-1] + b',"header":' + header + b',"payload":' + payload + b"}\n"
    raw = {"header": base64.b64encode(header).decode(), "payload": base64.b64encode(payload).decode()}
    return canonical({**place, "damaged": raw}) + b"\n"


def store_history(
    connection: sqlite3.Connection, epoch: bytes, first_seq: int, documents: Sequence[tuple[bytes, bytes]]
) -> None:
    """Keep documents (header, payload) that were read back from the centre."""
    with transaction(connection):
        for seq, (header, payload) in enumerate(documents, first_seq):
            add_history(connection, epoch, seq, header, payload)


def history_last(connection: sqlite3.Connection, epoch: bytes) -> int:
    return int(connection.execute(HISTORY_LAST, (epoch,)).fetchone()[0])


def purge_history(connection: sqlite3.Connection, before_date: str) -> int:
    """Delete what was read back of business dates before *before_date*; the centre has it."""
    newest = connection.execute(HISTORY_DATE, (before_date,)).fetchone()[0]
    if newest is None:
        return 0
    with transaction(connection):
        connection.execute(RAISE_PURGED_DATE, (newest,))
        return connection.execute(PURGE_HISTORY, (before_date,)).rowcount


def alarms(connection: sqlite3.Connection) -> dict[str, str]:
    """Name -> text, oldest first."""
    return dict(connection.execute("SELECT name, text FROM alarms ORDER BY since_ms, name"))


def add_alarm(connection: sqlite3.Connection, name: str, text: str, now_ms: int) -> None:
    """Raise an alarm; one of the same name gets the new text and keeps its time."""
    connection.execute(RAISE_ALARM, (name, text, now_ms))


def clear_alarm(connection: sqlite3.Connection, name: str) -> None:
    connection.execute("DELETE FROM alarms WHERE name = ?", (name,))
