"""Put submitted documents into the journal: the one transaction that a sale waits for.

Runs in the journal's thread. Positions, numbers and heads are drawn inside the transaction and `Tail` moves only
after its commit, so a failed one leaves no trace and no gap. Whether a request is a repetition is found by the
unique indexes: the usual new document costs no look-up.
"""

from __future__ import annotations

import functools
import hashlib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from edge_agent.db.connection import transaction
from shared import ids
from shared.canonical import canonical, parse_object
from shared.documents.envelope import Accepted
from shared.errors import BadInput, Conflict, CounterflowError
from shared.faultpoints import reach
from shared.journal import link

INSERT_EPOCH = """
INSERT INTO epochs (epoch_no, epoch, parent, parent_last, parent_head, prev_head, number_base, safe_head, started_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_INSERT_DOCUMENTS = """
INSERT INTO documents (doc_no, doc_id, idempotency_key, request_hash, epoch_no, seq, head,
                       header, payload, header_hash, payload_hash, sealed_ms)
VALUES """
_ONE_DOCUMENT = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_DOCUMENT = """
SELECT d.doc_id, d.header, d.payload_hash, d.request_hash, e.epoch, d.seq
FROM documents d JOIN epochs e USING (epoch_no)
"""
DOCUMENT_BY_KEY = _DOCUMENT + "WHERE d.idempotency_key = ?"
DOCUMENT_BY_ID = _DOCUMENT + "WHERE d.doc_id = ?"

DocumentRow = tuple[int, str, str | None, bytes, int, int, bytes, bytes, bytes, bytes, bytes, int]
NUMBER_MAX_CHARS = 100
ROWS_PER_STATEMENT = 16
"""Documents in one statement; SQLite keeps one prepared for each count up to it."""


@dataclass(slots=True)
class Draft:
    """A document that was found right and has no place yet.

    `header` lacks only its number. `request_hash` covers all that the caller said, so that a repeated key with
    another request is told apart from a repetition.
    """

    doc_id: str
    kind: str
    business_date: str
    header: dict[str, Any]
    number: str | None
    payload: bytes
    payload_hash: bytes
    key: str | None
    request_hash: bytes
    sealed_ms: int


@dataclass(slots=True)
class Tail:
    """The end of the current epoch: where the next document goes. A commit makes a new one, and none is changed.

    `is_written` says whether the epoch has its row: it gets it with its first document.
    """

    station: str
    epoch_no: int
    epoch: bytes
    parent: tuple[bytes, int, bytes] | None
    started_ms: int
    number_base: int
    doc_no: int
    seq: int
    head: bytes
    is_written: bool

    @property
    def last_number(self) -> int:
        return self.number_base + self.seq

    def numbered_from(self, last_number: int) -> Tail:
        """This tail, going on behind *last_number* if that is further on."""
        if last_number <= self.last_number:
            return self
        return replace(self, number_base=last_number - self.seq)

    def moved_to(self, seq: int, head: bytes, doc_no: int) -> Tail:
        """The tail after documents were appended."""
        begun = (self.station, self.epoch_no, self.epoch, self.parent, self.started_ms, self.number_base)
        return Tail(*begun, doc_no, seq, head, True)


Outcome = tuple[Accepted, bool] | CounterflowError
"""The answer and whether the request was a repetition; or why it was refused."""


def commit(connection: sqlite3.Connection, tail: Tail, drafts: Sequence[Draft]) -> tuple[Tail, list[Outcome]]:
    """Make *drafts* durable in one transaction, in order.

    Returns:
        the new tail, and the outcome of each draft.
    Raises:
        sqlite3.Error: nothing was stored.
    """
    try:
        return _append(connection, tail, drafts)
    except sqlite3.IntegrityError:
        return _append_unknown(connection, tail, drafts)


def _append(
    connection: sqlite3.Connection, tail: Tail, drafts: Sequence[Draft]
) -> tuple[Tail, list[Outcome]]:
    head, seq, doc_no = tail.head, tail.seq, tail.doc_no
    outcomes: list[Outcome] = []
    rows: list[DocumentRow] = []
    for draft in drafts:
        seq += 1
        doc_no += 1
        number = draft.number or f"{tail.station}-{tail.number_base + seq}"
        header = canonical({**draft.header, "number": number})
        header_hash = hashlib.sha256(header).digest()
        head = link(head, seq, header_hash, draft.payload_hash)
        rows.append(
            (doc_no, draft.doc_id, draft.key, draft.request_hash, tail.epoch_no, seq, head,
             header, draft.payload, header_hash, draft.payload_hash, draft.sealed_ms)
        )  # fmt: skip
        accepted = _accepted(draft.doc_id, draft.kind, number, draft.business_date, tail.epoch, seq)
        outcomes.append((accepted, False))
    if tail.is_written and len(rows) <= ROWS_PER_STATEMENT:
        reach("journal.before_commit")
        insert_documents(connection, rows)
    else:
        with transaction(connection):
            if not tail.is_written:
                write_epoch(connection, tail)
            for first in range(0, len(rows), ROWS_PER_STATEMENT):
                insert_documents(connection, rows[first : first + ROWS_PER_STATEMENT])
            reach("journal.before_commit")
    reach("journal.after_commit")
    return tail.moved_to(seq, head, doc_no), outcomes


def insert_documents(connection: sqlite3.Connection, rows: Sequence[DocumentRow]) -> None:
    """Write documents with their first positions in one statement; outside a transaction it is one of its own."""
    values = rows[0] if len(rows) == 1 else [value for row in rows for value in row]
    connection.execute(_insert_documents(len(rows)), values)


@functools.lru_cache(maxsize=ROWS_PER_STATEMENT)
def _insert_documents(count: int) -> str:
    return _INSERT_DOCUMENTS + ", ".join([_ONE_DOCUMENT] * count)


def _append_unknown(
    connection: sqlite3.Connection, tail: Tail, drafts: Sequence[Draft]
) -> tuple[Tail, list[Outcome]]:
    """Some of *drafts* are repetitions, of stored documents or of one another: append the others, answer all."""
    outcomes: list[Outcome | None] = [_recognise(connection, draft) for draft in drafts]
    fresh: list[Draft] = []
    for i, draft in enumerate(drafts):
        if outcomes[i] is None and not any(_same_name(draft, other) for other in fresh):
            fresh.append(draft)
    if fresh:
        tail, stored = _append(connection, tail, fresh)
        by_draft = {id(draft): outcome for draft, outcome in zip(fresh, stored, strict=True)}
        outcomes = [
            outcome or by_draft.get(id(draft)) for draft, outcome in zip(drafts, outcomes, strict=True)
        ]
    return tail, [
        outcome or _recognise(connection, draft) or Conflict("the document could not be stored")
        for draft, outcome in zip(drafts, outcomes, strict=True)
    ]


def _same_name(draft: Draft, other: Draft) -> bool:
    return draft.doc_id == other.doc_id or (draft.key is not None and draft.key == other.key)


def _recognise(connection: sqlite3.Connection, draft: Draft) -> Outcome | None:
    """The outcome of a request that was seen before; None for a new one."""
    if draft.key is not None and (row := connection.execute(DOCUMENT_BY_KEY, (draft.key,)).fetchone()):
        if row[3] != draft.request_hash:
            return BadInput(
                f"this Idempotency-Key was used before, for document {row[0]}, with another body",
                hint="send a repetition unchanged, and a new document with a new key",
                code="idempotency-mismatch",
                doc_id=row[0],
            )
        return _first_answer(row), True
    if row := connection.execute(DOCUMENT_BY_ID, (draft.doc_id,)).fetchone():
        if row[2] != draft.payload_hash or parse_object(row[1])["kind"] != draft.kind:
            return Conflict(
                f"document {draft.doc_id} was accepted before with another payload; it is kept as it was",
                hint="a correction is a document of its own",
                code="doc-id-conflict",
            )
        return _first_answer(row), True
    return None


def _first_answer(row: tuple[Any, ...]) -> Accepted:
    doc_id, header_bytes, _, _, epoch, seq = row
    header = parse_object(header_bytes)
    return _accepted(doc_id, header["kind"], header["number"], header["business_date"], epoch, seq)


def _accepted(doc_id: str, kind: str, number: str, business_date: str, epoch: bytes, seq: int) -> Accepted:
    return Accepted(
        doc_id=doc_id,
        kind=kind,
        number=number,
        reference=f"{_reference_prefix(epoch)}{seq}",
        epoch=epoch.hex(),
        seq=seq,
        business_date=business_date,
    )


@functools.lru_cache(maxsize=8)
def _reference_prefix(epoch: bytes) -> str:
    return ids.reference(epoch, 0)[:-1]


def write_epoch(connection: sqlite3.Connection, tail: Tail) -> None:
    """Write the row of a new epoch, inside the transaction of its first document."""
    begun = (tail.epoch_no, tail.epoch, *(tail.parent or (None, None, None)))
    connection.execute(INSERT_EPOCH, (*begun, tail.head, tail.number_base, tail.head, tail.started_ms))
