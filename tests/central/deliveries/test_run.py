"""Deliveries on a real database: each effect once, in order, whatever the other system answers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from sqlalchemy import select, update

from central.connectors.base import Answer, Batch, Exchange
from central.db import attempts, integrations
from central.db.database import Database
from central.db.tables import deliveries as deliveries_tables
from central.db.tables.journal import repairs
from central.deliveries.desk import Desk
from central.deliveries.run import DeliveryRunner
from central.integrations.definition import Budget
from central.integrations.integration import Integration
from central.integrations.registry import Integrations
from shared.canonical import canonical
from tests.support.clock import ManualClock
from tests.support.outgoing import (
    RECEIVED_MS,
    Document,
    add_documents,
    delivery_states,
    doc_id_of,
    open_database,
)
from tests.support.scripted_connector import SCRIPTED, SYSTEMS, System


class World:
    """One centre, one other system."""

    def __init__(self, database: Database, clock: ManualClock) -> None:
        self.database = database
        self.clock = clock
        self.integrations = Integrations(database, clock, SCRIPTED)
        self.system = SYSTEMS["erp"] = System()
        self.one: Integration

    def node(self, name: str = "a") -> DeliveryRunner:
        return DeliveryRunner(self.database, self.integrations, self.clock, node=name, rng=random.Random(1))

    async def connect(self, connector: str = "scripted", **options: Any) -> None:
        settings = {"account": "erp", **options}
        self.one = await self.integrations.create("erp", connector, settings, ["sale"], from_ms=0)

    async def sell(self, *documents: Document) -> None:
        await add_documents(self.database, documents, integrations=[self.one.integration_no])

    async def until_idle(self, runner: DeliveryRunner | None = None) -> None:
        runner = runner or self.node()
        while await runner.step(self.one.integration_no):
            pass

    async def until(self, states: dict[str, int]) -> None:
        """Let what runs in the background get that far; the clock crawls, because leases are timed by it too."""
        for _ in range(20_000):
            if await delivery_states(self.database) == states:
                return
            self.clock.move(0.01)
            await asyncio.sleep(0)
        raise AssertionError(f"never {states}, but {await delivery_states(self.database)}")

    def delivered(self) -> list[int]:
        """Numbers of the documents that took effect over there, in order."""
        numbers = {f"erp:{doc_id_of(n)}:document": n for n in range(1, 2_000)}
        return [numbers[key] for key in self.system.effects]


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    clock = ManualClock()
    database = await open_database(database_url, clock)
    yield World(database, clock)
    await database.close()


async def test_what_is_ready_is_delivered_once_in_order(world: World):
    """Ready deliveries leave in batches, in the order of their arrival, and are done afterwards."""
    await world.connect(batch_documents=10)
    await world.sell(*(Document(n) for n in range(1, 26)))
    await world.until_idle()
    assert world.delivered() == list(range(1, 26))
    assert await delivery_states(world.database) == {"done": 25}
    assert world.system.sends == 3


async def test_a_cancellation_follows_its_sale_across_batches(world: World):
    """A document leaves after those that it refers to, though it came first and the batch has no room for them."""
    await world.connect(batch_documents=2)
    await world.sell(Document(1, refs=[5]), Document(2), Document(3), Document(4), Document(5), Document(6))
    await world.until_idle()
    order = world.delivered()
    assert sorted(order) == [1, 2, 3, 4, 5, 6]
    assert order.index(1) > order.index(5)


async def test_many_that_wait_do_not_block_the_rest(world: World):
    """More waiting dependants than a batch holds delay no document behind them (I10)."""
    await world.connect(batch_documents=5)
    world.system.script.extend([{1}] * 10)
    await world.sell(Document(1), *(Document(n, refs=[1]) for n in range(2, 30)), Document(30))
    await world.until_idle()
    assert world.delivered() == [30]


async def test_a_lost_answer_is_asked_for_and_not_sent_again(world: World):
    """A batch that took effect without an answer is found by the probe: one effect, one send."""
    await world.connect()
    world.system.script.append("lost")
    await world.sell(Document(1), Document(2))
    await world.until_idle()
    assert await delivery_states(world.database) == {"leased": 2}
    world.clock.move(60)
    await world.until_idle()
    assert world.delivered() == [1, 2]
    assert world.system.sends == 1
    assert await delivery_states(world.database) == {"done": 2}


@pytest.mark.parametrize("failure", ["cut", "crash"])
async def test_a_request_that_never_arrived_is_sent_again(world: World, failure: str):
    """No answer and no effect: after the probe says so, the batch is sent again."""
    await world.connect()
    world.system.script.append(failure)
    await world.sell(Document(1))
    await world.until_idle()
    assert world.system.sends == 1
    world.clock.move(60)
    await world.until_idle()
    assert world.delivered() == [1]


async def test_a_repaired_document_is_delivered_as_repaired(world: World):
    """What HQ corrected goes out in place of what the till sealed; the header stays the till's."""
    await world.connect()
    await world.sell(Document(1), Document(2))
    async with world.database.write() as connection:
        await connection.execute(repairs.insert().values(doc_no=2, payload=b"{}", by="hq", at_ms=0))
    connector: Any = world.integrations.connector(world.one)
    sent: list[Batch] = []
    deliver = connector.deliver

    async def watched(batch: Batch) -> Answer:
        sent.append(batch)
        answer: Answer = await deliver(batch)
        return answer

    connector.deliver = watched
    await world.until_idle()
    assert [(one.header, one.payload) for one in sent[0].deliveries] == [
        (Document(1).header(), canonical(Document(1).payload)),
        (Document(2).header(), b"{}"),
    ]


