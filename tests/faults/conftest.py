"""A chain of real processes for the tests of a module: starting one costs more than most of what is done to it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.chain import Chain
from tests.support.template import Templates


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running_chain(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, templates: Templates
) -> AsyncIterator[Chain]:
    """One centre on SQLite and as many stations as the module's STATIONS says (one)."""
    stations = getattr(request.module, "STATIONS", 1)
    folder = tmp_path_factory.mktemp("chain")
    async with Chain(folder, stations=stations, templates=templates) as chain:
        yield chain
        chain.kill()


@pytest_asyncio.fixture(loop_scope="module")
async def chain(running_chain: Chain) -> AsyncIterator[Chain]:
    """The module's chain, whole again after each test whatever became of it."""
    yield running_chain
    running_chain.restore_line()
    for process, url in [
        *zip(running_chain.nodes, running_chain.node_urls(), strict=True),
        *((station.process, station.url) for station in running_chain.stations),
    ]:
        process.env.pop("COUNTERFLOW_FAULTPOINT", None)
        if not process.is_running():
            process.start()
            await process.wait_until_healthy(url)
