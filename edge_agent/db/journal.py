"""The station's journal: documents that were sold, sealed in a chain, durable before anybody is told.

`Journal` is the one way to write journal.db. Invariants: what `append` returned is on the disk (`synchronous=FULL`);
an epoch is never continued across a start, nor after an error of the disk.
"""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from edge_agent.db import documents, opening, positions, totals
from edge_agent.db.commit import Draft, Tail
from edge_agent.db.connection import OwnedConnection, transaction
from edge_agent.db.group_commit import GroupCommit
from edge_agent.db.reader import JournalReader
from shared.clock import Clock
from shared.documents.envelope import Accepted
from shared.errors import DamagedData, Unavailable
from shared.ids import EPOCH_BYTES
from shared.protocol.messages import DayTotal

T = TypeVar("T")

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
        self._commits = GroupCommit(connection, tail, clock)
        self._closing = False
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
        await self._commits.finish()
        await super().close()

    @property
    def current_epoch(self) -> bytes:
        """The epoch of the next document; it is written with its first one only."""
        return self._commits.tail.epoch

    @property
    def last_number(self) -> int:
        """The newest counter of a number for people."""
        return self._commits.tail.last_number

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
        if self._commits.distrusted is not None:
            await self._reopen()
        return await self._commits.append(draft)

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
            tail = self._commits.tail
            if epoch == tail.epoch:
                tail = opening.next_tail(connection, self.station, fresh, self._clock.now_ms())
            self._commits.tail, count = positions.fold(connection, tail, epoch, after)
            return count

        return await self._run(work)

    async def raise_number(self, last_number: int) -> None:
        """Go on behind *last_number*, the highest that the centre has seen of this station."""

        def work(connection: sqlite3.Connection) -> None:
            raised = self._commits.tail.numbered_from(last_number)
            if raised is self._commits.tail:
                return
            with transaction(connection):
                connection.execute(RAISE_NUMBER, (str(last_number),))
                connection.execute(RAISE_BASE, (raised.number_base, raised.epoch_no))
            self._commits.tail = raised

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
        if self._commits.distrusted is not None:
            await self._reopen()
        commits = self._commits

        def watched(connection: sqlite3.Connection) -> T:
            try:
                return work(connection)
            except sqlite3.Error as error:
                commits.distrusts(error)
                raise

        return await self._connection.run(watched)

    async def _reopen(self) -> None:
        """After a failed write or a broken page: close, open with a full check, go on in a new epoch."""
        async with self._reopening:
            reason = self._commits.distrusted
            if reason is None:
                return
            await self._commits.finish()
            await self._connection.close()
            now_ms = self._clock.now_ms()
            rescued, epoch = self._random_bytes(EPOCH_BYTES), self._random_bytes(EPOCH_BYTES)
            thorough = isinstance(reason, DamagedData)
            connection = await opening.open_journal(
                self._path, self.station, self._marker, now_ms, rescued, thorough=thorough
            )
            tail = await connection.run(lambda raw: opening.next_tail(raw, self.station, epoch, now_ms))
            self._connection = connection
            self._commits = GroupCommit(connection, tail, self._clock)