async def test_a_busy_system_rests_and_no_attempt_is_used(world: World):
    """Away: the whole integration pauses as long as the system wishes; twenty times of it park nothing (I20)."""
    await world.connect()
    world.system.script.extend(["away"] * 20)
    await world.sell(Document(1))
    for sends in range(1, 21):
        await world.until_idle()
        assert world.system.sends == sends
        world.clock.move(19)
        await world.until_idle()
        assert world.system.sends == sends
        world.clock.move(60)
    assert (await world.integrations.get("erp")).problem is not None
    await world.until_idle()
    assert world.delivered() == [1]
    assert (await world.integrations.get("erp")).problem is None


async def test_a_system_that_lets_us_not_in_gets_nothing_parked(world: World):
    """Denied: the integration pauses and says why; after `resume` it goes on at once."""
    await world.connect()
    world.system.script.append("denied")
    await world.sell(Document(1))
    await world.until_idle()
    assert "the password has changed" in ((await world.integrations.get("erp")).problem or "")
    await world.until_idle()
    assert world.system.sends == 1
    await world.integrations.resume("erp")
    await world.until_idle()
    assert world.delivered() == [1]


async def test_a_system_that_does_not_answer_the_probe_is_sent_nothing(world: World):
    """A probe that fails is no permission to send."""
    await world.connect()
    world.system.script.append("deaf")
    await world.sell(Document(1))
    await world.until_idle()
    assert world.system.sends == 0
    world.clock.move(120)
    await world.until_idle()
    assert world.delivered() == [1]


async def test_what_is_refused_is_parked_by_reason_and_sent_again_when_repaired(world: World):
    """One refused document of three: two are done, it is parked after five tries, and a person sends it again."""
    await world.connect()
    world.system.script.extend([{2}] * 5)
    await world.sell(Document(1), Document(2), Document(3))
    for _ in range(8):
        await world.until_idle()
        world.clock.move(700)
    assert world.delivered() == [1, 3]
    assert await delivery_states(world.database) == {"done": 2, "parked": 1}
    parked = [batch for batch in await world.integrations.batches("erp") if batch["state"] == "parked"]
    assert [batch["error"] for batch in parked] == ["unknown item 7"]
    desk = Desk(world.database, world.integrations)
    assert await desk.send_again("erp", reason="another reason", who="hq") == 0
    assert await desk.send_again("erp", reason="unknown item 7", who="hq") == 1
    await world.until_idle()
    assert world.delivered() == [1, 3, 2]
    assert await world.integrations.batches("erp", open_only=True) == []


async def test_a_batch_whose_holder_died_is_taken_over_when_its_lease_ends(world: World):
    """Until then no other node touches it; then it is probed first, and nothing is doubled."""
    await world.connect()
    await world.sell(Document(1))
    async with world.database.write() as connection:
        await connection.execute(
            deliveries_tables.batches.insert().values(
                integration_no=1,
                batch_id="erp-x",
                state="sent",
                count=1,
                attempts=0,
                lease="dead/1",
                leased_until_ms=world.clock.now_ms() + 10_000,
                not_before_ms=0,
                created_ms=0,
            )
        )
        await connection.execute(update(deliveries_tables.deliveries).values(state="leased", batch_no=1))
    world.system.effects.append(f"erp:{doc_id_of(1)}:document")
    await world.until_idle()
    assert world.system.probes == 0
    world.clock.move(11)
    await world.until_idle()
    assert (world.system.probes, world.system.sends) == (1, 0)
    assert await delivery_states(world.database) == {"done": 1}


