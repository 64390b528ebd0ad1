"""Keep a line going: the only endless loop of the station's sync, around steps that others decide and perform.

Rule 1: a line never dies; whatever a step raises is logged once per cause and tried again after a pause.
Rule 2: pauses after a failure are drawn with full jitter and bounded, so that a chain does not come back all at once.
Rule 3: news (`wake`) ends a rest, but not the pause after a failure: a busy till must not knock at a dead line with
every sale. A person's "sync now" (`hurry`) ends both.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any, Protocol

from shared import backoff
from shared.clock import Clock
from shared.errors import ConnectionFailed, CounterflowError, DamagedData

log = logging.getLogger(__name__)

BACKOFF_BASE_S = 1.0
BACKOFF_CAP_S = 60.0
RETRY_AFTER_MAX_S = 600.0
"""No server, however wrong, silences a station for longer."""
WHY_MAX_CHARS = 200


class Line(Protocol):
    """One direction of the sync."""

    name: str

    async def step(self) -> float:
        """Do one thing; return the seconds until the next step is due, 0 for at once."""
        ...


async def keep_going(
    line: Line,
    clock: Clock,
    wake: asyncio.Event,
    rng: random.Random,
    hurry: asyncio.Event | None = None,
    lost: Callable[[str], None] = lambda why: None,
    broke: Callable[[str, str], None] = lambda line, why: None,
) -> None:
    """Step *line* for ever; cancel the task to end it.

    Args:
        lost: hears why the line is down.
        broke: hears the line's name and an error that no better line cures: a bug, damaged files; "" after its end.
    """
    failures = 0
    told = ""
    while True:
        try:
            wake.clear()
            rest_s = await line.step()
        except (CounterflowError, OSError) as error:
            failures += 1
            told = _tell(line.name, error, told)
            lost(told)
            if isinstance(error, DamagedData):
                broke(line.name, told)
            # Waiting for approval is no failure that grows: the centre says how often it wants to be asked.
            attempt = 1 if getattr(error, "name", "") == "not-approved" else failures
            rest_s = backoff.next_delay(attempt, rng, _asked_pause_s(error), BACKOFF_BASE_S, BACKOFF_CAP_S)
        except Exception as error:
            failures += 1
            what = f"{type(error).__name__}: {error}"[:WHY_MAX_CHARS]
            broke(line.name, f"the agent met an error of its own, its log has the trace ({what})")
            log.exception("line_step_failed", extra={"line": line.name, "failures": failures})
            rest_s = backoff.full_jitter(failures, rng, BACKOFF_BASE_S, BACKOFF_CAP_S)
        else:
            if failures:
                log.info("line_up", extra={"line": line.name, "failures": failures})
                broke(line.name, "")
            failures, told = 0, ""
        if rest_s <= 0:
            # Others (a sale above all) get their turn between two steps of a long catch-up.
            await asyncio.sleep(0)
        else:
            await _rest(clock, rest_s, [hurry] if failures else [wake, hurry])
        if hurry is not None:
            hurry.clear()


async def _rest(clock: Clock, seconds: float, events: list[asyncio.Event | None]) -> None:
    """Wait for the time to pass or for one of the events, whichever is first."""
    waiters: list[asyncio.Future[Any]] = [asyncio.ensure_future(clock.sleep(seconds))]
    waiters += [asyncio.ensure_future(event.wait()) for event in events if event is not None]
    try:
        await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for waiter in waiters:
            waiter.cancel()


def _asked_pause_s(error: BaseException) -> float | None:
    """The server's Retry-After, within our bound."""
    asked = getattr(error, "retry_after_s", None)
    return min(float(asked), RETRY_AFTER_MAX_S) if asked is not None else None


def _tell(line: str, error: BaseException, told: str) -> str:
    """Log an error when it is another than the last one: a night without a line is one entry, not thousands."""
    text = str(error)
    if text != told:
        level = logging.WARNING if isinstance(error, ConnectionFailed) else logging.ERROR
        log.log(level, "line_down", extra={"line": line, "why": text})
    return text
