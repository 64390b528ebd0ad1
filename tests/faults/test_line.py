"""The line misbehaves in every way it can: answers are lost, doubled, cut, or come from somebody else."""

from __future__ import annotations

import pytest

from tests.faults.seller import Seller, reckon
from tests.support.chain import Chain

pytestmark = pytest.mark.asyncio(loop_scope="module")

SALES = 40


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("drop_answer", {"times": 3}),
        ("double", {"times": 20}),
        ("html200", {"times": 5}),
        ("login302", {"times": 5}),
        ("status", {"times": 5}),
        ("swap", {"times": 5}),
        ("stale", {"times": 5}),
        ("cut_request", {"times": 4, "keep_bytes": 300}),
        ("slow", {"times": 5, "bytes_per_s": 2_000}),
        ("cut", {"times": 5}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_bad_line_loses_and_doubles_nothing(chain: Chain, mode: str, options: dict[str, int]) -> None:
    """Each fault is really met, selling goes on, and in the end everything is there once."""
    station = chain.stations[0]
    async with Seller(station) as seller:
        before = station.proxy.counters.reached.get(mode, 0)
        station.proxy.mode(mode, path="/v1/", **options)
        await seller.sold(SALES)

        async def met() -> bool:
            await station.sync()
            return station.proxy.counters.reached.get(mode, 0) - before >= options["times"]

        await chain.until(f"the line did {mode}", met)
        station.proxy.mode("pass")
    await reckon(chain)


async def test_answers_cut_at_many_bytes_move_nothing(chain: Chain) -> None:
    """The answer to a push is cut after 0, 40, 80 … bytes: it is a failed connection each time."""
    station = chain.stations[0]
    async with Seller(station):
        for keep_bytes in range(0, 640, 40):
            before = station.proxy.counters.reached.get("cut_after", 0)
            station.proxy.mode("cut_after", keep_bytes=keep_bytes, times=1, path="/v1/journal")

            async def met(before: int = before) -> bool:
                await station.sync()
                return station.proxy.counters.reached.get("cut_after", 0) > before

            await chain.until("an answer is cut", met)
        station.proxy.mode("pass")
    await reckon(chain)


async def test_a_push_that_comes_twice_writes_once(chain: Chain) -> None:
    """Every push reaches the centre two times, the second after the first was answered."""
    station = chain.stations[0]
    before = station.proxy.counters.reached.get("double", 0)
    station.proxy.mode("double", path="/v1/journal")
    async with Seller(station) as seller:

        async def met() -> bool:
            return station.proxy.counters.reached.get("double", 0) - before >= 10

        await seller.sold(SALES)
        await chain.until("ten pushes came twice", met)
    await reckon(chain)


async def test_selling_never_waits_for_the_line(chain: Chain) -> None:
    """The centre is away, or swallows everything, or is slow: a sale is accepted at once."""
    station = chain.stations[0]
    async with Seller(station, pause_s=0.0) as seller:
        for mode in ("cut", "hang", "delay"):
            station.proxy.mode(mode)
            await seller.sold(50)
        assert (await station.get("/v1/station"))["backlog"] >= 100
        station.proxy.mode("pass")
    assert not seller.refused
    await reckon(chain)
