"""Documents to files, with the power cut between every two durable steps: none is lost, none is there twice."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from central.connectors.base import Answer, Batch
from central.connectors.drop_folder import outgoing
from central.deliveries.run import DeliveryRunner
from central.integrations.integration import Integration
from central.integrations.registry import Integrations
from tests.support.clock import ManualClock
from tests.support.outgoing import Document, add_documents, delivery_states, open_database
from tests.support.power import Power, PowerCut, PoweredDatabase, PoweredOs

DOCUMENTS = 4
BATCH = 2
STEPS_MAX = 200
LEASE_S = 60


class Centre:
    """A centre with a drop folder, and the reader on the other side."""

    def __init__(self, database: PoweredDatabase, clock: ManualClock, folder: Path) -> None:
        self.database = database
        self.clock = clock
        self.folder = folder
        self.one: Integration

    async def integrations(self) -> Integrations:
        """As a process has them after its start."""
        integrations = Integrations(self.database, self.clock)
        await integrations.load()
        return integrations

    async def connect(self, batch_documents: int = BATCH) -> None:
        settings = {"folder": str(self.folder), "batch_documents": batch_documents}
        self.one = await (await self.integrations()).create(
            "erp", "drop_folder", settings, ["sale"], from_ms=0
        )

    async def live(self, power: Power | None, monkeypatch: pytest.MonkeyPatch) -> bool:
        """One life of a process, until all is delivered or the power is out; whether it got that far."""
        runner = DeliveryRunner(
            self.database, await self.integrations(), self.clock, node="any", rng=random.Random(1)
        )
        with monkeypatch.context() as patch:
            if power:
                patch.setattr(outgoing, "os", PoweredOs(power))
                self.database.power = power
            try:
                while await runner.step(self.one.integration_no):
                    pass
            except PowerCut:
                return False
            finally:
                self.database.power = None
        return not (power and power.is_out)

    def take_files(self) -> None:
        """The reader takes what it sees, as it is meant to: by renaming."""
        for path in sorted((self.folder / "out").glob("*.ndjson")):
            path.rename(self.folder / "taken" / path.name)

    def read(self) -> list[str]:
        """The delivery keys in all files that a reader ever saw, in order."""
        files = sorted([*(self.folder / "out").glob("*.ndjson"), *(self.folder / "taken").glob("*.ndjson")])
        return [
            orjson.loads(line)["delivery_key"] for path in files for line in path.read_bytes().splitlines()
        ]


@pytest.fixture
async def centre(database_url: str, tmp_path: Path) -> AsyncIterator[Centre]:
    clock = ManualClock()
    database = await open_database(database_url, clock, PoweredDatabase)
    yield Centre(database, clock, tmp_path / "drop")
    await database.close()


def sales(count: int = DOCUMENTS) -> list[Document]:
    return [Document(1, refs=[count]), *(Document(n) for n in range(2, count + 1))]


@pytest.mark.parametrize("reader", ["slow", "quick"])
async def test_a_power_cut_between_any_two_durable_steps_neither_loses_nor_doubles(
    centre: Centre, reader: str, monkeypatch: pytest.MonkeyPatch
):
    """Cut after the n-th durable step, for every n; then a second process goes on from what it finds."""
    await centre.connect()
    cuts = 0
    while True:
        first = cuts * DOCUMENTS + 1
        documents = [
            Document(first + one.number - 1, [first + ref - 1 for ref in one.refs]) for one in sales()
        ]
        await add_documents(centre.database, documents, integrations=[centre.one.integration_no])
        got_through = await centre.live(Power(cuts), monkeypatch)
        cuts += 1
        if reader == "quick":
            centre.take_files()
        centre.clock.move(LEASE_S)
        assert await centre.live(None, monkeypatch)
        read = Counter(centre.read())
        assert set(read.values()) == {1}
        assert len(read) == cuts * DOCUMENTS
        assert await delivery_states(centre.database) == {"done": cuts * DOCUMENTS}
        assert [
            path.name for path in (centre.folder / "out").iterdir() if not path.name.endswith(".ndjson")
        ] == []
        if got_through:
            break
        assert cuts < STEPS_MAX
    # Two batches of: made, sent, file synced, renamed, folder synced, done; before and after each.
    assert cuts > 2 * 6 * 2


async def test_power_cuts_in_every_life_are_survived(centre: Centre, monkeypatch: pytest.MonkeyPatch):
    """Each life ends after a few steps more than the last; readers take files in between; all arrives once."""
    await centre.connect()
    await add_documents(centre.database, sales(20), integrations=[centre.one.integration_no])
    rng = random.Random(7)
    lives = 0
    while not await centre.live(Power(rng.randrange(14)), monkeypatch):
        lives += 1
        if rng.random() < 0.5:
            centre.take_files()
        centre.clock.move(LEASE_S)
    assert lives > 5
    assert Counter(centre.read()) == Counter({f"erp:{one.doc_id}:document": 1 for one in sales(20)})


def restore(backup: Path, file: Path) -> None:
    for left_over in file.parent.glob(f"{file.name}*"):
        left_over.unlink()
    shutil.copy(backup, file)


@pytest.mark.parametrize("reader", ["slow", "quick"])
async def test_a_centre_restored_from_a_backup_delivers_only_what_it_had_not(
    tmp_path: Path, reader: str, monkeypatch: pytest.MonkeyPatch
):
    """Whatever was delivered after the backup is found in the files by its keys, also where batches fall otherwise."""
    clock = ManualClock()
    file = tmp_path / "central.db"
    database = await open_database(f"sqlite+aiosqlite:///{file}", clock, PoweredDatabase)
    centre = Centre(database, clock, tmp_path / "drop")
    await centre.connect()
    await add_documents(database, sales(4), integrations=[centre.one.integration_no])
    assert not await centre.live(Power(12), monkeypatch)
    await database.close()
    shutil.copy(file, tmp_path / "backup.db")

    centre.database = PoweredDatabase(f"sqlite+aiosqlite:///{file}", clock)
    clock.move(LEASE_S)
    await add_documents(centre.database, [Document(n) for n in range(5, 11)], integrations=[1])
    assert await centre.live(None, monkeypatch)
    if reader == "quick":
        centre.take_files()
    await centre.database.close()
    restore(tmp_path / "backup.db", file)

    # The stations send again what the restored centre lacks, in another order.
    centre.database = PoweredDatabase(f"sqlite+aiosqlite:///{file}", clock)
    clock.move(LEASE_S)
    await add_documents(centre.database, [Document(n) for n in (9, 5, 11, 7, 10, 6, 8)], integrations=[1])
    assert await centre.live(None, monkeypatch)
    assert Counter(centre.read()) == Counter({f"erp:{one.doc_id}:document": 1 for one in sales(11)})
    assert await delivery_states(centre.database) == {"done": 11}
    await centre.database.close()


class FrozenOs:
    """The `os` module of a process that freezes between its last look and its rename."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        self._meanwhile: Callable[[], None] | None = meanwhile

    def __getattr__(self, name: str) -> Any:
        if name == "replace" and self._meanwhile is not None:
            meanwhile, self._meanwhile = self._meanwhile, None
            meanwhile()
        return getattr(os, name)


