"""What every connector promises, as one suite over all of them.

A connector comes in here with a rig: how it is set up, and what its system holds afterwards, doubles included.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from pathlib import Path

import orjson
import pytest

from central.connectors import CONNECTORS
from central.connectors.base import Batch, Connector, Delivery
from tests.support.clock import ManualClock
from tests.support.scripted_connector import SYSTEMS, ScriptedConnector, System


class Rig(ABC):
    """One connector and its system."""

    @abstractmethod
    def connect(self) -> Connector:
        """As a process has it after its start."""

    @abstractmethod
    def effects(self) -> list[str]:
        """Delivery keys of all that took effect in the system."""

    @abstractmethod
    def consume(self) -> None:
        """The system goes on working with what it got."""


class DropFolderRig(Rig):
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def connect(self) -> Connector:
        kind = CONNECTORS["drop_folder"]
        return kind("erp", kind.Settings.model_validate({"folder": self.folder}), ManualClock())

    def effects(self) -> list[str]:
        return [
            orjson.loads(line)["delivery_key"]
            for path in self.folder.rglob("*.ndjson")
            for line in path.read_bytes().splitlines()
        ]

    def consume(self) -> None:
        for path in (self.folder / "out").glob("*.ndjson"):
            path.rename(self.folder / "taken" / path.name)


class ScriptedRig(Rig):
    def __init__(self, folder: Path) -> None:
        self.system = SYSTEMS["contract"] = System()

    def connect(self) -> Connector:
        return ScriptedConnector("erp", ScriptedConnector.Settings(account="contract"), ManualClock())

    def effects(self) -> list[str]:
        return self.system.effects

    def consume(self) -> None:
        """It keeps what it has."""


RIGS = {"drop_folder": DropFolderRig, "scripted": ScriptedRig}


def delivery(number: int) -> Delivery:
    doc_id = f"01234567-0000-7000-8000-{number:012d}"
    header = orjson.dumps({"doc_id": doc_id, "kind": "sale", "number": f"T-1-{number}"})
    return Delivery(
        f"erp:{doc_id}:document",
        "document",
        doc_id,
        "sale",
        f"T-1-{number}",
        "T-1",
        "S1",
        header,
        b'{"total_minor":5}',
    )


def batch(name: str, *numbers: int) -> Batch:
    return Batch(f"erp-20261121T100000000Z-{name * 16}", tuple(delivery(number) for number in numbers))


def keys(*numbers: int) -> list[str]:
    return [delivery(number).key for number in numbers]


async def known(batch_ids: Collection[str]) -> set[str]:
    return set()


async def forgotten(batch_ids: Collection[str]) -> set[str]:
    return set(batch_ids)


@pytest.fixture(params=RIGS)
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Rig:
    rig = RIGS[request.param](tmp_path / "system")
    await rig.connect().prepare()
    assert all(finding.ok for finding in await rig.connect().check())
    return rig


def test_every_connector_has_a_rig_here():
    """A connector that is not in this suite is not a connector yet."""
    assert CONNECTORS.keys() - {"tryton"} <= RIGS.keys()  # Tryton is in test_conformance.py, with its server


async def test_what_was_delivered_took_effect_once(rig: Rig):
    """After an answer without refusals, each delivery of the batch has had its effect."""
    answer = await rig.connect().deliver(batch("a", 1, 2, 3))
    assert answer.rejected == {}
    assert sorted(rig.effects()) == keys(1, 2, 3)


async def test_the_probe_finds_nothing_before_and_all_after(rig: Rig):
    """A connector that probes tells what is there, in the process that sent it and in the next one."""
    connector = rig.connect()
    assert not await connector.probe(batch("a", 1, 2), known)
    await connector.deliver(batch("a", 1, 2))
    assert set(await connector.probe(batch("a", 1, 2), known)) == set(keys(1, 2))
    rig.consume()
    assert set(await rig.connect().probe(batch("a", 1, 2), known)) == set(keys(1, 2))


async def test_a_forgotten_batch_is_found_by_its_delivery_keys(rig: Rig):
    """After a restore the documents lie in other batches: each that took effect is found, and no other."""
    await rig.connect().deliver(batch("a", 1, 2))
    rig.consume()
    await rig.connect().deliver(batch("b", 3))
    assert set(await rig.connect().probe(batch("c", 2, 3, 4), forgotten)) == set(keys(2, 3))


async def test_a_probe_changes_nothing(rig: Rig):
    """Asking has no effect, however often."""
    connector = rig.connect()
    for _ in range(3):
        await connector.probe(batch("a", 1), forgotten)
    assert rig.effects() == []


async def test_probe_then_send_the_rest_never_doubles(rig: Rig):
    """The one sequence by which deliveries are made, over overlapping batches of forgetful centres."""
    for name, numbers in (("a", (1, 2)), ("b", (2, 3)), ("c", (1, 2, 3, 4))):
        connector = rig.connect()
        wanted = batch(name, *numbers)
        found = await connector.probe(wanted, forgotten)
        rest = tuple(one for one in wanted.deliveries if one.key not in found)
        await connector.deliver(Batch(wanted.batch_id, rest))
        rig.consume()
    assert sorted(rig.effects()) == keys(1, 2, 3, 4)


async def test_every_connector_has_its_bounds(rig: Rig):
    """Batches and requests have a bound, and what it uses has a name."""
    connector = rig.connect()
    assert connector.batch_documents > 0
    assert connector.batch_bytes > 0
    assert connector.timeout_s > 0
    assert connector.resource
    assert connector.title
