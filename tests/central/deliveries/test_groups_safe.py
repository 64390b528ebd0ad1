"""Groups when things go wrong: power cuts between any two steps, many nodes, a restored backup. Each document once."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import text

from central.connectors.drop_folder import outgoing
from central.db import integrations as table
from central.deliveries.desk import Desk
from central.deliveries.run import DeliveryRunner
from central.integrations.definition import Deliver
from central.integrations.registry import Integrations
from central.verify.deliveries import check_deliveries
from central.verify.report import Report
from tests.central.deliveries.test_groups import NOON_MS, sale
from tests.support.clock import ManualClock
from tests.support.outgoing import Document, add_documents, delivery_states, open_database
from tests.support.power import Power, PowerCut, PoweredDatabase, PoweredOs

LEASE_S = 60
STEPS_MAX = 200
DAY = {
    "name": "day",
    "kinds": ["sale"],
    "target": "file",
    "group": {"by": ["store", "business_date"], "after": "1s"},
    "fields": {
        "number": "{{number}}",
        "total": "{{payload.total_minor}}",
        "receipts": {"each": "members", "fields": {"n": "{{number}}", "minor": "{{total_minor}}"}},
    },
}


class Centre:
    """A centre that delivers days into a drop folder, whose processes die as a test wants."""

    def __init__(self, database: PoweredDatabase, clock: ManualClock, folder: Path) -> None:
        self.database = database
        self.clock = clock
        self.folder = folder

    async def integrations(self) -> Integrations:
        integrations = Integrations(self.database, self.clock)
        await integrations.load()
        return integrations

    async def connect(self) -> None:
        settings = {"folder": str(self.folder), "batch_documents": 2}
        one = await (await self.integrations()).create("erp", "drop_folder", settings, ["sale"], from_ms=0)
        definition = one.definition.model_copy(update={"deliver": [Deliver.model_validate(DAY)]})
        async with self.database.write() as connection:
            await table.change(connection, 1, definition=definition.model_dump_json(), version=2)

    async def runner(self, node: str = "any") -> DeliveryRunner:
        rng = random.Random(1)
        return DeliveryRunner(self.database, await self.integrations(), self.clock, node=node, rng=rng)

    async def live(self, power: Power | None, monkeypatch: pytest.MonkeyPatch) -> bool:
        """One life of a process, until all that is there is delivered or the power is out; whether it got so far."""
        runner = await self.runner()
        with monkeypatch.context() as patch:
            if power:
                patch.setattr(outgoing, "os", PoweredOs(power))
                self.database.power = power
            try:
                await runner.sweep()
                await runner.groups.step()
                self.clock.move(2)
                await runner.groups.step()
                while await runner.step(1):
                    pass
            except PowerCut:
                return False
            finally:
                self.database.power = None
        return not (power and power.is_out)

    def records(self) -> list[dict[str, Any]]:
        files = sorted([*(self.folder / "out").glob("*.ndjson"), *(self.folder / "taken").glob("*.ndjson")])
        return [orjson.loads(line) for path in files for line in path.read_bytes().splitlines()]

    async def check(self, numbers: range) -> None:
        """Every document is in one record, each record is there once and adds up, and nothing is left behind."""
        records = self.records()
        members = [each for one in records for each in one["record"]["receipts"]]
        assert Counter(each["n"] for each in members) == Counter({f"T-1-{n}": 1 for n in numbers})
        assert len({one["delivery_key"] for one in records}) == len(records)
        for one in records:
            assert one["record"]["total"] == sum(each["minor"] for each in one["record"]["receipts"])
        assert await delivery_states(self.database) == {"done": len(numbers)}
        await self.verify()

    async def verify(self) -> None:
        report = Report()
        async with self.database.read() as connection:
            await check_deliveries(connection, report)
        # What is applied and has no delivery yet is found by the next sweep.
        assert [one.what for one in report.findings if "was never to get it" not in one.what] == []


@pytest.fixture
async def centre(database_url: str, tmp_path: Path) -> AsyncIterator[Centre]:
    clock = ManualClock(NOON_MS)
    database = await open_database(database_url, clock, PoweredDatabase)
    yield Centre(database, clock, tmp_path / "drop")
    await database.close()


def restore(backup: Path, file: Path) -> None:
    for left_over in file.parent.glob(f"{file.name}*"):
        left_over.unlink()
    shutil.copy(backup, file)


def take_away(folder: Path) -> None:
    for path in folder.glob("*.ndjson"):
        path.unlink()


def day_of(cut: int) -> str:
    return f"2026-{cut // 28 + 1:02}-{cut % 28 + 1:02}"


async def test_a_power_cut_between_any_two_durable_steps_neither_loses_nor_doubles(
    centre: Centre, monkeypatch: pytest.MonkeyPatch
):
    """Cut after the n-th step of a day, and again of its correction, for every n; then a process goes on."""
    await centre.connect()
    cuts, got_through = 0, False
    while not got_through:
        first = 3 * cuts + 1
        day = day_of(cuts)
        await add_documents(
            centre.database, [sale(first, 10, business_date=day), sale(first + 1, 7, business_date=day)]
        )
        got_through = await centre.live(Power(cuts), monkeypatch)
        centre.clock.move(LEASE_S)
        assert await centre.live(None, monkeypatch)
        await add_documents(centre.database, [sale(first + 2, 5, business_date=day)])
        got_through &= await centre.live(Power(cuts), monkeypatch)
        centre.clock.move(LEASE_S)
        assert await centre.live(None, monkeypatch)
        cuts += 1
        await centre.check(range(1, 3 * cuts + 1))
        assert len(centre.records()) == 2 * cuts
        assert cuts < STEPS_MAX
    # Found its delivery, its group; group closed, batch made, record made, sent, three of the file, done: twice each.
    assert cuts > 2 * 9


@pytest.mark.parametrize("seed", range(3))
async def test_power_cuts_in_every_life_while_documents_come_in(
    centre: Centre, seed: int, monkeypatch: pytest.MonkeyPatch
):
    """However groups and corrections fall, all of them together are all documents, each once."""
    await centre.connect()
    rng = random.Random(seed)
    number = lives = 0
    while number < 40:
        fresh = [
            sale(number + n, n, business_date=day_of(rng.randrange(3))) for n in range(1, rng.randrange(2, 6))
        ]
        number += len(fresh)
        await add_documents(centre.database, fresh)
        lives += not await centre.live(Power(rng.randrange(30)), monkeypatch)
        centre.clock.move(rng.choice([0, LEASE_S]))
        await centre.verify()
    centre.clock.move(LEASE_S)
    assert await centre.live(None, monkeypatch)
    assert lives > 3
    await centre.check(range(1, number + 1))


async def test_two_nodes_at_once_put_each_document_into_one_group(centre: Centre):
    """Both gather, close and carry at the same time over one database, while documents come in."""
    await centre.connect()
    numbers = range(1, 61)

    async def node(name: str) -> None:
        runner = await centre.runner(name)
        while await delivery_states(centre.database) != {"done": len(numbers)}:
            await runner.sweep()
            await runner.groups.step()
            await runner.step(1)
            centre.clock.move(0.3)

    async def shop() -> None:
        for n in numbers:
            await add_documents(centre.database, [sale(n, n, business_date=day_of(n % 4))])

    async with asyncio.timeout(120):
        await asyncio.gather(node("a"), node("b"), shop())
    await centre.check(numbers)


async def test_a_restored_centre_sends_no_group_twice_and_loses_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The day went out after the backup. It is made again, with one sale more: a person decides, nobody guesses."""
    clock = ManualClock(NOON_MS)
    file = tmp_path / "central.db"
    url = f"sqlite+aiosqlite:///{file}"
    centre = Centre(await open_database(url, clock, PoweredDatabase), clock, tmp_path / "drop")
    await centre.connect()
    await centre.database.close()
    shutil.copy(file, tmp_path / "backup.db")

    centre.database = PoweredDatabase(url, clock)
    day: list[Document] = [sale(n, n, business_date=day_of(1)) for n in (1, 2)]
    await add_documents(centre.database, day)
    assert await centre.live(None, monkeypatch)
    await centre.database.close()
    restore(tmp_path / "backup.db", file)

    centre.database = PoweredDatabase(url, clock)
    await add_documents(centre.database, [*day, sale(3, 3, business_date=day_of(1))])
    assert await centre.live(None, monkeypatch)
    assert len(centre.records()) == 1
    assert await delivery_states(centre.database) == {"parked": 1, "grouped": 2}
    await centre.verify()

    # Whoever looks finds that it lacks the third sale, takes the file away, and sends the group again.
    take_away(centre.folder / "out")
    desk = Desk(centre.database, await centre.integrations())
    assert await desk.send_again("erp", who="test") == 1
    assert await centre.live(None, monkeypatch)
    await centre.check(range(1, 4))
    await centre.database.close()


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("DELETE FROM delivery_group_members WHERE doc_no = 2", "1 are in it"),
        ("DELETE FROM delivery_group_members WHERE doc_no = 2", "but is in none"),
        ("UPDATE deliveries SET state = 'done' WHERE doc_no = 2", "1 of their deliveries"),
        ("UPDATE delivery_groups SET state = 'done'", "2 of their deliveries"),
        ("UPDATE delivery_groups SET size = 3", "with 3 documents: 2 are in it"),
    ],
)
async def test_verify_finds_a_group_that_is_not_whole(centre: Centre, damage: str, told: str):
    await centre.connect()
    await add_documents(centre.database, [sale(1), sale(2)], integrations=[1], begin=("day", "gathering"))
    await (await centre.runner()).groups.step()
    await centre.verify()
    async with centre.database.write() as connection:
        await connection.execute(text(damage))
    report = Report()
    async with centre.database.read() as connection:
        await check_deliveries(connection, report)
    assert told in "; ".join(one.what for one in report.findings)
