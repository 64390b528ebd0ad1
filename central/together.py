"""Many callers, one query: those that come while a batch is under way share the next one.

After a publication fifty stations ask within milliseconds; they cost a few transactions and not fifty. Nobody gets
an answer that was read before he asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
V = TypeVar("V")

BATCH_MAX = 500


class Together(Generic[K, T, V]):
    """Calls *work* with the items of all who ask, at most `BATCH_MAX` at once.

    *work* returns an answer per key. Of two items for one key in the same batch the later one counts, and both
    callers get its answer.
    """

    def __init__(self, work: Callable[[dict[K, T]], Awaitable[Mapping[K, V]]]) -> None:
        self._work = work
        self._items: dict[K, T] = {}
        self._answers: dict[K, asyncio.Future[V]] = {}
        self._running: asyncio.Task[None] | None = None

    async def ask(self, key: K, item: T) -> V:
        """The answer for *key*, from a batch that begins after this call."""
        self._items[key] = item
        answer = self._answers.get(key)
        if answer is None:
            answer = self._answers[key] = asyncio.get_running_loop().create_future()
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        # One caller who goes away must not take the answer from the others.
        return await asyncio.shield(answer)

    async def _run(self) -> None:
        try:
            while self._items:
                keys = list(self._items)[:BATCH_MAX]
                items = {key: self._items.pop(key) for key in keys}
                answers = {key: self._answers.pop(key) for key in keys}
                await self._batch(items, answers)
        finally:
            self._running = None

    async def _batch(self, items: dict[K, T], answers: dict[K, asyncio.Future[V]]) -> None:
        try:
            found = await self._work(items)
        except Exception as error:  # whatever it is, it is the callers' to handle
            for answer in answers.values():
                if not answer.cancelled():
                    answer.set_exception(error)
                    answer.exception()  # a caller who went away leaves nobody to ask for it
            return
        for key, answer in answers.items():
            if not answer.cancelled():
                answer.set_result(found[key])
