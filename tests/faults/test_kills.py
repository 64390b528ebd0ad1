"""Processes die at every durable step, each time with a request in flight: nothing accepted is lost or doubled.

The faultpoint is set in the environment, the process dies by SIGKILL when it reaches it, and is started again: twenty
times at each place. A kill counts only if it tore a request: a sale at the till, or a station's at the centre.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest

from tests.faults.prices import load_prices, price_file
from tests.faults.seller import Seller, reckon
from tests.support.chain import Chain, Station
from tests.support.processes import Process

pytestmark = pytest.mark.asyncio(loop_scope="module")

STATIONS = 4
LONG = os.environ.get("COUNTERFLOW_LONG") == "1"
KILLS = 200 if LONG else 20
ROWS = 5_200  # more than one page of changes, and enough for a snapshot
HURRY_S = 0.5

AGENT_POINTS = ("journal.before_commit", "journal.after_commit", "push.before_cursor", "catalog.stage")
CENTRE_POINTS = (
    "intake.before_commit",
    "intake.after_commit",
    "apply.before_commit",
    "delivery.before_rename",
)
MORE_POINTS = ("apply.after_commit", "delivery.after_rename", "publish.before_commit")


async def died(process: Process) -> None:
    """Wait until the faultpoint killed it."""
    code = await process.wait(deadline_s=60.0)
    assert code == -signal.SIGKILL, f"{process.name} ended with {code} instead\n{process.log_tail()}"


async def die_at(station: Station, point: str, before: Callable[[], None] = lambda: None) -> None:
    """Kill a station's agent at *point* until that tore a request so many times as the test wants kills."""
    torn = tries = 0
    while torn < KILLS:
        tries += 1
        assert tries < 2 * KILLS, f"{station.code}: {torn} of {tries} kills at {point} tore a request"
        station.process.kill()
        before()
        torn_before = station.cut_off + station.proxy.counters.hung_up
        nth = 1 + tries % 3 if point.startswith("journal") else 1
        station.process.env["COUNTERFLOW_FAULTPOINT"] = f"{point}:{nth}"
        station.process.start()
        await died(station.process)
        torn += station.cut_off + station.proxy.counters.hung_up > torn_before
    print(f"{station.code}: {tries} kills at {point}, {torn} tore a request")
    del station.process.env["COUNTERFLOW_FAULTPOINT"]
    await station.start()


async def test_agents_that_die_lose_nothing(chain: Chain) -> None:
    """Four agents, each killed at a place of its own again and again, while their tills sell and prices come down."""
    await load_prices(chain, 1, ROWS)
    async with AsyncExitStack() as selling:
        for station in chain.stations:
            for _ in range(2):
                await selling.enter_async_context(Seller(station))
        chain.drop_file("prices-2.csv", price_file(2, ROWS))
        async with asyncio.TaskGroup() as dying:
            for station, point in zip(chain.stations, AGENT_POINTS, strict=True):
                dying.create_task(die_at(station, point))
    await reckon(chain)


async def test_an_agent_that_dies_while_it_copies_a_snapshot_has_the_whole_catalog_in_the_end(
    chain: Chain,
) -> None:
    """catalog.db is gone, the snapshot is copied, the agent dies in the middle: old or new, never half of one."""

    async def offered() -> bool:
        return any(scope["snapshot_seq"] for scope in (await chain.scopes()).values())

    await load_prices(chain, 3, ROWS)
    await chain.until("a snapshot is offered", offered)
    station = chain.stations[0]

    def lose_catalog() -> None:
        for file in station.folder.glob("catalog.db*"):
            file.unlink()

    async with Seller(station), Seller(station):
        await die_at(station, "snapshot.copy", lose_catalog)
    await reckon(chain)


@pytest.mark.parametrize("point", [*CENTRE_POINTS, *(MORE_POINTS if LONG else ())])
async def test_a_centre_that_dies_loses_nothing(chain: Chain, point: str) -> None:
    """The centre is killed at this place again and again while its stations send and prices are published."""
    node = chain.nodes[0]
    torn = tries = 0
    async with AsyncExitStack() as selling:
        for station in chain.stations:
            await selling.enter_async_context(Seller(station, pause_s=0.1))
        while torn < KILLS:
            tries += 1
            assert tries < 2 * KILLS, f"{torn} of {tries} kills at {point} tore a request"
            node.kill()
            torn_before = sum(proxy.counters.died for proxy in chain.proxies)
            # What lies there from the last time is done at the start, before anybody can ask for anything.
            nth = 1 if point.startswith("intake") else 2
            node.env["COUNTERFLOW_FAULTPOINT"] = f"{point}:{nth}"
            node.start()
            chain.drop_file(f"prices-{point}-{tries}.csv", price_file(tries, 5))
            await hurry_until_dead(chain, node)
            torn += sum(proxy.counters.died for proxy in chain.proxies) > torn_before
        print(f"centre: {tries} kills at {point}, {torn} tore a request")
        del node.env["COUNTERFLOW_FAULTPOINT"]
        node.start()
        await node.wait_until_healthy(chain.url)
    await reckon(chain)


async def hurry_until_dead(chain: Chain, node: Process) -> None:
    """Wait for the kill; the stations are told to try at once, or their pauses would be most of the test."""
    dying = asyncio.ensure_future(died(node))
    while not dying.done():
        for station in chain.stations:
            await station.sync()
        await asyncio.wait([dying], timeout=HURRY_S)
    await dying


async def test_random_kills_of_both_sides(chain: Chain) -> None:
    """Whatever they are doing: agents and centre are killed in turn while the tills sell."""
    node = chain.nodes[0]
    async with AsyncExitStack() as selling:
        sellers = [
            await selling.enter_async_context(Seller(station, pause_s=0.0)) for station in chain.stations
        ]
        for kill in range(KILLS):
            seller = sellers[kill % STATIONS]
            await seller.sold(5 + kill % 7)
            if kill % 4 == 0:
                await chain.restart_centre()
            else:
                await seller.station.restart_after_kill()
        await node.wait_until_healthy(chain.url)
    await reckon(chain)
