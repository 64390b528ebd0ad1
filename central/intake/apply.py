"""Turn stored documents into rows and deliveries: together or not at all (I2), and none delays another (I10).

Plan, then perform: `plan` sorts a batch into rows, waiting and parked, and is pure; one transaction takes the batch
from `pending` and writes what the plan says. When that transaction fails, the batch is done again one document per
savepoint, and only the ones at fault are parked. Errors of the connection park nothing (I20): the batch stays.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NamedTuple

import orjson

from central.db import apply as db
from central.db.database import Database
from central.db.failures import is_at_fault
from central.db.transactions import Transaction
from central.intake.accept import Stored
from central.intake.decide import Apply, decide_apply
from central.intake.rows import Rows, Unfit, is_known, references, rows_of
from shared.canonical import canonical
from shared.clock import Clock
from shared.faultpoints import reach

BATCH_MAX = 1_000
READY_MAX = 20_000
"""Documents kept in memory between intake and here; more are read from the database."""
TICK_S = 1.0
RETRY_S = 2.0
TELL_EVERY_MS = 500
SMALL_BATCH = 500
GATHER_MS = 100
"""The least time between two batches that are both small."""
WAITING_PER_TICK = 5_000

logger = logging.getLogger(__name__)
Targets = Callable[[str], Sequence[tuple[int, str, str]]]
"""(integration, effect, first state) of the deliveries that a kind of document makes."""


class Ready(NamedTuple):
    """A document to be applied: its rows, or why it has none."""

    doc_no: int
    doc_id: str
    kind: str
    refs: list[bytes]
    known: tuple[bool, bool]
    rows: Rows | Unfit


def make_ready(doc_no: int, station_no: int, header: dict[str, Any], payload: bytes) -> Ready:
    """What a stored document says, as rows."""
    refs: list[bytes] = []
    known = is_known(header)
    rows: Rows | Unfit
    try:
        refs = references(header)
        rows = (
            rows_of(station_no, doc_no, header, orjson.loads(payload))
            if all(known)
            else Unfit("newer schema")
        )
    except Unfit as unfit:
        rows = unfit
    except orjson.JSONDecodeError as error:
        rows = Unfit("the payload is not JSON", f"the payload is not JSON: {error}")
    except Exception as error:
        # Whatever a document holds, it must not stop its neighbours (I10).
        logger.exception("document_not_understood", extra={"doc_no": doc_no})
        rows = Unfit(
            f"cannot be turned into rows: {type(error).__name__}", f"cannot be turned into rows: {error}"
        )
    return Ready(doc_no, str(header.get("doc_id", "")), str(header.get("kind", "")), refs, known, rows)


def plan(batch: Sequence[Ready], applied: Collection[bytes], targets: Targets, now_ms: int) -> db.NewRows:
    """Sort a batch into what is written now, what waits and what is parked. Pure.

    Args:
        batch: in the order of their numbers; a reference to an earlier one of the same batch is satisfied by it.
        applied: those of the batch's references that are applied already.
    """
    new = db.NewRows()
    satisfied = set(applied)
    refers = any(ready.refs for ready in batch)
    for ready in batch:
        decision = decide_apply(*ready.known, ready.refs, satisfied)
        if decision is Apply.WAIT_SCHEMA:
            new.waiting.append((ready.doc_no, decision.value, None, now_ms))
        elif isinstance(ready.rows, Unfit):
            new.parked.append(_parked(ready.doc_no, ready.rows.reason, ready.rows.what, now_ms))
        elif decision is Apply.WAIT_REFERENCE:
            missing = next(ref for ref in ready.refs if ref not in satisfied)
            new.waiting.append((ready.doc_no, decision.value, missing, now_ms))
        else:
            add_rows(new, ready, targets)
            if refers:
                satisfied.add(doc_id_of(ready))
    return new


def add_rows(new: db.NewRows, ready: Ready, targets: Targets) -> None:
    """Rows and deliveries of one document that can be applied."""
    assert isinstance(ready.rows, Rows)
    new.documents.append(ready.rows.document)
    new.lines += ready.rows.lines
    new.payments += ready.rows.payments
    if (details := ready.rows.paper) is not None:
        new.papers.append(details.paper)
        new.links += details.links
        new.units += details.units
    new.deliveries += [
        (number, ready.doc_no, effect, state, None) for number, effect, state in targets(ready.kind)
    ]


def _parked(doc_no: int, reason: str, detail: str, now_ms: int) -> tuple[int, str, str, int, int, str]:
    history = canonical([{"at_ms": now_ms, "what": detail[:500]}]).decode()
    return (doc_no, reason[:200], detail[:2_000], 1, now_ms, history)


class Applier:
    """The worker that empties `pending`. Any number of nodes run one each."""

    def __init__(self, database: Database, clock: Clock, targets: Targets) -> None:
        self._database = database
        self._clock = clock
        self._targets = targets
        self._ready: dict[int, Ready] = {}
        self._arrived: list[Stored] = []
        self._handed = False
        self._taken_to = 0
        self._look_for_waiting = True
        self._looked_ms = 0
        self.wake = asyncio.Event()
        self.applied = asyncio.Event()
        """Set when documents were applied; who reads it clears it."""
        self._applied_ms = -GATHER_MS
        self._untold = False
        self._told_ms = -TELL_EVERY_MS

    def hand_over(self, stored: Iterable[Stored]) -> None:
        """Documents that intake has just committed: they are made ready here while the database is busy."""
        if len(self._arrived) < READY_MAX:
            self._arrived += stored
        self._handed = True
        self.wake.set()

    async def run(self) -> None:
        """Apply what there is, for ever; errors of the database are waited out."""
        newer_build, look = True, True
        while True:
            try:
                if newer_build:
                    await self._recheck_schema()
                    newer_build = False
                self._make_ready()
                # Without anything ready only a look at the table is worth a transaction: what intake commits now is
                # handed over a moment later, and would be read from the database for nothing.
                count = await self.apply_batch() if self._ready or look else 0
                look = count == BATCH_MAX
                if self._waiting_due():
                    look |= bool(await self.recheck_waiting())
            except Exception:
                logger.exception("apply_failed")
                await self._clock.sleep(RETRY_S)
                look = True
                continue
            if not (self._ready or self._arrived or look):
                look = await self._pause()
            await self._gather()

    async def _pause(self) -> bool:
        """Wait for a tick or a wake-up; returns whether to look for documents that were not handed over."""
        sleep = asyncio.ensure_future(self._clock.sleep(TICK_S))
        wake = asyncio.ensure_future(self.wake.wait())
        try:
            await asyncio.wait({sleep, wake}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleep.cancel()
            wake.cancel()
        self.wake.clear()
        self._tell()
        # Woken by intake, there is nothing to look for: what it committed was handed over.
        handed, self._handed = self._handed, False
        return not handed

    async def _gather(self) -> None:
        """While sales pour in one by one, let some more come: a few in each transaction spare many transactions."""
        since_ms = self._clock.tick_ms() - self._applied_ms
        if 0 < len(self._arrived) + len(self._ready) < SMALL_BATCH and since_ms < GATHER_MS:
            await self._clock.sleep((GATHER_MS - since_ms) / 1_000)

    def _waiting_due(self) -> bool:
        now_ms = self._clock.tick_ms()
        if not self._look_for_waiting or now_ms - self._looked_ms < TICK_S * 1_000:
            return False
        self._looked_ms = now_ms
        return True

    async def drain(self) -> int:
        """Apply until nothing more can be; returns how many documents were looked at."""
        total = 0
        while count := await self.apply_batch() or await self.recheck_waiting():
            total += count
        return total

    async def _recheck_schema(self) -> None:
        await self._database.transact(db.release_schema)

    async def recheck_waiting(self) -> int:
        """Look again at documents whose reference is there now."""
        moved = await self._database.transact(
            lambda transaction: db.release_waiting(transaction, WAITING_PER_TICK)
        )
        self._look_for_waiting = False
        return moved

    async def apply_batch(self) -> int:
        """One batch in one transaction; returns how many documents it took."""
        self._make_ready()
        try:
            count = await self._database.transact(self._apply)
        except Exception as error:
            if not is_at_fault(error):
                raise
            logger.warning("apply_batch_redone_one_by_one", extra={"error": str(error)})
            count = await self._database.transact(self._apply_one_by_one)
        if count:
            reach("apply.after_commit")
            self._applied_ms = self._clock.tick_ms()
            self._look_for_waiting = True
            self._untold = True
            self._tell()
        return count

    def _tell(self) -> None:
        """Tell those who deliver, at once or, while documents pour in, twice a second."""
        now_ms = self._clock.tick_ms()
        if self._untold and now_ms - self._told_ms >= TELL_EVERY_MS:
            self._told_ms, self._untold = now_ms, False
            self.applied.set()

    def _make_ready(self) -> None:
        arrived, self._arrived = self._arrived, []
        for stored in arrived:
            if stored.doc_no > self._taken_to:  # else it was taken, and read, before it was handed over
                self._ready[stored.doc_no] = make_ready(
                    stored.doc_no, stored.station_no, stored.header, stored.payload_bytes
                )

    async def _take(self, transaction: Transaction) -> tuple[list[Ready], set[bytes], int]:
        # The oldest are those that were handed over, unless a node was away: take no more than are ready.
        limit = min(len(self._ready), BATCH_MAX) or BATCH_MAX
        doc_nos = await db.take_pending(transaction, limit)
        ready = {doc_no: self._ready.pop(doc_no) for doc_no in doc_nos if doc_no in self._ready}
        if len(doc_nos) < limit:
            self._ready.clear()  # another node has taken them
        if not doc_nos:
            return [], set(), 0
        self._taken_to = max(self._taken_to, doc_nos[-1])
        absent = [doc_no for doc_no in doc_nos if doc_no not in ready]
        if absent:
            ready |= await self._load(transaction, absent)
        batch = [ready[doc_no] for doc_no in doc_nos]
        refs = {ref for one in batch for ref in one.refs}
        applied = await db.applied_ids(transaction, refs) if refs else set()
        return batch, applied, await transaction.now_ms()

    async def _load(self, transaction: Transaction, doc_nos: Sequence[int]) -> dict[int, Ready]:
        return {
            body.doc_no: make_ready(body.doc_no, body.station_no, header_of(body.header), body.payload)
            for body in await db.bodies_of(transaction, doc_nos)
        }

    async def _apply(self, transaction: Transaction) -> int:
        batch, applied, now_ms = await self._take(transaction)
        if batch:
            await db.store(transaction, plan(batch, applied, self._targets, now_ms))
            reach("apply.before_commit")
        return len(batch)

    async def _apply_one_by_one(self, transaction: Transaction) -> int:
        batch, applied, now_ms = await self._take(transaction)
        for ready in batch:
            try:
                async with transaction.savepoint():
                    await db.store(transaction, plan([ready], applied, self._targets, now_ms))
            except Exception as error:
                if not is_at_fault(error):
                    raise
                reason = f"the database refused it: {type(error).__name__}"
                rows = db.NewRows(parked=[_parked(ready.doc_no, reason, f"{reason}: {error}", now_ms)])
                await db.store(transaction, rows)
            else:
                applied |= await db.applied_ids(transaction, [doc_id_of(ready)])
        return len(batch)


def doc_id_of(ready: Ready) -> bytes:
    """The 16 bytes of its doc_id; empty where the header has none."""
    try:
        return bytes.fromhex(ready.doc_id.replace("-", ""))
    except ValueError:
        return b""


def header_of(raw: bytes) -> dict[str, Any]:
    """The header as a dict, empty where it cannot be read."""
    try:
        header = orjson.loads(raw)
    except ValueError:
        return {}
    return header if isinstance(header, dict) else {}
