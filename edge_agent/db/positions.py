"""Epochs and positions of the journal: what is there, what the centre has of it, what may go.

Functions for the journal's thread. The end of an epoch is its last position, or what stands before `first` where
all of it was purged; it is nowhere stored a second time.
"""

from __future__ import annotations

import hashlib
import sqlite3
from dataclasses import dataclass

from edge_agent.db.commit import Tail, write_epoch
from edge_agent.db.connection import transaction
from edge_agent.sync.plan import LocalEpoch
from shared.journal import link
from shared.protocol.messages import EpochClaim

_EPOCHS = """
SELECT e.epoch, e.first, coalesce(j.seq, e.first - 1) AS last, coalesce(j.head, e.prev_head) AS head,
       e.safe_seq, e.safe_head, e.folded_after, e.parent, e.parent_last, e.parent_head
FROM epochs e LEFT JOIN journal j
  ON j.epoch_no = e.epoch_no AND j.seq = (SELECT max(seq) FROM journal WHERE epoch_no = e.epoch_no)
"""
ALL_EPOCHS = _EPOCHS + "ORDER BY e.epoch_no"
EPOCH = "SELECT epoch_no, first, prev_head, safe_seq FROM epochs WHERE epoch = ?"
PARENT = "SELECT parent, parent_last, parent_head FROM epochs WHERE epoch = ? AND parent IS NOT NULL"
HEAD_AT = "SELECT head FROM journal WHERE epoch_no = ? AND seq = ?"
# As bytes, here and wherever a document is read: SQLite keeps any type in any column, and a text or a number that was
# put there by hand is a damaged document, which must not stop the others.
DOCUMENTS_BETWEEN = """
SELECT j.seq, CAST(d.header AS BLOB), CAST(d.payload AS BLOB), d.header_hash, d.payload_hash, j.head
FROM journal j JOIN documents d USING (doc_no)
WHERE j.epoch_no = ? AND j.seq BETWEEN ? AND ? ORDER BY j.seq
"""
RECORD_CURSOR = """
UPDATE epochs SET acked_seq = ?, safe_seq = ?, safe_head = ?
WHERE epoch = ? AND (acked_seq, safe_seq, safe_head) <> (?, ?, ?)
"""
BACKLOG = """
WITH ends AS (
    SELECT e.epoch_no, max(e.acked_seq, e.first - 1) AS sent,
           coalesce((SELECT max(seq) FROM journal WHERE epoch_no = e.epoch_no), e.first - 1) AS last
    FROM epochs e WHERE e.folded_after IS NULL
)
SELECT coalesce(sum(last - sent), 0),
       (SELECT min(d.sealed_ms) FROM ends o JOIN journal j ON j.epoch_no = o.epoch_no AND j.seq = o.sent + 1
        JOIN documents d USING (doc_no))
FROM ends WHERE last > sent
"""
INSERT_POSITION = "INSERT INTO journal (epoch_no, seq, doc_no, head) VALUES (?, ?, ?, ?)"
AGAIN = """
SELECT j.doc_no, d.header_hash, d.payload_hash FROM journal j JOIN documents d USING (doc_no)
WHERE j.epoch_no = ? AND j.seq > ? ORDER BY j.seq
"""
MARK_FOLDED = "UPDATE epochs SET folded_after = ? WHERE epoch_no = ?"
# A document that also stands at a later, unpurged position (journaled again after a fork) stays.
PURGE_DOCUMENTS = """
DELETE FROM documents WHERE doc_no IN (SELECT doc_no FROM journal WHERE epoch_no = ?1 AND seq <= ?2)
AND NOT EXISTS (
    SELECT 1 FROM epochs f WHERE f.epoch_no = documents.epoch_no AND f.folded_after < documents.seq
    AND EXISTS (SELECT 1 FROM journal j WHERE j.doc_no = documents.doc_no AND j.epoch_no <> f.epoch_no
                AND NOT (j.epoch_no = ?1 AND j.seq <= ?2))
)
"""
PURGE_POSITIONS = "DELETE FROM journal WHERE epoch_no = ? AND seq <= ?"
PURGED_TO = "UPDATE epochs SET first = ?, prev_head = ? WHERE epoch_no = ?"
# From the oldest on, so that only what may go is looked at, not the whole journal.
FIRST_YOUNG = """
SELECT j.seq FROM journal j JOIN documents d USING (doc_no)
WHERE j.epoch_no = ? AND j.seq BETWEEN ? AND ? AND d.sealed_ms >= ? ORDER BY j.seq LIMIT 1
"""
NEWEST_DATE = """
SELECT max(json_extract(CAST(d.header AS TEXT), '$.business_date'))
FROM journal j JOIN documents d USING (doc_no) WHERE j.epoch_no = ? AND j.seq <= ?
"""
# Up to this date the totals cannot be compared with their documents any more.
RAISE_PURGED_DATE = """
INSERT INTO meta (key, value) VALUES ('purged_date', ?)
ON CONFLICT (key) DO UPDATE SET value = max(value, excluded.value)
"""


@dataclass(frozen=True, slots=True)
class Stored:
    """A document as it lies on the disk.

    `damaged`: its bytes no longer fit the recorded hashes; the chain goes on over the hashes.
    """

    seq: int
    header: bytes
    payload: bytes
    header_hash: bytes
    payload_hash: bytes
    head: bytes
    damaged: bool


def local_epochs(connection: sqlite3.Connection) -> list[LocalEpoch]:
    """All epochs that hold anything, oldest first."""
    return [
        LocalEpoch(epoch, first, last, head, safe_seq, safe_head, folded_after is not None)
        for epoch, first, last, head, safe_seq, safe_head, folded_after, *_ in connection.execute(ALL_EPOCHS)
        if last >= first or last > safe_seq
    ]


