"""Take documents in: the second and last time that anybody has to wait for a disk before a sale is safe.

Rule 1: an answer follows a durable commit (I7). Rule 2: what a push means is decided by `decide.py` under the
station row's lock; here the facts are read and the decision is written. Rule 3: business is not judged.
Pushes that wait at the same time share one transaction, one push of a station at a time; when it fails, each is done
by itself, so nobody suffers from another's documents.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from central.db import journal as rows
from central.db import registry
from central.db.database import Database
from central.db.failures import came_second, storage_problem
from central.db.transactions import Transaction
from central.identities import StationIdentity
from central.intake.batch import Batch, read_batch
from central.intake.decide import (
    EpochFacts,
    Gate,
    KeyState,
    Known,
    decide_document,
    decide_push,
    heads_needed,
)
from central.intake.numbers import DocNumbers
from central.intake.signatures import Signatures
from central.registry.secrets import Session
from central.registry.sessions import check
from shared import journal
from shared.errors import BadInput, Conflict, CounterflowError, NotAllowed
from shared.faultpoints import reach
from shared.protocol import framing

GROUP_DOCUMENTS_MAX = 1_000
"""Documents of one transaction, unless a single push has more."""
HISTORY_ROWS = 500
HISTORY_BYTES = 4 << 20

logger = logging.getLogger(__name__)


class Stored(NamedTuple):
    """A document that has just been stored and waits to be applied: handed over so that it need not be read again."""

    doc_no: int
    station_no: int
    received_ms: int
    header: dict[str, Any]
    payload_bytes: bytes


class Acked(NamedTuple):
    """The fields of `PushReply`, as they go onto the wire."""

    acked_seq: int
    acked_head: str
    safe_seq: int
    safe_head: str
    held: bool


@dataclass(slots=True, eq=False)
class _Push:
    session: Session
    batch: Batch
    answer: asyncio.Future[Acked]


@dataclass(slots=True)
class _Group:
    """What one transaction does: its rows, the answers that follow its commit, the refusals that do not need it."""

    facts: rows.Facts
    doc_nos: Iterator[int]
    rows: rows.NewRows
    replies: list[tuple[_Push, Acked]] = field(default_factory=list)
    refusals: list[tuple[_Push, CounterflowError]] = field(default_factory=list)
    stored: list[Stored] = field(default_factory=list)
    notes: list[tuple[str, str, str]] = field(default_factory=list)


class JournalIntake:
    """The centre's door for the documents of stations."""

    def __init__(
        self, database: Database, numbers: DocNumbers, hand_over: Callable[[Sequence[Stored]], None]
    ) -> None:
        self._database = database
        self._numbers = numbers
        self._hand_over = hand_over
        self._signatures = Signatures()
        self._waiting: deque[_Push] = deque()
        self._committing: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Let the transaction under way end."""
        if self._committing is not None:
            await self._committing
        self._signatures.close()

    async def push(self, session: Session, envelope: dict[str, Any], lines: Sequence[bytes]) -> Acked:
        """Store the documents of a push and say how far the centre has its epoch.

        Raises:
            BadInput: it contradicts itself, or its signature is wrong; nothing is stored.
            Conflict: `gap` or `fork`, with the centre's `last` and `head`; nothing is stored.
            NotAuthenticated, NotAllowed: the session ran out, the key or station was revoked.
            CannotStore: the disk refused; nothing is stored.
        """
        batch = read_batch(session.code, envelope, lines)
        if not await self._signatures.check(session.public_key, batch.signature, batch.signed):
            raise BadInput("the push's signature is not of the session's key", code="wrong-signature")
        push = _Push(session, batch, asyncio.get_running_loop().create_future())
        self._waiting.append(push)
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit_waiting(), name="intake")
        return await push.answer

    async def history(
        self, station: StationIdentity, epoch: bytes, after: int
    ) -> tuple[dict[str, Any], list[bytes]]:
        """Documents as they were sealed, for a station that lost them (R7): envelope and lines of one page."""
        async with self._database.read() as connection:
            transaction = self._database.within(connection)
            row = (await registry.epoch_rows(connection, station.station_no, {epoch})).get(epoch)
            prev_head = journal.genesis(station.code, epoch)
            if row is None:
                return _history_page(epoch, after, prev_head, [], 0)
            if after > 0:
                prev_head = (await rows.stored_heads(transaction, row.epoch_no, [after])).get(after, b"")
            page = await rows.history(transaction, row.epoch_no, after, HISTORY_ROWS, HISTORY_BYTES)
        return _history_page(epoch, after, prev_head, page, row.last)

    # ---- group commit ----

    async def _commit_waiting(self) -> None:
        try:
            while self._waiting:
                await self._commit(self._take_group())
        finally:
            self._committing = None

    def _take_group(self) -> list[_Push]:
        group: list[_Push] = []
        later: list[_Push] = []
        stations: set[int] = set()
        documents = 0
        while self._waiting and documents < GROUP_DOCUMENTS_MAX:
            push = self._waiting.popleft()
            if push.answer.done():  # its station hung up
                continue
            size = len(push.batch.documents)
            if push.session.station_no in stations or (group and documents + size > GROUP_DOCUMENTS_MAX):
                later.append(push)
                if len(later) > GROUP_DOCUMENTS_MAX:
                    break
                continue
            stations.add(push.session.station_no)
            documents += size
            group.append(push)
        self._waiting.extendleft(reversed(later))
        return group

    async def _commit(self, pushes: Sequence[_Push]) -> None:
        if not pushes:
            return
        try:
            group = await self._database.transact(
                lambda transaction: self._store(transaction, pushes), retry=came_second
            )
        except Exception as error:
            self._numbers.forget()
            if len(pushes) > 1:
                for push in pushes:
                    await self._commit([push])
                return
            self._refuse(pushes[0], error)
            return
        reach("intake.after_commit")
        if group.stored:
            self._hand_over(group.stored)
        for push, refusal in group.refusals:
            if not push.answer.done():
                push.answer.set_exception(refusal)
        for push, reply in group.replies:
            if not push.answer.done():
                push.answer.set_result(reply)

    def _refuse(self, push: _Push, error: Exception) -> None:
        if not isinstance(error, CounterflowError):
            logger.error("push_failed", exc_info=error, extra={"station": push.session.code})
            error = storage_problem(error)
        if not push.answer.done():
            push.answer.set_exception(error)

    async def _store(self, transaction: Transaction, pushes: Sequence[_Push]) -> _Group:
        facts = await rows.facts(
            transaction,
            {push.session.station_no for push in pushes},
            {pair for push in pushes for pair in _epochs_of(push)},
            {document.doc_id for push in pushes for document in push.batch.documents if document.doc_id},
        )
        doc_nos = await self._numbers.draw(transaction, sum(len(push.batch.documents) for push in pushes))
        group = _Group(facts, doc_nos, rows.NewRows([], [], [], [], [], [], []))
        for push in pushes:
            try:
                await self._decide(transaction, push, group)
            except CounterflowError as refusal:
                group.refusals.append((push, refusal))
        if group.rows.epochs:
            await rows.store(transaction, group.rows)
        for who, what, detail in group.notes:
            await rows.note(transaction, facts.now_ms, who, what, detail)
        reach("intake.before_commit")
        return group

    async def _decide(self, transaction: Transaction, push: _Push, group: _Group) -> None:
        session, batch, facts = push.session, push.batch, group.facts
        station = facts.stations.get(session.station_no)
        key_state = facts.keys.get((session.station_no, session.public_key))
        check(session, station.state if station else None, key_state, facts.now_ms)
        assert station is not None
        assert key_state is not None
        epoch = facts.epochs.get((session.station_no, batch.epoch))
        seen = EpochFacts(epoch.last, epoch.head) if epoch else None
        needed = heads_needed(seen, batch.claim)
        heads = await rows.stored_heads(transaction, epoch.epoch_no, needed) if epoch and needed else {}
        decision = decide_push(
            KeyState(key_state), station.quarantined, seen, batch.genesis, batch.claim, heads
        )
        if decision.refusal:
            raise _refusal(decision.refusal, session, seen or EpochFacts(0, batch.genesis))
        if epoch is None:
            epoch = await rows.new_epoch(
                transaction, session.station_no, batch.epoch, batch.genesis, facts.now_ms
            )
        if epoch.last == 0 and batch.parent is not None:
            sibling = await rows.set_parent(transaction, session.station_no, epoch.epoch_no, batch.parent)
            group.notes += _parent_notes(push, facts, sibling)
        last, head = epoch.last, epoch.head
        if decision.skip < len(batch.documents):
            _add_documents(
                group,
                push,
                epoch.epoch_no,
                decision.skip,
                "quarantine" if station.quarantined else "retired-key" if decision.held else "",
            )
            last, head = batch.claim.last_seq, batch.claim.heads[-1]
            group.rows.epochs.append(
                (last, head, max(epoch.last_number, batch.last_number), facts.now_ms, epoch.epoch_no)
            )
        acked = Acked(last, head.hex(), epoch.safe_seq, epoch.safe_head.hex(), decision.held)
        group.replies.append((push, acked))


def _add_documents(group: _Group, push: _Push, epoch_no: int, skip: int, held_why: str) -> None:
    """Add the rows of the documents from index *skip* on; *held_why* is empty where they are to be applied."""
    station_no, now_ms, new, gate = push.session.station_no, group.facts.now_ms, group.rows, group.facts.gate
    heads, seq = push.batch.claim.heads, push.batch.claim.first_seq + skip
    for document, head in zip(push.batch.documents[skip:], heads[skip:], strict=True):
        known = gate.get(document.doc_id) if document.doc_id else None
        verdict = decide_document(
            Known(known.station_no, known.payload_hash) if known else None, station_no, document.payload_hash
        )
        if verdict is Gate.ALIAS and known is not None:
            new.journal.append((epoch_no, seq, known.doc_no, head))
            seq += 1
            continue
        doc_no = next(group.doc_nos)
        why = held_why
        new.journal.append((epoch_no, seq, doc_no, head))
        new.bodies.append(
            (
                doc_no,
                station_no,
                now_ms,
                document.recorded is not None,
                document.header_bytes,
                document.payload_bytes,
            )
        )
        if document.recorded is not None:
            new.damaged.append((doc_no, *document.recorded))
            why = "damaged"
        elif verdict is Gate.CONFLICT:
            why = "conflict"
        elif document.doc_id is not None:
            new.gate.append((document.doc_id, doc_no, station_no, document.payload_hash))
            gate[document.doc_id] = rows.GateRow(doc_no, station_no, document.payload_hash)
        if why:
            new.held.append((doc_no, station_no, why, now_ms))
        else:
            new.pending.append((doc_no,))
            group.stored.append(Stored(doc_no, station_no, now_ms, document.header, document.payload_bytes))
        seq += 1


def _epochs_of(push: _Push) -> Iterator[tuple[int, bytes]]:
    yield push.session.station_no, push.batch.epoch
    if push.batch.parent is not None:
        yield push.session.station_no, push.batch.parent[0]


def _refusal(name: str, session: Session, seen: EpochFacts) -> CounterflowError:
    if name == "key-revoked":
        return NotAllowed(f'station "{session.code}" was revoked by HQ', hint="ask HQ why", code=name)
    what = {
        "gap": f"the centre has this epoch up to {seen.last}; go on from there",
        "fork": "the centre holds another branch of this epoch",
    }[name]
    return Conflict(what, code=name, last=seen.last, head=seen.head.hex())


def _parent_notes(push: _Push, facts: rows.Facts, sibling: bytes | None) -> list[tuple[str, str, str]]:
    """A parent behind what the centre holds: the disk was restored or copied. An alert, nothing else."""
    assert push.batch.parent is not None
    parent, parent_last, _ = push.batch.parent
    known = facts.epochs.get((push.session.station_no, parent))
    if known is not None and known.last > parent_last:
        gone_on = f"that one is here up to {known.last}"
    elif sibling is not None:
        gone_on = f"epoch {sibling.hex()} followed it already"
    else:
        return []
    detail = f"epoch {push.batch.epoch.hex()} follows {parent.hex()} at {parent_last}, but {gone_on}"
    logger.warning("disk_restored_or_copied", extra={"station": push.session.code, "detail": detail})
    return [(f"station {push.session.code}", "disk restored or copied", detail)]


def _history_page(
    epoch: bytes, after: int, prev_head: bytes, page: Sequence[rows.HistoryRow], last: int
) -> tuple[dict[str, Any], list[bytes]]:
    damaged, lines = {}, []
    for row in page:
        if row.header_hash is not None and row.payload_hash is not None:
            damaged[str(row.seq)] = (row.header_hash.hex(), row.payload_hash.hex())
            lines += [framing.armour(row.header), framing.armour(row.payload)]
        else:
            lines += [row.header, row.payload]
    envelope = {
        "epoch": epoch.hex(),
        "first_seq": after + 1,
        "prev_head": prev_head.hex(),
        "count": len(page),
        "last_head": page[-1].head.hex() if page else prev_head.hex(),
        "more": bool(page) and page[-1].seq < last,
        "damaged": damaged,
    }
    return envelope, lines
