"""The station's journal: documents that were sold, sealed in a chain, durable before anybody is told.

`Journal` is the one way to write journal.db. Callers that come at the same time share one transaction and one fsync
(group commit); a lone caller costs one hop to the thread and back. Invariants: what `append` returned is on the disk
(`synchronous=FULL`); an epoch is never continued across a start, nor after an error of the disk.
"""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from edge_agent.db import documents, opening, positions, totals
from edge_agent.db.commit import Draft, Outcome, Tail, commit
from edge_agent.db.connection import OwnedConnection, as_ours, transaction
from edge_agent.db.reader import JournalReader
from shared.clock import Clock
from shared.documents.envelope import Accepted
from shared.errors import CannotStore, CounterflowError, DamagedData, Unavailable
from shared.ids import EPOCH_BYTES
from shared.protocol.messages import DayTotal

T = TypeVar("T")
Waiter = asyncio.Future[tuple[Accepted, bool]]

GROUP_MAX_DOCUMENTS = 256
"""Most documents in one commit."""
WAITING_MAX_DOCUMENTS = 4_096
"""Most callers that wait for a commit; one more is told to come again."""
RAISE_NUMBER = """
INSERT INTO meta (key, value) VALUES ('last_number', ?)
ON CONFLICT (key) DO UPDATE SET value = max(CAST(value AS INTEGER), CAST(excluded.value AS INTEGER))
"""
RAISE_BASE = "UPDATE epochs SET number_base = ? WHERE epoch_no = ?"