def claims(connection: sqlite3.Connection) -> list[EpochClaim]:
    """What a session tells: the epochs that are not fully safe, with the parents they claim."""
    return [
        EpochClaim(
            epoch=epoch.hex(),
            last=last,
            head=head.hex(),
            parent=parent.hex() if parent else None,
            parent_last=parent_last,
            parent_head=parent_head.hex() if parent_head else None,
        )
        for epoch, _, last, head, safe_seq, safe_head, folded_after, parent, parent_last, parent_head in (
            connection.execute(ALL_EPOCHS)
        )
        if folded_after is None and (safe_seq, safe_head) != (last, head)
    ]


def parent_of(connection: sqlite3.Connection, epoch: bytes) -> tuple[bytes, int, bytes] | None:
    """The point that an epoch says it followed."""
    row: tuple[bytes, int, bytes] | None = connection.execute(PARENT, (epoch,)).fetchone()
    return row


def head_at(connection: sqlite3.Connection, epoch: bytes, seq: int) -> bytes | None:
    """The head after *seq* (also just before the first kept document), or None where it is not held."""
    found = connection.execute(EPOCH, (epoch,)).fetchone()
    if found is None:
        return None
    epoch_no, first, prev_head, _ = found
    if seq == first - 1:
        return bytes(prev_head)
    row = connection.execute(HEAD_AT, (epoch_no, seq)).fetchone()
    return row[0] if row else None


def read(
    connection: sqlite3.Connection, epoch: bytes, first_seq: int, last_seq: int, max_bytes: int
) -> list[Stored]:
    """Documents of an epoch in order, at most *max_bytes* of them but always one, each checked against its hashes."""
    found = connection.execute(EPOCH, (epoch,)).fetchone()
    if found is None:
        return []
    documents: list[Stored] = []
    size = 0
    for seq, header, payload, header_hash, payload_hash, head in connection.execute(
        DOCUMENTS_BETWEEN, (found[0], first_seq, last_seq)
    ):
        size += len(header) + len(payload)
        if documents and size > max_bytes:
            break
        right = (
            hashlib.sha256(payload).digest() == payload_hash
            and hashlib.sha256(header).digest() == header_hash
        )
        documents.append(Stored(seq, header, payload, header_hash, payload_hash, head, not right))
    return documents


def record_cursor(
    connection: sqlite3.Connection, epoch: bytes, acked_seq: int, safe_seq: int, safe_head: bytes
) -> None:
    """Remember how far the centre has an epoch; nothing is written where nothing moved."""
    moved = (acked_seq, safe_seq, safe_head)
    connection.execute(RECORD_CURSOR, (*moved, epoch, *moved))


def backlog(connection: sqlite3.Connection) -> tuple[int, int | None]:
    """How many documents the centre has not acknowledged, and when the oldest of them was sealed."""
    count, oldest_ms = connection.execute(BACKLOG).fetchone()
    return count, oldest_ms


def fold(connection: sqlite3.Connection, tail: Tail, epoch: bytes, after: int) -> tuple[Tail, int]:
    """Journal again, at the end of *tail*, the documents of *epoch* behind *after*; the old branch is kept and ends.

    Returns:
        the new tail and how many documents it was.
    """
    found = connection.execute(EPOCH, (epoch,)).fetchone()
    if found is None:
        return tail, 0
    folded_no = found[0]
    with transaction(connection):
        rows = connection.execute(AGAIN, (folded_no, after)).fetchall()
        seq, head = tail.seq, tail.head
        if rows and not tail.is_written:
            write_epoch(connection, tail)
        positions = []
        for doc_no, header_hash, payload_hash in rows:
            seq += 1
            head = link(head, seq, header_hash, payload_hash)
            positions.append((tail.epoch_no, seq, doc_no, head))
        connection.executemany(INSERT_POSITION, positions)
        connection.execute(MARK_FOLDED, (after, folded_no))
    return tail.moved_to(seq, head, tail.doc_no) if rows else tail, len(rows)


def purge(connection: sqlite3.Connection, epoch: bytes, upto: int) -> int:
    """Delete a safe prefix; what is not safe stays whatever is asked (I5). Returns how many positions went."""
    found = connection.execute(EPOCH, (epoch,)).fetchone()
    if found is None:
        return 0
    epoch_no, first, _, safe_seq = found
    upto = min(upto, safe_seq)
    head = head_at(connection, epoch, upto)
    if upto < first or head is None:
        return 0
    with transaction(connection):
        newest = connection.execute(NEWEST_DATE, (epoch_no, upto)).fetchone()[0]
        connection.execute(RAISE_PURGED_DATE, (newest or "",))
        connection.execute(PURGE_DOCUMENTS, (epoch_no, upto))
        gone = connection.execute(PURGE_POSITIONS, (epoch_no, upto)).rowcount
        connection.execute(PURGED_TO, (upto + 1, head, epoch_no))
    return gone


def old_up_to(connection: sqlite3.Connection, epoch: bytes, before_ms: int) -> int:
    """The last safe position up to which every document was sealed before *before_ms*; 0 for none."""
    found = connection.execute(EPOCH, (epoch,)).fetchone()
    if found is None:
        return 0
    epoch_no, first, _, safe_seq = found
    young = connection.execute(FIRST_YOUNG, (epoch_no, first, safe_seq, before_ms)).fetchone()
    upto: int = young[0] - 1 if young else safe_seq
    return upto if upto >= first else 0
