"""Everything that can be asked of journal.db without changing it; also for a second process (`verify`, `export`)."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self, TypeVar

from edge_agent.db import check, documents, positions
from edge_agent.db.check import Link
from edge_agent.db.connection import OwnedConnection
from edge_agent.db.documents import DocumentStatus
from edge_agent.db.positions import Stored
from edge_agent.sync.plan import LocalEpoch
from shared.errors import NotFound
from shared.protocol.messages import EpochClaim

T = TypeVar("T")
PAGE_DOCUMENTS = 200
"""Documents in one visit to the thread: a sale never waits longer for a reader than these take (about 5 ms)."""


class JournalReader:
    """Read-only questions; `Journal` answers them too, with its own connection."""

    def __init__(self, connection: OwnedConnection, station: str) -> None:
        self._connection = connection
        self.station = station

    @classmethod
    async def open_existing(cls, path: Path) -> Self:
        """Open a journal beside the agent that writes it, or after it."""
        _must_exist(path)
        connection = await OwnedConnection.open(path, read_only=True)
        try:
            station = await connection.run(documents.owner)
        except BaseException:
            await connection.close()
            raise
        return cls(connection, station)

    async def close(self) -> None:
        await self._connection.close()

    @asynccontextmanager
    async def view(self) -> AsyncIterator[JournalReader]:
        """The journal as it is now, whatever is written meanwhile: on a connection of its own, nobody waits for it."""
        reader = await JournalReader.open_existing(self._connection.path)
        try:
            await reader._run(documents.hold_view)
            yield reader
        finally:
            await reader.close()

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._connection.run(work)

    # ---- for the upward line ----

    async def epochs(self) -> list[LocalEpoch]:
        """All epochs that hold anything, oldest first."""
        return await self._run(positions.local_epochs)

    async def claims(self) -> list[EpochClaim]:
        """The epochs that are not fully safe, with the parents they claim."""
        return await self._run(positions.claims)

    async def parent_of(self, epoch: bytes) -> tuple[bytes, int, bytes] | None:
        """The (epoch, seq, head) that an epoch says it followed."""
        return await self._run(lambda raw: positions.parent_of(raw, epoch))

    async def head_at(self, epoch: bytes, seq: int) -> bytes | None:
        """The head after *seq*, also just before the first kept document; None where it is not held."""
        return await self._run(lambda raw: positions.head_at(raw, epoch, seq))

    async def read(self, epoch: bytes, first_seq: int, last_seq: int, max_bytes: int) -> list[Stored]:
        """Documents in order, at most *max_bytes* of them but always one."""
        return await self._run(lambda raw: positions.read(raw, epoch, first_seq, last_seq, max_bytes))

    async def backlog(self) -> tuple[int, int | None]:
        """How many documents the centre has not acknowledged, and when the oldest of them was sealed."""
        return await self._run(positions.backlog)

    async def old_up_to(self, epoch: bytes, before_ms: int) -> int:
        """The last safe position up to which every document was sealed before *before_ms*; 0 for none."""
        return await self._run(lambda raw: positions.old_up_to(raw, epoch, before_ms))

    # ---- for people and POS software ----

    async def status_of(self, doc_id: str) -> DocumentStatus:
        """How far a document has come; `NotFound` where it is not held."""
        return await self._run(lambda raw: documents.status_of(raw, doc_id))

    async def alarms(self) -> dict[str, str]:
        """What needs a person: name -> text."""
        return await self._run(documents.alarms)

    async def history_last(self, epoch: bytes) -> int:
        """The last position of an epoch that was read back; 0 for none."""
        return await self._run(lambda raw: documents.history_last(raw, epoch))

    async def export(self) -> AsyncIterator[bytes]:
        """Every document that is held, one line of JSON each, the sealed bytes inside unchanged."""
        after = 0
        while True:
            lines, after = await self._run(
                functools.partial(documents.export_page, after=after, limit=PAGE_DOCUMENTS)
            )
            if not lines:
                return
            yield b"".join(lines)

    # ---- for verify ----

    async def structure(self) -> list[str]:
        """What SQLite itself finds wrong with the file."""
        return await self._run(check.structure)

    async def links(self, epoch: bytes, after_seq: int) -> list[Link]:
        """The next positions behind *after_seq* with their documents."""
        return await self._run(lambda raw: check.links(raw, epoch, after_seq, PAGE_DOCUMENTS))

    async def orphans(self) -> list[str]:
        """Documents that stand at no position."""
        return await self._run(check.orphans)

    async def wrong_totals(self) -> list[str]:
        """Day totals that are not the sum of their documents."""
        return await self._run(check.wrong_totals)


def _must_exist(path: Path) -> None:
    if not path.exists():
        raise NotFound(
            f"there is no journal at {path}", hint="was this station enrolled, and is it this instance?"
        )