class Journal(JournalReader):
    """Open it with `Journal.open`; one instance owns the file."""

    def __init__(
        self,
        path: Path,
        marker: Path,
        station: str,
        clock: Clock,
        random_bytes: Callable[[int], bytes],
        connection: OwnedConnection,
        tail: Tail,
    ) -> None:
        super().__init__(connection, station)
        self._path = path
        self._marker = marker
        self._clock = clock
        self._random_bytes = random_bytes
        self._tail = tail
        self._loop = asyncio.get_running_loop()
        # Drafts are handed over from the event loop to the journal's thread.
        self._lock = threading.Lock()
        self._waiting: list[tuple[Draft, Waiter]] = []
        self._committing = False
        self._closing = False
        self._distrusted: CounterflowError | None = None
        self._reopening = asyncio.Lock()

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        station: str,
        clock: Clock,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
        marker: Path | None = None,
    ) -> Journal:
        """Open the journal of *station*, make or rescue it, and draw a new epoch.

        Args:
            marker: file beside the identity that says a journal was begun; `identity/journal.begun` by default.
        """
        marker = marker or path.parent / "identity" / "journal.begun"
        connection = await opening.open_journal(
            path, station, marker, clock.now_ms(), random_bytes(EPOCH_BYTES)
        )
        epoch, now_ms = random_bytes(EPOCH_BYTES), clock.now_ms()
        tail = await connection.run(lambda raw: opening.next_tail(raw, station, epoch, now_ms))
        return cls(path, marker, station, clock, random_bytes, connection, tail)

    async def close(self) -> None:
        """Commit what was handed in before, take nothing more, and close."""
        self._closing = True
        while self._committing:
            await self._connection.run(_nothing)
        await super().close()

    @property
    def current_epoch(self) -> bytes:
        """The epoch of the next document; it is written with its first one only."""
        return self._tail.epoch

    @property
    def last_number(self) -> int:
        """The newest counter of a number for people."""
        return self._tail.last_number

    # ---- the one thing that must never wait for anybody ----

    async def append(self, draft: Draft) -> tuple[Accepted, bool]:
        """Make a document durable.

        Returns:
            the answer, and whether this was a repetition of a request that was answered before.
        Raises:
            BadInput, Conflict: the key or the doc_id stands for something else; nothing was stored.
            CannotStore: the disk refused; nothing was accepted.
        """
        if self._closing:
            raise Unavailable("the agent is stopping", hint="send it again when it is back", retry_after_s=5)
        if self._distrusted is not None:
            await self._reopen()
        waiter: Waiter = self._loop.create_future()
        with self._lock:
            if len(self._waiting) >= WAITING_MAX_DOCUMENTS:
                raise Unavailable(
                    f"{WAITING_MAX_DOCUMENTS} documents wait for the disk",
                    hint="send it again",
                    retry_after_s=1,
                )
            self._waiting.append((draft, waiter))
            idle, self._committing = not self._committing, True
        if idle:
            self._connection.post(self._commit_group)
        return await waiter

    def _commit_group(self, connection: sqlite3.Connection) -> None:
        """In the thread: commit what waits; what comes meanwhile is the next group, behind other work's turn."""
        with self._lock:
            taken = len(self._waiting) if self._distrusted else GROUP_MAX_DOCUMENTS
            group = self._waiting[:taken]
            del self._waiting[:taken]
        self._loop.call_soon_threadsafe(_answer, group, self._outcomes(connection, group))
        with self._lock:
            self._committing = again = bool(self._waiting)
        if again:
            self._connection.post(self._commit_group)

    def _outcomes(
        self, connection: sqlite3.Connection, group: Sequence[tuple[Draft, Waiter]]
    ) -> list[Outcome]:
        if self._distrusted is not None:
            return [self._distrusted for _ in group]
        try:
            self._tail, outcomes = commit(connection, self._tail, [draft for draft, _ in group])
        except sqlite3.Error as error:
            return [self._alone(connection, draft, error) for draft, _ in group]
        except Exception as error:
            return [CannotStore(f"the document was not stored: {error!r}") for _ in group]
        return outcomes

    def _alone(self, connection: sqlite3.Connection, draft: Draft, group_error: sqlite3.Error) -> Outcome:
        """After a failed group: each document by itself, so that a small one may fit where the group did not."""
        if self._distrusts(group_error):
            return as_ours(group_error, self._path)
        try:
            self._tail, outcomes = commit(connection, self._tail, [draft])
        except sqlite3.Error as error:
            self._distrusts(error)
            return as_ours(error, self._path)
        return outcomes[0]

    # ---- what the upward line changes ----

    async def record_cursor(self, epoch: bytes, acked_seq: int, safe_seq: int, safe_head: bytes) -> None:
        """Remember how far the centre has an epoch. It saves work and proves nothing: the centre's word counts."""
        await self._run(lambda raw: positions.record_cursor(raw, epoch, acked_seq, safe_seq, safe_head))

    async def fold(self, epoch: bytes, after: int) -> int:
        """Journal again what *epoch* holds behind *after*, with the same bytes, in the current epoch (R3).

        If *epoch* is the current one a new epoch is drawn first. Returns the number of documents.
        """
        fresh = self._random_bytes(EPOCH_BYTES)

        def work(connection: sqlite3.Connection) -> int:
            tail = self._tail
            if epoch == tail.epoch:
                tail = opening.next_tail(connection, self.station, fresh, self._clock.now_ms())
            self._tail, count = positions.fold(connection, tail, epoch, after)
            return count

        return await self._run(work)

    async def raise_number(self, last_number: int) -> None:
        """Go on behind *last_number*, the highest that the centre has seen of this station."""

        def work(connection: sqlite3.Connection) -> None:
            raised = self._tail.numbered_from(last_number)
            if raised is self._tail:
                return
            with transaction(connection):
                connection.execute(RAISE_NUMBER, (str(last_number),))
                connection.execute(RAISE_BASE, (raised.number_base, raised.epoch_no))
            self._tail = raised

        await self._run(work)

    async def store_history(self, epoch: bytes, first_seq: int, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        """Keep documents (header, payload) that were read back from the centre (R7)."""
        await self._run(lambda raw: documents.store_history(raw, epoch, first_seq, pairs))

    async def day_totals(self, since_date: str) -> list[DayTotal]:
        """What was taken per business date and payment type from *since_date* on."""
        while await self._run(totals.catch_up):
            pass
        return await self._run(lambda raw: totals.day_totals(raw, since_date))

    # ---- retention and alarms ----

    async def purge(self, epoch: bytes, upto: int) -> int:
        """Delete a safe prefix; what is not safe stays whatever is asked. Returns how many positions went."""
        while await self._run(totals.catch_up):
            pass
        return await self._run(lambda raw: positions.purge(raw, epoch, upto))

    async def purge_history(self, before_date: str) -> int:
        """Delete what was read back of business dates before *before_date*."""
        return await self._run(lambda raw: documents.purge_history(raw, before_date))

    async def add_alarm(self, name: str, text: str) -> None:
        """Raise an alarm; it stands until it is cleared."""
        now_ms = self._clock.now_ms()
        await self._run(lambda raw: documents.add_alarm(raw, name, text, now_ms))

    async def clear_alarm(self, name: str) -> None:
        await self._run(lambda raw: documents.clear_alarm(raw, name))

    # ---- errors of the disk ----

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._distrusted is not None:
            await self._reopen()

        def watched(connection: sqlite3.Connection) -> T:
            try:
                return work(connection)
            except sqlite3.Error as error:
                self._distrusts(error)
                raise

        return await self._connection.run(watched)

    def _distrusts(self, error: sqlite3.Error) -> bool:
        """Whether *error* leaves it unknown what is on the disk: then nothing more is done with this connection."""
        name = getattr(error, "sqlite_errorname", "") or ""
        if name.startswith(("SQLITE_IOERR", "SQLITE_CORRUPT", "SQLITE_NOTADB")):
            self._distrusted = as_ours(error, self._path)
            return True
        return self._distrusted is not None

    async def _reopen(self) -> None:
        """After a failed write or a broken page: close, open with a full check, go on in a new epoch."""
        async with self._reopening:
            if self._distrusted is None:
                return
            thorough = isinstance(self._distrusted, DamagedData)
            await self._connection.close()
            now_ms = self._clock.now_ms()
            rescued, epoch = self._random_bytes(EPOCH_BYTES), self._random_bytes(EPOCH_BYTES)
            self._connection = await opening.open_journal(
                self._path, self.station, self._marker, now_ms, rescued, thorough=thorough
            )
            self._tail = await self._connection.run(
                lambda raw: opening.next_tail(raw, self.station, epoch, now_ms)
            )
            self._distrusted = None


def _nothing(_: sqlite3.Connection) -> None:
    """Its turn comes when all work before it is done."""


def _answer(group: Sequence[tuple[Draft, Waiter]], outcomes: Sequence[Outcome]) -> None:
    for (_, waiter), outcome in zip(group, outcomes, strict=True):
        if waiter.done():  # the caller went away; its document is stored all the same
            continue
        if isinstance(outcome, CounterflowError):
            waiter.set_exception(outcome)
        else:
            waiter.set_result(outcome)