@pytest.mark.parametrize("instant", ["before it writes", "before its rename"])
async def test_a_frozen_process_that_wakes_after_its_lease_adds_no_file(
    centre: Centre, instant: str, monkeypatch: pytest.MonkeyPatch
):
    """Frozen past its lease, while another node delivers and the reader takes the file: it wakes and adds nothing."""
    await centre.connect()
    await add_documents(centre.database, sales(2), integrations=[1])
    integrations = await centre.integrations()
    frozen = DeliveryRunner(centre.database, integrations, centre.clock, node="frozen")
    connector = integrations.connector(centre.one)
    deliver = connector.deliver

    async def meanwhile() -> None:
        centre.clock.move(LEASE_S)
        other = DeliveryRunner(centre.database, await centre.integrations(), centre.clock, node="other")
        assert await other.step(1)
        centre.take_files()

    async def late(batch: Batch) -> Answer:
        await meanwhile()
        return await deliver(batch)

    if instant == "before it writes":
        monkeypatch.setattr(connector, "deliver", late)
    else:
        loop = asyncio.get_running_loop()
        frozen_os = FrozenOs(lambda: asyncio.run_coroutine_threadsafe(meanwhile(), loop).result(30))
        monkeypatch.setattr(outgoing, "os", frozen_os)
    assert await frozen.step(1)
    assert list((centre.folder / "out").iterdir()) == []
    assert sorted(centre.read()) == sorted(f"erp:{one.doc_id}:document" for one in sales(2))
    assert await delivery_states(centre.database) == {"done": 2}


async def test_two_nodes_at_once_deliver_each_document_once(centre: Centre):
    """Two nodes step at the same time over one database and one folder."""
    await centre.connect(batch_documents=5)
    await add_documents(centre.database, sales(100), integrations=[1])

    async def node(name: str) -> None:
        runner = DeliveryRunner(centre.database, await centre.integrations(), centre.clock, node=name)
        while await delivery_states(centre.database) != {"done": 100}:
            await runner.step(1)

    async with asyncio.timeout(60):
        await asyncio.gather(node("a"), node("b"))
    assert Counter(centre.read()) == Counter({f"erp:{one.doc_id}:document": 1 for one in sales(100)})
