"""Two nodes, one pull, and the one that runs it dies between two pages: the other makes it whole, nothing twice."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from aiohttp import web
from sqlalchemy import select

from central.centre import Centre
from central.config import Config
from central.connectors import CONNECTORS
from central.db import pulls as rows
from central.db.database import AnyRow, Database
from central.db.tables.catalog import scope_rows, scopes
from central.integrations.definition import read_definition
from shared.canonical import parse_object
from tests.support.emulator import Emulator
from tests.support.emulator_connector import EmulatorConnector
from tests.support.processes import Process, python
from tests.support.template import Template

ITEMS, PAGE = 300, 50
DEADLINE_S = 60.0
PULL = {
    "name": "goods",
    "source": "items",
    "entity": "product",
    "every": "24h",
    "overlap": "1s",
    "page": PAGE,
    "absence": "delete",
    "fields": {"code": "{{ id }}", "name": "{{ code }}"},
}


class SlowToAnswer(Emulator):
    """Holds one answer back until it is told to go on: whoever waits for it is in the middle of a run."""

    def __init__(self) -> None:
        super().__init__()
        self.hold_at = 0  # the page, from 1; 0: none
        self.held = asyncio.Event()
        self.go_on = asyncio.Event()

    def hold(self, page: int) -> None:
        self.hold_at = page
        self.held.clear()
        self.go_on.clear()

    async def _read(self, request: web.Request) -> web.Response:
        self.hold_at -= 1
        if self.hold_at == 0:
            self.held.set()
            await self.go_on.wait()
        return await super()._read(request)


class Goods:
    """HQ's view of a centre that two nodes pull for."""

    def __init__(self, centre: Centre, nodes: dict[str, Process], erp: SlowToAnswer) -> None:
        self.centre = centre
        self.nodes = nodes
        self.erp = erp

    async def runs(self) -> list[AnyRow]:
        """Newest first."""
        async with self.centre.database.read() as connection:
            return list(await rows.list_runs(connection, 1, None, 100))

    async def cursor(self) -> str:
        async with self.centre.database.read() as connection:
            return str((await rows.states(connection, 1))["goods"].cursor)

    async def head(self) -> int:
        """How many changes the catalog ever had."""
        async with self.centre.database.read() as connection:
            query = select(scopes.c.head).where(scopes.c.scope == "base")
            return int((await connection.execute(query)).scalar_one())

    async def catalog(self) -> dict[str, str]:
        async with self.centre.database.read() as connection:
            found = await connection.execute(select(scope_rows.c.key, scope_rows.c.payload))
            return {row.key: parse_object(row.payload)["name"] for row in found if row.payload is not None}

    def expected(self) -> dict[str, str]:
        return {key: item["code"] for key, item in self.erp.items.items()}

    async def pulled(self, *, full: bool) -> None:
        """Ask for a run, kill the node that runs it in its middle, and wait until the other has made it."""
        before, catalog, cursor = len(await self.runs()), await self.catalog(), await self.cursor()
        self.erp.hold(3)
        await self.centre.pulls.ask("erp", full=full)
        await asyncio.wait_for(self.erp.held.wait(), DEADLINE_S)
        begun = await self.runs()
        assert len(begun) == before + 1, "two nodes run one pull"
        dying = self.nodes[begun[0].node]
        dying.kill()
        self.erp.go_on.set()
        assert dying.exit_code == -signal.SIGKILL
        assert (await self.catalog(), await self.cursor()) == (catalog, cursor)
        newest = await self.ended(before + 2)
        assert self.nodes[newest.node].is_running()
        assert (newest.result, newest.is_full) == ("taken", full)
        dying.start()

    async def ended(self, count: int) -> AnyRow:
        """Wait until there were so many runs and the newest has ended; returns it."""

        async def over() -> bool:
            runs = await self.runs()
            return len(runs) >= count and runs[0].result is not None

        await until(over)
        runs = await self.runs()
        assert len(runs) == count
        return runs[0]


async def until(reached: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not await reached():
        assert time.monotonic() < deadline, "it did not come"
        await asyncio.sleep(0.1)


@pytest.fixture(scope="module")
def program() -> Iterator[Template | None]:
    if sys.platform != "linux":
        yield None
        return
    with Template("tests.support.pulling_node") as template:
        yield template


@pytest.mark.postgres
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
async def test_a_pull_whose_node_dies_is_made_whole_by_the_other(
    postgres_url: str,
    tmp_path: Path,
    processes: Callable[..., Process],
    program: Template | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A full comparison is never half, the cursor covers what is published, and each change is published once."""
    monkeypatch.setitem(CONNECTORS, "emulator", EmulatorConnector)
    database = Database(postgres_url)
    await database.create()
    await database.close()
    centre = await Centre.open(Config(database_url=postgres_url, data_dir=tmp_path))
    async with SlowToAnswer() as erp:
        for number in range(ITEMS):
            erp.put(f"{number:03}", code=f"Item {number}")
        settings = {"name": "erp", "connector": "emulator", "settings": {"url": erp.url}, "pull": [PULL]}
        await centre.versions.put(read_definition(settings), by="test")
        nodes = {}
        for name in ("one", "two"):
            argv = python("-m", "tests.support.pulling_node", postgres_url, name, str(tmp_path))
            nodes[name] = processes(name, argv, template=program)
        goods = Goods(centre, nodes, erp)
        await goods.ended(1)
        assert await goods.catalog() == goods.expected()
        assert await goods.head() == ITEMS

        # A full comparison: five are gone, five are new, five have changed, before and behind where it dies.
        for number in range(0, ITEMS, ITEMS // 5):
            del erp.items[f"{number:03}"]
            erp.put(f"{number + 1:03}", code="changed")
            erp.put(f"{number:03}-new", code="new")
        await goods.pulled(full=True)
        assert await goods.catalog() == goods.expected()
        assert await goods.head() == ITEMS + 15
        assert await goods.cursor() == str(erp.sequence)

        # From the cursor on: more pages than it lived to read.
        for number in range(2, 2 + 4 * PAGE):
            erp.put(f"{number:03}", code="changed again")
        head = await goods.head()
        changed = sum(goods.expected()[key] != name for key, name in (await goods.catalog()).items())
        new = len(goods.expected().keys() - (await goods.catalog()).keys())
        await goods.pulled(full=False)
        assert await goods.catalog() == goods.expected()
        assert await goods.head() == head + changed + new
        assert await goods.cursor() == str(erp.sequence)
    await centre.close()
