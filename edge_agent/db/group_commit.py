"""How drafts become durable: callers that come together share one transaction, a lone caller has no hop.

While the journal's thread waits for the disk, later callers gather and are the next group. A till that sells alone, on
a disk as quick as the hop to the thread and back, is committed where it stands. Whichever it is, a caller hears of its
document only after the fsync. Invariant: `tail` is what the last successful commit left, and whoever moves it holds
the connection's turn.
"""

from __future__ import annotations

import asyncio
import functools
import sqlite3
import threading
from collections.abc import Sequence

from edge_agent.db.commit import Draft, Outcome, Tail, commit
from edge_agent.db.connection import OwnedConnection, as_ours
from shared.clock import Clock
from shared.documents.envelope import Accepted
from shared.errors import CannotStore, CounterflowError, Unavailable

Waiter = asyncio.Future[tuple[Accepted, bool]]

GROUP_MAX_DOCUMENTS = 256
"""Most documents in one commit."""
WAITING_MAX_DOCUMENTS = 4_096
"""Most callers that wait for a commit; one more is told to come again."""
QUICK_COMMIT_MS = 1
"""A disk that took no longer for the last commit may be waited for in the event loop."""
LONELY_COMMITS = 16
"""After a group of several, so many single ones until a caller counts as alone again."""
LOOK_ROUND_EVERY = 8
"""Of a lone caller's commits one in so many goes through the thread, to see whether others come meanwhile."""


class GroupCommit:
    """The one way for drafts into the database; it lives as long as its connection is trusted.

    Attributes:
        tail: where the next document goes.
        distrusted: the error after which it is not known what is on the disk; nothing is written any more.
    """

    def __init__(self, connection: OwnedConnection, tail: Tail, clock: Clock) -> None:
        self.tail = tail
        self.distrusted: CounterflowError | None = None
        self._connection = connection
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        # Drafts are handed over from the event loop to the journal's thread.
        self._lock = threading.Lock()
        self._waiting: list[tuple[Draft, Waiter]] = []
        self._committing = False
        self._took_ms = QUICK_COMMIT_MS + 1  # the last commit; not known yet
        self._company = 0
        self._alone_in_a_row = 0

    async def append(self, draft: Draft) -> tuple[Accepted, bool]:
        """Make a document durable; returns the answer, and whether it is a repetition. Raises as `Journal.append`."""
        if self._is_alone() and (outcomes := self._connection.now(functools.partial(self._commit, [draft]))):
            if isinstance(outcomes[0], CounterflowError):
                raise outcomes[0]
            return outcomes[0]
        waiter: Waiter = self._loop.create_future()
        with self._lock:
            if len(self._waiting) >= WAITING_MAX_DOCUMENTS:
                what = f"{WAITING_MAX_DOCUMENTS} documents wait for the disk"
                raise Unavailable(what, hint="send it again", retry_after_s=1)
            self._waiting.append((draft, waiter))
            idle, self._committing = not self._committing, True
        if idle:
            self._connection.post(self._commit_group)
        return await waiter

    async def finish(self) -> None:
        """Return when everybody who waits has an answer."""
        while self._committing:
            await self._connection.run(_nothing)

    def distrusts(self, error: sqlite3.Error) -> bool:
        """Whether *error* leaves it unknown what is on the disk: then nothing more is built upon it."""
        name = getattr(error, "sqlite_errorname", "") or ""
        if name.startswith(("SQLITE_IOERR", "SQLITE_CORRUPT", "SQLITE_NOTADB")):
            self.distrusted = as_ours(error, self._connection.path)
        return self.distrusted is not None

    def _is_alone(self) -> bool:
        """Whether one till sells at a time, on a quick disk.

        Who commits here sees nobody come meanwhile, so now and then one goes through the thread to look.
        """
        if self._took_ms > QUICK_COMMIT_MS or self._company or self._committing:
            return False
        self._alone_in_a_row = (self._alone_in_a_row + 1) % LOOK_ROUND_EVERY
        return self._alone_in_a_row != 0

    def _commit_group(self, connection: sqlite3.Connection) -> None:
        """In the thread: commit what waits; what comes meanwhile is the next group, behind other work's turn."""
        with self._lock:
            taken = len(self._waiting) if self.distrusted else GROUP_MAX_DOCUMENTS
            group = self._waiting[:taken]
            del self._waiting[:taken]
        self._company = LONELY_COMMITS if len(group) > 1 else max(0, self._company - 1)
        outcomes = self._commit([draft for draft, _ in group], connection)
        self._loop.call_soon_threadsafe(_answer, group, outcomes)
        with self._lock:
            self._committing = again = bool(self._waiting)
        if again:
            self._connection.post(self._commit_group)

    def _commit(self, drafts: Sequence[Draft], connection: sqlite3.Connection) -> list[Outcome]:
        if self.distrusted is not None:
            return [self.distrusted for _ in drafts]
        since_ms = self._clock.tick_ms()
        try:
            self.tail, outcomes = commit(connection, self.tail, drafts)
        except sqlite3.Error as error:
            return [self._commit_alone(connection, draft, error) for draft in drafts]
        except Exception as error:
            return [CannotStore(f"the document was not stored: {error!r}") for _ in drafts]
        self._took_ms = self._clock.tick_ms() - since_ms
        return outcomes

    def _commit_alone(
        self, connection: sqlite3.Connection, draft: Draft, group_error: sqlite3.Error
    ) -> Outcome:
        """After a failed group: each document by itself, so that a small one may fit where the group did not."""
        if self.distrusts(group_error):
            return as_ours(group_error, self._connection.path)
        try:
            self.tail, outcomes = commit(connection, self.tail, [draft])
        except sqlite3.Error as error:
            self.distrusts(error)
            return as_ours(error, self._connection.path)
        return outcomes[0]


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
