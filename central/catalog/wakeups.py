"""Telling waiting stations that there is something new, at a cost that does not grow with their number.

Each node looks every half second with one query at the sum of all scopes' heads and of all pokes; only when it moved
it looks which. A publication of this process wakes at once. A wake-up is a hint: what counts is the manifest.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from dataclasses import dataclass

from central.catalog.scopes import StationScopes, wake_part
from central.db import station_scopes
from central.db.database import Database
from central.db.station_scopes import Stamp
from shared.clock import Clock

LOOK_EVERY_S = 0.5
logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Waiter:
    """One waiting machine. `names` and `poke` are None until they were read: until then anything wakes it."""

    station_no: int
    deadline_ms: int  # by the tick
    woken: asyncio.Future[bool]
    names: frozenset[str] | None = None
    poke: int | None = None


class Wakeups:
    """The waiting stations of this node."""

    def __init__(self, database: Database, clock: Clock, scopes: StationScopes) -> None:
        self._database = database
        self._clock = clock
        self._scopes = scopes
        self._waiters: dict[tuple[int, str], _Waiter] = {}
        self._stamp: Stamp | None = None
        self._heads: dict[str, int] = {}

    async def wait(self, station_no: int, session: str, seen: str, timeout_s: int) -> str | None:
        """The station's tag as soon as it differs from the one it has *seen*, or None after *timeout_s*.

        Args:
            session: two machines of one station (a replaced one, a copy) wait side by side, each in its own.
        """
        # Registered before the first look: a publication in between must not be missed.
        line = station_no, session
        waiter = self._register(line, timeout_s)
        try:
            while True:
                view = await self._scopes.view(station_no)
                if view.tag != wake_part(seen):
                    return view.tag
                waiter.names, waiter.poke = frozenset(view.names), view.member.poke
                if not await waiter.woken:
                    return None
                waiter.woken = asyncio.get_running_loop().create_future()
        finally:
            if self._waiters.get(line) is waiter:
                del self._waiters[line]

    def published(self, scopes: Collection[str]) -> None:
        """These scopes moved: wake whom it concerns."""
        moved = frozenset(scopes)
        for waiter in self._waiters.values():
            if waiter.names is None or not moved.isdisjoint(waiter.names):
                _wake(waiter, changed=True)

    async def run(self) -> None:
        """Look every half second, for as long as the node lives."""
        while True:
            try:
                await self.look()
            except Exception:
                # The database may be away; waiting stations are told nothing new meanwhile, and come again.
                logger.exception("wakeups_look_failed")
            self._end_waits()
            await self._clock.sleep(LOOK_EVERY_S)

    def end_all(self) -> None:
        """The node stops: every wait ends as after its time, and the station asks again whoever serves then."""
        for waiter in self._waiters.values():
            _wake(waiter, changed=False)

    async def look(self) -> None:
        """Compare with the last look, and wake whom a change concerns."""
        async with self._database.read() as connection:
            stamp = await station_scopes.stamp(connection)
            before, self._stamp = self._stamp, stamp
            if before is None or stamp.scopes != before.scopes:
                heads = await station_scopes.heads(connection)
                self.published([scope for scope, head in heads.items() if self._heads.get(scope) != head])
                self._heads = heads
            if before is not None and stamp.pokes != before.pokes:
                pokes = await station_scopes.pokes(connection)
                for waiter in self._waiters.values():
                    if waiter.poke is not None and pokes.get(waiter.station_no) != waiter.poke:
                        _wake(waiter, changed=True)

    @property
    def waiting(self) -> int:
        """How many machines wait on this node."""
        return len(self._waiters)

    def _register(self, line: tuple[int, str], timeout_s: int) -> _Waiter:
        earlier = self._waiters.get(line)
        if earlier is not None:
            # A machine has one line; the earlier request is one that it has given up.
            _wake(earlier, changed=False)
        deadline_ms = self._clock.tick_ms() + timeout_s * 1000
        waiter = _Waiter(line[0], deadline_ms, asyncio.get_running_loop().create_future())
        self._waiters[line] = waiter
        return waiter

    def _end_waits(self) -> None:
        # One timer for all: ten thousand waits would be as many timers.
        now_ms = self._clock.tick_ms()
        for waiter in self._waiters.values():
            if waiter.deadline_ms <= now_ms:
                _wake(waiter, changed=False)


def _wake(waiter: _Waiter, *, changed: bool) -> None:
    if not waiter.woken.done():
        waiter.woken.set_result(changed)
