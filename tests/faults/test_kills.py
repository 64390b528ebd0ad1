"""Processes die at every durable step, each time with a request in flight: nothing accepted is lost or doubled.

The faultpoint is set in the environment, the process dies by SIGKILL when it reaches it, and is started again with the
next one set: twenty times at each place.
"""

from __future__ import annotations

import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.faults.seller import Seller, reckon
from tests.support.chain import PRICE_LIST, Chain
from tests.support.processes import Process

LONG = bool(os.environ.get("COUNTERFLOW_LONG"))
KILLS = 200 if LONG else 20
ROWS = 1_500  # enough for the centre to offer a snapshot
WAIT_S = 30.0


async def died(process: Process) -> None:
    """Wait until the faultpoint killed it."""
    code = await process.wait(deadline_s=WAIT_S)
    assert code == -signal.SIGKILL, f"{process.name} ended with {code} instead\n{process.log_tail()}"


def price_file(version: int, rows: int = 5) -> str:
    lines = [f"{PRICE_LIST},A{number},{version * 10 + 1},EUR" for number in range(rows)]
    head = [
        f"#counterflow entity=price mode=changes scope=pricelist/{PRICE_LIST}",
        "price_list,product,amount_minor,currency",
    ]
    return "\n".join([*head, *lines, ""])


AGENT_POINTS = ("journal.before_commit", "journal.after_commit", "push.before_cursor", "catalog.stage")


async def test_agents_that_die_lose_nothing(tmp_path: Path) -> None:
    """Four agents, each killed at a place of its own again and again, while their tills sell and prices come down."""
    async with Chain(tmp_path, stations=len(AGENT_POINTS)) as chain, AsyncExitStack() as selling:
        sellers = [await selling.enter_async_context(Seller(station)) for station in chain.stations]
        for kill in range(KILLS):
            for station, point in zip(chain.stations, AGENT_POINTS, strict=True):
                nth = 1 + kill % 3 if point.startswith("journal") else 1
                station.process.env["COUNTERFLOW_FAULTPOINT"] = f"{point}:{nth}"
                station.process.kill()
                station.process.start()
            chain.drop_file(f"prices-{kill}.csv", price_file(kill))
            for station in chain.stations:
                await died(station.process)
        for station in chain.stations:
            del station.process.env["COUNTERFLOW_FAULTPOINT"]
            await station.start()
        await selling.aclose()
        await reckon(chain, *sellers)


async def test_an_agent_that_dies_while_it_copies_a_snapshot_has_the_whole_catalog_in_the_end(
    chain: Chain,
) -> None:
    """catalog.db is deleted, the snapshot is copied, the agent dies in the middle: old or new, never half of one."""
    station = chain.stations[0]
    chain.drop_file("prices.csv", price_file(1, ROWS))

    async def loaded() -> bool:
        return sum(scope["count"] for scope in (await station.get("/v1/station"))["scopes"]) >= ROWS

    await chain.until("the prices are on the station", loaded)

    async def offered() -> bool:
        return any(scope["snapshot_seq"] for scope in (await chain.scopes()).values())

    await chain.until("a snapshot is offered", offered)
    async with Seller(station) as seller:
        for _ in range(KILLS):
            station.process.kill()
            for file in station.folder.glob("catalog.db*"):
                file.unlink()
            station.process.env["COUNTERFLOW_FAULTPOINT"] = "snapshot.copy"
            station.process.start()
            await died(station.process)
        del station.process.env["COUNTERFLOW_FAULTPOINT"]
        await station.start()
        await chain.until("the prices are on the station again", loaded)
    await reckon(chain, seller)


@pytest.mark.parametrize(
    "point",
    ["intake.before_commit", "intake.after_commit", "apply.before_commit", "delivery.before_rename"]
    + (["apply.after_commit", "delivery.after_rename", "publish.before_commit"] if LONG else []),
)
async def test_a_centre_that_dies_loses_nothing(chain: Chain, point: str) -> None:
    """The centre is killed at this place again and again while its station sends and prices are published."""
    node = chain.nodes[0]
    async with Seller(chain.stations[0]) as seller:
        for kill in range(KILLS):
            node.kill()
            node.env["COUNTERFLOW_FAULTPOINT"] = point
            node.start()
            chain.drop_file(f"prices-{kill}.csv", price_file(kill))
            await died(node)
        del node.env["COUNTERFLOW_FAULTPOINT"]
        node.start()
        await node.wait_until_healthy(chain.url)
    await reckon(chain, seller)


async def test_random_kills_of_both_sides(chain: Chain) -> None:
    """Whatever they are doing: agent and centre are killed in turn while the till sells."""
    station, node = chain.stations[0], chain.nodes[0]
    async with Seller(station, pause_s=0.0) as seller:
        for kill in range(KILLS):
            enough = len(seller.accepted) + 5 + kill % 7
            await seller.reached(enough)
            if kill % 2:
                await station.restart_after_kill()
            else:
                node.kill()
                node.start()
        await node.wait_until_healthy(chain.url)
    await reckon(chain, seller)
