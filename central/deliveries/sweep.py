"""Find applied documents that have no delivery, and make it ready: back-fill and races are one case.

The apply worker writes deliveries together with a document's rows, for the integrations that it knows of; its
knowledge may be a few seconds old, and an integration may ask for documents from before it was enabled. So all
documents are gone through in an integration's first minutes and once an hour, and the newest every minute.
"""

from __future__ import annotations

import logging
from collections import deque

from sqlalchemy.ext.asyncio import AsyncConnection

from central.db import attempts
from central.db import deliveries as rows
from central.db.database import Database
from central.integrations.integration import Integration
from central.integrations.registry import Integrations
from shared.clock import Clock

EVERY_S = 60.0
SOON_S = 5.0
"""After a sweep that an integration's change has caused: what was being applied meanwhile is there then."""
ALL_EVERY = 60
"""Every so many sweeps go through all documents."""
BACK = 10
"""The others begin where the newest document was so many minutes ago: longer than any transaction stays open."""
ROWS = 5_000
logger = logging.getLogger(__name__)


What = tuple[int, int, tuple[tuple[str, tuple[str, ...]], ...]]
"""An integration's number, its date, its effects and their kinds: with another of them it is gone through anew."""


class Sweep:
    """What was gone through already."""

    def __init__(self, database: Database, integrations: Integrations, clock: Clock) -> None:
        self._database = database
        self._integrations = integrations
        self._clock = clock
        self._marks: dict[What, deque[tuple[int, int]]] = {}  # (tick, newest document then)
        self._count = 0

    def is_behind(self) -> bool:
        """Whether there is an integration that was never swept as it is now."""
        return not self._enabled().keys() <= self._marks.keys()

    async def all(self) -> int:
        """Sweep every enabled integration; returns how many deliveries were missing."""
        everything = self._count % ALL_EVERY == 0
        self._count += 1
        enabled = self._enabled()
        # An integration that was away begins anew.
        self._marks = {what: marks for what, marks in self._marks.items() if what in enabled}
        added = 0
        for what, one in enabled.items():
            tick_ms = self._clock.tick_ms()
            marks = self._marks.setdefault(what, deque([(tick_ms, 0)] * BACK, maxlen=BACK))
            async with self._database.read() as connection:
                newest = await rows.newest_document(connection)
            added += await self._one(one, 0 if everything else marks[0][1])
            if tick_ms - marks[-1][0] >= EVERY_S * 1000:
                marks.append((tick_ms, newest))
                await self._forget_old(one)
        return added

    def _enabled(self) -> dict[What, Integration]:
        return {
            (
                one.integration_no,
                one.from_ms,
                tuple((name, tuple(kinds)) for name, kinds in one.effects().items()),
            ): one
            for one in self._integrations.enabled()
        }

    async def _one(self, one: Integration, after: int) -> int:
        added = 0
        for effect, kinds in one.effects().items():
            at = after
            while True:
                async with self._database.read() as connection:
                    missing = await rows.missing(
                        connection, one.integration_no, effect, kinds, one.since_ms(effect), at, ROWS
                    )
                if missing:
                    await self._add(one, effect, missing)
                    added += len(missing)
                    at = missing[-1]
                if len(missing) < ROWS:
                    break
        if added:
            logger.info("deliveries_filled_in", extra={"integration": one.name, "count": added})
        return added

    async def _forget_old(self, one: Integration) -> None:
        async def work(connection: AsyncConnection) -> int:
            return await attempts.forget_old(connection, one.integration_no)

        await self._database.run(work)

    async def _add(self, one: Integration, effect: str, doc_nos: list[int]) -> None:
        async def work(connection: AsyncConnection) -> None:
            await rows.add(
                connection, self._database, one.integration_no, effect, one.first_state(effect), doc_nos
            )

        await self._database.run(work)
