"""The Clock port: the only way the product learns the time or waits, so that a test can move it."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time, a tick that never goes back, and waiting."""

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC, as the device believes."""
        ...

    def tick_ms(self) -> int:
        """Milliseconds of a monotonic counter; only differences within one boot mean anything."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The clock of the machine."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def tick_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def rfc3339(ms: int) -> str:
    """`2026-11-21T10:00:00.123Z` for milliseconds since 1970 UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03d}Z"


def from_rfc3339(text: str) -> int:
    """Milliseconds since 1970 UTC of an RFC 3339 time.

    Raises:
        ValueError: not a time, or one without an offset.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no offset; write it with Z or +hh:mm")
    return round(moment.timestamp() * 1000)
