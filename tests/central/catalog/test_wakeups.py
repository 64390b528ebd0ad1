"""Waiting stations: woken by what concerns them, on any node, and by nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from central.catalog.publish import Publisher
from central.catalog.scopes import StationScopes
from central.catalog.wakeups import LOOK_EVERY_S, Wakeups
from central.db.database import Database
from tests.support.catalog import Chain, open_database, product
from tests.support.clock import ManualClock


class Node:
    """A node that looks when it is told to."""

    def __init__(self, database: Database, clock: ManualClock) -> None:
        self.scopes = StationScopes(database, clock)
        self.wakeups = Wakeups(database, clock, self.scopes)
        self.publisher = Publisher(database)

    async def waiting(
        self, station: int, timeout_s: int = 55, session: str = "one"
    ) -> asyncio.Task[str | None]:
        """A station that waits, registered and with its scopes read."""
        seen = (await self.scopes.manifest(station)).tag
        task = asyncio.create_task(self.wakeups.wait(station, session, f'"{seen}"', timeout_s))
        waiters = self.wakeups._waiters
        while waiters.get((station, session)) is None or waiters[station, session].names is None:  # noqa: ASYNC110 - a read is under way
            await asyncio.sleep(0)
        return task


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def chain(database_url: str) -> AsyncIterator[Chain]:
    async with open_database(database_url) as database:
        yield Chain(database)


async def settle(task: asyncio.Task[str | None]) -> bool:
    """Whether the wait has ended once everything that could end it has run."""
    for _ in range(200):
        await asyncio.sleep(0.001)
        if task.done():
            return True
    return False


async def test_a_publication_on_another_node_wakes_at_the_next_look(chain: Chain, clock: ManualClock) -> None:
    """The node that serves the station learns from the database that a scope moved."""
    station = await chain.station("T-1", await chain.store("S1"))
    here, there = Node(chain.database, clock), Node(chain.database, clock)
    await here.wakeups.look()
    task = await here.waiting(station)
    await there.publisher.publish({"base": [product("A")]})
    await here.wakeups.look()
    assert await task == (await here.scopes.view(station)).tag


async def test_a_publication_elsewhere_wakes_nobody(chain: Chain, clock: ManualClock) -> None:
    """Another store's scope is none of this station's business."""
    station = await chain.station("T-1", await chain.store("S1"))
    node = Node(chain.database, clock)
    await node.wakeups.look()
    task = await node.waiting(station)
    await node.publisher.publish({"store/S2": [product("A")]})
    await node.wakeups.look()
    assert not await settle(task)
    task.cancel()


async def test_sync_now_wakes_the_station(chain: Chain, clock: ManualClock) -> None:
    """HQ counts up the station's poke: the station wakes, its neighbour does not."""
    store = await chain.store("S1")
    first, second = await chain.station("T-1", store), await chain.station("T-2", store)
    node = Node(chain.database, clock)
    await node.wakeups.look()
    woken, sleeping = await node.waiting(first), await node.waiting(second)
    await chain.poke(first)
    await node.wakeups.look()
    assert await woken is not None
    assert not await settle(sleeping)
    sleeping.cancel()


async def test_a_wait_ends_after_its_timeout(chain: Chain, clock: ManualClock) -> None:
    """Nothing new: after the time that it asked for the station gets an empty answer."""
    station = await chain.station("T-1", await chain.store("S1"))
    node = Node(chain.database, clock)
    running = asyncio.create_task(node.wakeups.run())
    task = await node.waiting(station, timeout_s=20)
    for _ in range(100):
        if task.done():
            break
        clock.move(LOOK_EVERY_S)
        await settle_once()
    assert await task is None
    assert clock.tick_ms() >= 20_000
    running.cancel()


async def settle_once() -> None:
    for _ in range(20):
        await asyncio.sleep(0.001)


async def test_a_node_that_stops_ends_all_waits(chain: Chain, clock: ManualClock) -> None:
    """Stations hang on a line for a minute: that is no reason for a node to take any time to stop."""
    store = await chain.store("S1")
    node = Node(chain.database, clock)
    waits = [await node.waiting(await chain.station(code, store)) for code in ("T-1", "T-2")]
    node.wakeups.end_all()
    assert [await wait for wait in waits] == [None, None]


async def test_a_second_wait_replaces_the_first(chain: Chain, clock: ManualClock) -> None:
    """A station has one line: the request that it gave up does not wait on."""
    station = await chain.station("T-1", await chain.store("S1"))
    node = Node(chain.database, clock)
    first = await node.waiting(station)
    second = await node.waiting(station)
    assert await first is None
    assert node.wakeups.waiting == 1
    second.cancel()


async def test_two_machines_of_a_station_wait_side_by_side(chain: Chain, clock: ManualClock) -> None:
    """A replaced machine that empties its journal, or a copy, does not end the other one's wait; both are woken."""
    station = await chain.station("T-1", await chain.store("S1"))
    node = Node(chain.database, clock)
    await node.wakeups.look()
    one, two = await node.waiting(station), await node.waiting(station, session="two")
    assert not await settle(one)
    assert node.wakeups.waiting == 2
    await chain.poke(station)
    await node.wakeups.look()
    assert await one == await two is not None


async def test_a_failing_look_does_not_end_the_looking(
    chain: Chain, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the database is away nothing is told; the next look after it is back tells it."""
    station = await chain.station("T-1", await chain.store("S1"))
    node = Node(chain.database, clock)
    await node.wakeups.look()
    task = await node.waiting(station)
    other = Node(chain.database, clock)
    await other.publisher.publish({"base": [product("A")]})
    look, failed = node.wakeups.look, asyncio.Event()

    async def away() -> None:
        failed.set()
        raise ConnectionRefusedError

    monkeypatch.setattr(node.wakeups, "look", away)
    running = asyncio.create_task(node.wakeups.run())
    await failed.wait()
    monkeypatch.setattr(node.wakeups, "look", look)
    while not task.done():
        clock.move(LOOK_EVERY_S)
        await settle_once()
    assert await task is not None
    running.cancel()


async def test_settled_is_below_the_first_document_that_is_still_new(
    chain: Chain, clock: ManualClock
) -> None:
    """Per epoch the manifest tells up to where nothing is pending; a publication's tag does not depend on it."""
    station = await chain.station("T-1", await chain.store("S1"))
    node = Node(chain.database, clock)
    await chain.journal(station, b"\x01" * 16, documents=5, pending=[], updated_ms=clock.now_ms())
    await chain.journal(station, b"\x02" * 16, documents=5, pending=[3, 5], updated_ms=clock.now_ms())
    await chain.journal(station, b"\x03" * 16, documents=5, pending=[1], updated_ms=0)
    tagged = await node.scopes.manifest(station)
    assert b'"settled":{"' + b"01" * 16 + b'":5,"' + b"02" * 16 + b'":2}' in tagged.body
    assert tagged.tag.partition(".")[0] == (await node.scopes.view(station)).tag
