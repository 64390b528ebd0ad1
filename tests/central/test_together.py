"""Many callers share one query, and nobody gets an answer that was read before he asked."""

from __future__ import annotations

import asyncio

import pytest

from central.together import Together


class Counting:
    """Work that counts its batches and waits for a sign."""

    def __init__(self) -> None:
        self.batches: list[dict[str, int]] = []
        self.go = asyncio.Event()

    async def __call__(self, items: dict[str, int]) -> dict[str, int]:
        self.batches.append(dict(items))
        await self.go.wait()
        if "bad" in items:
            raise ValueError("bad")
        return {key: item * 10 for key, item in items.items()}


async def test_callers_during_a_batch_share_the_next() -> None:
    """The first caller goes alone, the hundred that come meanwhile go together."""
    work = Counting()
    together: Together[str, int, int] = Together(work)
    first = asyncio.create_task(together.ask("a", 1))
    while not work.batches:  # noqa: ASYNC110 - until the first batch is under way
        await asyncio.sleep(0)
    others = [asyncio.create_task(together.ask(f"k{n}", n)) for n in range(100)]
    again = asyncio.create_task(together.ask("a", 2))
    await asyncio.sleep(0)
    work.go.set()
    assert await first == 10
    assert await again == 20
    assert await asyncio.gather(*others) == [n * 10 for n in range(100)]
    assert len(work.batches) == 2


async def test_a_failure_reaches_all_of_its_batch_and_none_of_the_next() -> None:
    """An error belongs to those whose batch it was."""
    work = Counting()
    work.go.set()
    together: Together[str, int, int] = Together(work)
    results = await asyncio.gather(together.ask("bad", 1), together.ask("good", 1), return_exceptions=True)
    assert all(isinstance(result, ValueError) for result in results)
    assert await together.ask("good", 1) == 10


async def test_a_caller_who_goes_away_takes_nobody_with_him() -> None:
    """Two callers wait for one key; one of them is cancelled, the other gets the answer."""
    work = Counting()
    together: Together[str, int, int] = Together(work)
    leaver = asyncio.create_task(together.ask("a", 1))
    stayer = asyncio.create_task(together.ask("a", 1))
    await asyncio.sleep(0)
    leaver.cancel()
    work.go.set()
    with pytest.raises(asyncio.CancelledError):
        await leaver
    assert await stayer == 10
