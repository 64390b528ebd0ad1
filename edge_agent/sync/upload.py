"""Bring the journal up to the centre: perform, one after the other, the steps that `plan.py` decides.

Rule 1: one push is in flight; the next is read, signed and packed meanwhile.
Rule 2: only an acknowledgement whose head is the station's own at that seq moves a cursor (`plan.confirms`).
Rule 3: a gap or a fork is no error: the centre's (last, head) becomes the cursor and the plan decides anew (R1, R3).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import replace

from edge_agent.db.journal import Journal
from edge_agent.identity import Identity
from edge_agent.sync import plan
from edge_agent.sync.batch import BATCH_RAW_BYTES, Batch, seal_batch
from edge_agent.sync.client import CentreClient, Refused
from edge_agent.sync.contact import Contact
from edge_agent.sync.history import HistoryReader
from edge_agent.sync.sessions import NOT_AUTHENTICATED, SessionHolder
from shared import faultpoints
from shared.clock import Clock
from shared.errors import ConnectionFailed, CounterflowError, DamagedData
from shared.journal import genesis
from shared.protocol.messages import PushReply

log = logging.getLogger(__name__)

CONTRADICTIONS_MAX = 3
"""Refusals in a row that move nothing; then it is an error, and the line backs off."""

GROW_AFTER_PUSHES = 20


class UploadLine:
    """The line up; it rests *rest_s* when the centre has everything, and `is_idle` says so."""

    name = "upload"

    def __init__(
        self,
        identity: Identity,
        journal: Journal,
        client: CentreClient,
        sessions: SessionHolder,
        contact: Contact,
        clock: Clock,
        *,
        rest_s: float,
        batch_documents: int = plan.PUSH_BATCH_DOCUMENTS,
    ) -> None:
        self._identity = identity
        self._journal = journal
        self._client = client
        self._sessions = sessions
        self._contact = contact
        self._clock = clock
        self._rest_s = rest_s
        self._batch_most = batch_documents
        self._batch_documents = batch_documents
        self._ready: Batch | None = None
        self._contradictions = 0
        self._taken_since_413 = 0
        self._history = HistoryReader(journal, client, sessions)
        self.is_idle = False

    async def step(self) -> float:
        """Perform one step of the plan."""
        cursors = self._sessions.cursors
        epochs = [epoch for epoch in await self._journal.epochs() if _concerns(epoch, cursors)]
        step = plan.next_step(epochs, cursors, self._batch_documents)
        self.is_idle = isinstance(step, plan.Idle)
        match step:
            case plan.OpenSession():
                await self._sessions.token()
            case plan.Fold(epoch, after):
                await self._fold(epoch, after)
            case plan.Push():
                await self._push(step, next(epoch.last for epoch in epochs if epoch.epoch == step.epoch))
            case plan.Idle():
                return 0.0 if await self._history.read_page() else self._rest_s
        return 0.0

    async def _fold(self, epoch: bytes, after: int) -> None:
        count = await self._journal.fold(epoch, after)
        self._ready = None
        log.warning("epoch_folded", extra={"epoch": epoch.hex(), "after": after, "count": count})

    # ---- one push ----

    async def _push(self, step: plan.Push, last_seq: int) -> None:
        """Send one batch; *last_seq* is the newest document of its epoch."""
        batch = await self._batch(step)
        sent_tick = self._clock.tick_ms()
        token = await self._sessions.token()
        answer = asyncio.ensure_future(self._client.push(token, batch.packed))
        try:
            await self._prepare_after(batch, last_seq)
            reply = await answer
        except Refused as refusal:
            await self._refused(refusal, token, batch)
            return
        finally:
            answer.cancel()
        faultpoints.reach("push.after_send")
        await self._confirm(token, batch, reply)
        log.info(
            "documents_pushed",
            extra={"count": batch.count, "seq": batch.last_seq, "took_ms": self._clock.tick_ms() - sent_tick},
        )

    async def _batch(self, step: plan.Push) -> Batch:
        """The batch of this step: the one made ready while the last was under way, if it is that."""
        ready, self._ready = self._ready, None
        if (
            ready is not None
            and (ready.epoch, ready.first_seq) == (step.epoch, step.first_seq)
            and ready.last_seq <= step.last_seq
        ):
            return ready
        return await self._make(step.epoch, step.first_seq, step.last_seq)

    async def _make(self, epoch: bytes, first_seq: int, last_seq: int) -> Batch:
        prev_head = (
            await self._journal.head_at(epoch, first_seq - 1)
            if first_seq > 1
            else genesis(self._identity.station, epoch)
        )
        if prev_head is None:
            raise DamagedData(
                f"the journal has no head at position {first_seq - 1} of epoch {epoch.hex()}",
                hint="run `counterflow-agent verify`",
            )
        parent = await self._journal.parent_of(epoch) if first_seq == 1 else None
        while True:
            documents = await self._journal.read(epoch, first_seq, last_seq, BATCH_RAW_BYTES)
            # Signing, compressing and hashing leave the interpreter's lock alone, so sales go on meanwhile.
            batch = await asyncio.to_thread(
                seal_batch,
                self._identity.station,
                epoch,
                first_seq,
                prev_head,
                documents,
                parent,
                self._identity.sign,
            )
            if not batch.too_large:
                return batch
            last_seq = first_seq + batch.count // 2 - 1

    async def _prepare_after(self, batch: Batch, last_seq: int) -> None:
        """Make the next batch of the same epoch ready while *batch* is under way."""
        if last_seq <= batch.last_seq:
            return
        # What is wrong with it must not touch the batch under way; the next step meets it and tells.
        with contextlib.suppress(CounterflowError):
            first_seq = batch.last_seq + 1
            self._ready = await self._make(
                batch.epoch, first_seq, min(last_seq, batch.last_seq + self._batch_documents)
            )

    async def _confirm(self, token: str, batch: Batch, reply: PushReply) -> None:
        """Move the cursor, if the acknowledgement speaks of our chain."""
        acked_head = bytes.fromhex(reply.acked_head)
        local_head = (
            batch.last_head
            if reply.acked_seq == batch.last_seq
            else await self._journal.head_at(batch.epoch, reply.acked_seq)
        )
        if not plan.confirms(local_head, acked_head):
            # A new session tells where the centre really is; the pause keeps a confused one from being asked in a loop.
            self._sessions.expired(token)
            raise ConnectionFailed(
                f"the acknowledgement of position {reply.acked_seq} has another head than this journal",
                code="wrong-answer",
            )
        faultpoints.reach("push.before_cursor")
        safe_head = bytes.fromhex(reply.safe_head)
        await self._journal.record_cursor(batch.epoch, reply.acked_seq, reply.safe_seq, safe_head)
        self._set_cursor(
            batch.epoch, plan.ServerEpoch(reply.acked_seq, acked_head, reply.safe_seq, safe_head, local_head)
        )
        self._contact.met(self._clock.now_ms())
        self._contact.quarantined = reply.held
        self._contradictions = 0
        self._grow()

    def _grow(self) -> None:
        """After a refused size: try larger batches again, but not with every push, or every second one is refused."""
        self._taken_since_413 += 1
        if self._batch_documents < self._batch_most and self._taken_since_413 >= GROW_AFTER_PUSHES:
            self._batch_documents = min(self._batch_most, self._batch_documents * 2)
            self._taken_since_413 = 0

    def _set_cursor(self, epoch: bytes, cursor: plan.ServerEpoch) -> None:
        if self._sessions.cursors is not None:
            self._sessions.cursors[epoch] = cursor

    # ---- refusals ----

    async def _refused(self, refusal: Refused, token: str, batch: Batch) -> None:
        """Do what a refusal asks for, or let it go up to the loop, which backs off."""
        self._ready = None
        self._contradictions += 1
        if self._contradictions > CONTRADICTIONS_MAX:
            raise refusal
        if refusal.http_status == NOT_AUTHENTICATED:
            self._sessions.expired(token)
        elif refusal.name in ("gap", "fork"):
            await self._go_by(refusal, batch)
        elif refusal.http_status == 413 and batch.count > 1:
            self._batch_documents = max(1, batch.count // 2)
            self._contradictions -= 1
            self._taken_since_413 = 0
        else:
            self._contact.revoked = refusal.name == "key-revoked"
            raise refusal
        log.info(
            "push_refused", extra={"why": refusal.name, "epoch": batch.epoch.hex(), "seq": batch.first_seq}
        )

    async def _go_by(self, refusal: Refused, batch: Batch) -> None:
        """Take the centre's (last, head) as the cursor (R1); fold behind a head that both hold (R3)."""
        try:
            last, head = int(refusal.problem["last"]), bytes.fromhex(refusal.problem["head"])
        except (KeyError, TypeError, ValueError):
            raise refusal from None
        local_head = await self._journal.head_at(batch.epoch, last) if last else None
        cursors = self._sessions.cursors or {}
        known = cursors.get(batch.epoch) or plan.ServerEpoch(0, b"", 0, b"", None)
        self._set_cursor(batch.epoch, replace(known, last=last, head=head, local_head=local_head))
        if refusal.name == "fork" and (last == 0 or local_head == head):
            # Both sides agree at `last`, and yet what follows here does not fit: this chain is broken behind it.
            await self._fold(batch.epoch, last)


def _concerns(epoch: plan.LocalEpoch, cursors: dict[bytes, plan.ServerEpoch] | None) -> bool:
    """Whether the plan has to look at an epoch: one that is safe to its end was not claimed in the session."""
    is_safe = epoch.safe_seq == epoch.last and epoch.safe_head == epoch.head
    return not is_safe or (cursors is not None and epoch.epoch in cursors)
