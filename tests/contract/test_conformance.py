"""The conformance kit over every connector; and that it fails those that are written wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import pytest

from central.conformance.faults import Fault
from central.conformance.suite import CHECKS, Fails, checks_for
from central.connectors import CONNECTORS
from central.connectors.base import Connector
from tests.support.emulator import Emulator
from tests.support.emulator_connector import BlindConnector, TrustingConnector
from tests.support.proxy import FaultProxy
from tests.support.rigs import DropFolderRig, EmulatorRig, FilesRig, TrytonRig
from tests.support.tryton import TrytonServer
from tests.support.tryton_shop import Goods, add_goods

RIGS = {"drop_folder": DropFolderRig, "files": FilesRig, "tryton": TrytonRig}


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator() as emulator:
        yield emulator


@pytest.fixture(scope="module")
def server(tryton_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrytonServer]:
    server = TrytonServer(tmp_path_factory.mktemp("server"), tryton_template)
    server.start()
    try:
        asyncio.run(server.wait_until_ready())
        yield server
    finally:
        server.kill()


def test_every_connector_and_every_fault_is_here():
    """A connector without a rig is not tested; a fault without a check is a word."""
    assert CONNECTORS.keys() == RIGS.keys()
    assert {fault.value for fault in Fault} <= CHECKS.keys()


@pytest.mark.parametrize("check", checks_for(EmulatorRig))
async def test_the_emulators_connector_conforms(check: str, emulator: Emulator):
    await CHECKS[check](EmulatorRig(emulator))


@pytest.mark.parametrize("check", checks_for(DropFolderRig))
async def test_the_drop_folder_conforms(check: str, tmp_path: Path):
    rig = DropFolderRig(tmp_path / "drop")
    await rig.connect().prepare()
    await CHECKS[check](rig)


@pytest.mark.parametrize("check", checks_for(FilesRig))
async def test_files_of_another_system_conform(check: str, tmp_path: Path):
    await CHECKS[check](FilesRig(tmp_path))


@pytest.mark.erp
@pytest.mark.parametrize("check", checks_for(TrytonRig))
async def test_tryton_conforms(check: str, server: TrytonServer):
    async with FaultProxy(server.url) as proxy:
        rig = TrytonRig(server, proxy, f"C{uuid4().hex[:8]}")
        await add_goods(server, [Goods(rig.salt, "Milk", Decimal("12.00"))])
        await CHECKS[check](rig)


@pytest.mark.parametrize(
    ("connector", "fault"),
    [
        (BlindConnector, Fault.LOST_ANSWER),
        (BlindConnector, Fault.HALF_BATCH),
        (BlindConnector, Fault.CUT_ANSWER),
        (TrustingConnector, Fault.ERROR_BODY),
    ],
)
async def test_a_connector_that_is_written_wrong_fails(
    connector: type[Connector], fault: Fault, emulator: Emulator
):
    """Who resends blindly doubles; who takes any 200 for a success loses."""
    rig = EmulatorRig(emulator)
    rig.connector = connector
    with pytest.raises(Fails, match=r"doubled|missing"):
        await CHECKS[fault.value](rig)
