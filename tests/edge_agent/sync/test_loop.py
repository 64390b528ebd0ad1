"""The endless loop: it survives whatever a step raises, and pauses as long as it should."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from edge_agent.sync.client import Refused
from edge_agent.sync.loop import BACKOFF_CAP_S, RETRY_AFTER_MAX_S, keep_going
from shared.errors import ConnectionFailed
from tests.support.clock import ManualClock


class Recorder(ManualClock):
    """A clock that also remembers how long it was asked to sleep."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await super().sleep(seconds)


class Script:
    """A line whose steps are written down: a number rests, an error is raised."""

    name = "script"

    def __init__(self, *steps: float | Exception) -> None:
        self._steps: Iterator[float | Exception] = iter(steps)
        self.done = 0

    async def step(self) -> float:
        self.done += 1
        outcome = next(self._steps, 1e9)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@asynccontextmanager
async def going(line: Script, clock: Recorder) -> AsyncIterator[tuple[asyncio.Event, asyncio.Event]]:
    wake, hurry = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(keep_going(line, clock, wake, random.Random(7), hurry))
    await settle()
    yield wake, hurry
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_zero_means_at_once() -> None:
    """Steps that return 0 follow each other without a pause."""
    line, clock = Script(0, 0, 0, 30), Recorder()
    async with going(line, clock):
        assert line.done == 4
        assert clock.slept == [30]


async def test_news_ends_a_rest() -> None:
    """A sale that was written while the line rested is sent at once."""
    line, clock = Script(30), Recorder()
    async with going(line, clock) as (wake, _):
        wake.set()
        await settle()
        assert line.done == 2


async def test_news_does_not_end_the_pause_after_a_failure() -> None:
    """A busy till does not knock at a dead line with every sale; a person's "sync now" does."""
    line, clock = Script(ConnectionFailed("cut"), ConnectionFailed("cut")), Recorder()
    async with going(line, clock) as (wake, hurry):
        wake.set()
        await settle()
        assert line.done == 1
        hurry.set()
        await settle()
        assert line.done == 2


@pytest.mark.parametrize(
    "error", [ConnectionFailed("cut"), OSError("disk"), ValueError("a bug"), KeyError("x")]
)
async def test_a_line_never_dies(error: Exception) -> None:
    """Whatever a step raises, the line tries again after a bounded pause."""
    line, clock = Script(*[error] * 50), Recorder()
    async with going(line, clock):
        for _ in range(50):
            clock.move(BACKOFF_CAP_S)
            await settle()
        assert line.done == 51
        assert max(clock.slept[:-1]) <= BACKOFF_CAP_S


async def test_retry_after_is_obeyed_within_a_bound() -> None:
    """The centre's Retry-After lengthens the pause, but nobody silences a station for a day."""
    line, clock = Script(Refused({}, 503, 90.0), Refused({}, 503, 86_400.0)), Recorder()
    async with going(line, clock):
        clock.move(90)
        await settle()
        assert clock.slept[0] >= 90
        assert clock.slept[1] == RETRY_AFTER_MAX_S


@pytest.mark.parametrize("asked_s", [15.0, 60.0])
async def test_a_station_that_waits_for_approval_asks_as_often_as_the_centre_wants(asked_s: float) -> None:
    """However long HQ takes, the pauses do not grow: people stand before the till and wait for it."""
    waiting = Refused({"type": "urn:counterflow:problem:not-approved"}, 403, asked_s)
    line, clock = Script(*[waiting] * 12), Recorder()
    async with going(line, clock):
        for _ in range(12):
            clock.move(asked_s)
            await settle()
        assert line.done == 13
        assert set(clock.slept[:12]) == {asked_s}


async def test_success_forgets_failures() -> None:
    """After one good step the next failure begins with a short pause again."""
    failures: list[float | Exception] = [ConnectionFailed("cut")] * 12
    line, clock = Script(*failures, 5, ConnectionFailed("cut")), Recorder()
    async with going(line, clock):
        for _ in range(14):
            clock.move(BACKOFF_CAP_S)
            await settle()
        assert clock.slept[-2] <= 1.0