async def test_a_node_that_lost_its_lease_sends_nothing(world: World):
    """Another node took the batch between lease and send: the commit before the first byte fails, nothing leaves."""
    await world.connect()
    await world.sell(Document(1))
    connector: Any = world.integrations.connector(world.one)
    probe = connector.probe

    async def taken_meanwhile(*arguments: Any) -> frozenset[str]:
        async with world.database.write() as connection:
            await connection.execute(update(deliveries_tables.batches).values(lease="other/1"))
        found: frozenset[str] = await probe(*arguments)
        return found

    connector.probe = taken_meanwhile
    await world.node().step(world.one.integration_no)
    assert world.system.sends == 0
    assert await delivery_states(world.database) == {"leased": 1}


async def test_a_slow_probe_costs_the_lease_and_not_a_double(world: World):
    """A node whose lease has become shorter than a request lets the batch go, and sends it with a fresh lease."""
    await world.connect()
    await world.sell(Document(1))
    connector: Any = world.integrations.connector(world.one)
    probe = connector.probe

    async def slow(*arguments: Any) -> frozenset[str]:
        world.clock.move(20)
        connector.probe = probe
        return frozenset()

    connector.probe = slow
    runner = world.node()
    await runner.step(world.one.integration_no)
    assert world.system.sends == 0
    await world.until_idle(runner)
    assert world.delivered() == [1]


async def test_a_restored_centre_asks_first(world: World):
    """A centre that forgot what it sent (a restored backup) finds it by delivery key, and sends only the rest."""
    await world.connect()
    world.system.effects += [f"erp:{doc_id_of(n)}:document" for n in (1, 3)]
    await world.sell(Document(1), Document(2), Document(3))
    await world.until_idle()
    assert world.delivered() == [1, 3, 2]
    assert await delivery_states(world.database) == {"done": 3}


async def test_a_person_decides_where_nobody_can_be_asked(world: World):
    """At least once: a batch without an answer waits until a person says whether it arrived; then it goes on."""
    await world.connect("plain")
    world.system.script.extend(["lost", "cut"])
    await world.sell(Document(1))
    await world.until_idle()
    await world.sell(Document(2))
    world.clock.move(60)
    await world.until_idle()
    world.clock.move(60)
    await world.until_idle()
    assert world.system.sends == 2
    first, second = [batch["batch_id"] for batch in reversed(await world.integrations.batches("erp"))]
    assert await world.integrations.confirm_unknown(first, arrived=True) == 1
    assert await world.integrations.confirm_unknown(second, arrived=False) == 1
    await world.until_idle()
    assert world.delivered() == [1, 2]
    assert await delivery_states(world.database) == {"done": 2}


async def test_an_integration_that_is_off_sends_nothing_and_forgets_nothing(world: World):
    """Disabled: no delivery is made or sent; enabled again, what was applied meanwhile is filled in."""
    await world.connect()
    await world.integrations.disable("erp")
    assert list(world.integrations.targets("sale")) == []
    await add_documents(world.database, [Document(1), Document(2)])
    await world.until_idle()
    assert world.system.sends == 0
    await world.integrations.enable("erp")
    assert list(world.integrations.targets("sale")) == [(1, "document", "ready")]
    assert await world.node().sweep() == 2
    await world.until_idle()
    assert world.delivered() == [1, 2]


async def test_the_sweep_fills_in_what_is_missing_from_its_date_on(world: World):
    """Applied documents of the wished kinds, received since the integration's date, get the delivery they lack."""
    await world.connect()
    await world.integrations.disable("erp")
    await world.integrations.enable("erp", from_ms=RECEIVED_MS)
    await add_documents(world.database, [Document(1)], received_ms=RECEIVED_MS - 1)
    await add_documents(world.database, [Document(2), Document(3, kind="shift_open")])
    await world.sell(Document(4))
    runner = world.node()
    assert await runner.sweep() == 1
    assert await runner.sweep() == 0
    await world.until_idle(runner)
    assert world.delivered() == [2, 4]


async def test_a_late_document_is_found_by_a_later_sweep(world: World):
    """A document with a low number that was applied late: found for ten minutes, and by the full sweep of the hour."""
    await world.connect()
    runner = world.node()
    await add_documents(world.database, [Document(n) for n in range(10, 20)])
    assert await runner.sweep() == 10

    async def minutes(count: int) -> int:
        found = 0
        for _ in range(count):
            world.clock.move(60)
            found += await runner.sweep()
        return found

    assert await minutes(8) == 0
    await add_documents(world.database, [Document(1)])
    assert await minutes(1) == 1
    assert await minutes(20) == 0
    await add_documents(world.database, [Document(2)])
    assert await minutes(1) == 0
    assert await minutes(60) == 1


