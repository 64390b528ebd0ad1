"""A clock that stands until a test moves it."""

from __future__ import annotations

import asyncio


class ManualClock:
    """Wall time and tick under the test's hand; a sleeper wakes when the clock has been moved past its time."""

    def __init__(self, now_ms: int = 1_790_000_000_000) -> None:
        self._now_ms = now_ms
        self._tick_ms = 1_000
        self._sleepers: list[tuple[int, asyncio.Future[None]]] = []

    def now_ms(self) -> int:
        return self._now_ms

    def tick_ms(self) -> int:
        return self._tick_ms

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._tick_ms + round(seconds * 1000), future))
        await future

    def move(self, seconds: float) -> None:
        """Let *seconds* pass: wall time and tick go on together, sleepers whose time has come wake."""
        self._now_ms += round(seconds * 1000)
        self._tick_ms += round(seconds * 1000)
        due = [sleeper for sleeper in self._sleepers if sleeper[0] <= self._tick_ms]
        self._sleepers = [sleeper for sleeper in self._sleepers if sleeper[0] > self._tick_ms]
        for _, future in due:
            if not future.done():
                future.set_result(None)

    def set_wall(self, now_ms: int) -> None:
        """Somebody sets the device's clock: wall time jumps, the tick does not."""
        self._now_ms = now_ms