async def test_the_runner_delivers_by_itself_and_stops(world: World):
    """`run` wakes its workers when told, delivers, and ends without a trace when cancelled."""
    await world.connect()
    await world.sell(Document(1))
    runner = world.node()
    running = asyncio.create_task(runner.run())
    await world.until({"done": 1})
    await world.sell(Document(2))
    runner.wake.set()
    await world.until({"done": 2})
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert world.integrations.listeners == []


async def tried(world: World) -> list[tuple[str | None, bool, int]]:
    async with world.database.read() as connection:
        rows = await connection.execute(deliveries_tables.attempts.select().order_by("attempt_no"))
        return [(row.outcome, row.sent, row.done) for row in rows]


async def test_every_try_is_kept_with_what_came_of_it(world: World):
    """Away, denied, lost, found, refused in part: each is a row; a try that was cut by a death has no outcome."""
    await world.connect()
    world.system.script.extend(["away", "denied", "lost"])
    await world.sell(Document(1))
    for _ in range(4):
        await world.until_idle()
        world.clock.move(400)
    world.system.script.append({3})
    await world.sell(Document(2), Document(3))
    await world.until_idle()
    assert await tried(world) == [
        ("away", True, 0),
        ("denied", True, 0),
        ("no_answer", True, 0),
        ("ok", False, 1),
        ("rejected", True, 1),
    ]


async def test_what_was_asked_and_answered_is_kept_masked(world: World):
    """The exchanges that a connector tells stand beside the try, without the settings' secrets."""
    await world.connect(password="s3cret-Pa55")
    world.system.exchange = Exchange("POST /sales password s3cret-Pa55", '{"token":"abc","id":7}')
    await world.sell(Document(1))
    await world.until_idle()
    async with world.database.read() as connection:
        (kept,) = (await connection.execute(select(deliveries_tables.attempts.c.exchanges))).scalars()
    assert orjson.loads(kept) == [["POST /sales password ***", '{"token":"***","id":7}']]


async def test_only_the_newest_tries_of_a_batch_are_kept(world: World):
    """A system that is away for a week fills no table."""
    await world.connect()
    world.system.script.extend(["away"] * 30)
    await world.sell(Document(1))
    for _ in range(31):
        await world.until_idle()
        world.clock.move(400)
    assert [outcome for outcome, _, _ in await tried(world)] == ["away"] * 19 + ["ok"]


@pytest.mark.parametrize("answer", ["told", "lost"])
async def test_the_other_systems_id_is_written_back(world: World, answer: str):
    """What the answer calls a delivery is kept; when the answer is lost, the look-up tells it."""
    await world.connect()
    if answer == "lost":
        world.system.script.append("lost")
    await world.sell(Document(1))
    await world.until_idle()
    world.clock.move(60)
    await world.until_idle()
    async with world.database.read() as connection:
        (row,) = await attempts.written_of(connection, None, [1])
    assert (row.integration_no, row.effect, row.id, row.number) == (1, "document", "ERP-1", "N-1")


async def test_a_system_that_never_answers_is_tried_by_one_node_with_one_batch(world: World):
    """After five answers that stayed out, nobody else begins while one node tries; one answer closes the circuit."""
    await world.connect(batch_documents=1)
    world.system.script.extend(["cut"] * 5)
    await world.sell(*(Document(n) for n in range(1, 10)))
    await world.until_idle()
    assert world.system.sends == 5
    assert (await world.integrations.get("erp")).problem is not None
    world.clock.move(100)
    connector: Any = world.integrations.connector(world.one)
    deliver = connector.deliver
    others: list[bool] = []

    async def watched(batch: Batch) -> Answer:
        others.append(await world.node("b").step(world.one.integration_no))
        connector.deliver = deliver
        answer: Answer = await deliver(batch)
        return answer

    connector.deliver = watched
    await world.until_idle()
    assert others == [False]
    assert sorted(world.delivered()) == list(range(1, 10))


async def test_a_budget_is_paid_by_what_was_called(world: World):
    """Of four calls a minute, a batch with a look-up and a send uses two; the third batch waits for the next ones."""
    await world.connect(batch_documents=1)
    budget = Budget(credential="erp", calls=4, per_s=60, leave=0)
    definition = world.one.definition.model_copy(update={"budget": budget})
    async with world.database.write() as connection:
        await integrations.change(connection, 1, definition=definition.model_dump_json())
    await world.integrations.load()
    await world.sell(*(Document(n) for n in range(1, 5)))
    await world.until_idle()
    assert world.delivered() == [1, 2]
    world.clock.move(15)
    await world.until_idle()
    assert world.delivered() == [1, 2, 3]
