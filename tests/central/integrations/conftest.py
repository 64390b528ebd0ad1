"""A centre that pulls from a shop in memory."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from central.catalog.publish import Publisher
from central.db import pulls as rows
from central.db.database import AnyRow, Database
from central.db.tables import catalog as catalog_tables
from central.db.tables.catalog import scope_rows
from central.integrations.definition import Definition, Pull, read_definition
from central.integrations.integration import Integration
from central.integrations.pull_run import Ports
from central.integrations.pulls import Pulls
from central.integrations.registry import Integrations
from central.integrations.versions import Versions
from central.mapping.lookups import LookUp
from shared.canonical import parse_object
from tests.support.clock import ManualClock
from tests.support.outgoing import open_database
from tests.support.source_connector import CONNECTORS, SHOPS, Shop

PRODUCTS = {"code": "{{ code }}", "name": "{{ name }}"}


class Centre:
    """One centre, one shop, and a cross-reference and a door for documents that are dictionaries."""

    def __init__(self, database: Database, clock: ManualClock) -> None:
        self.database = database
        self.clock = clock
        self.shop = SHOPS["erp"] = Shop()
        self.integrations = Integrations(database, clock, CONNECTORS)
        self.versions = Versions(database, self.integrations)
        self.publisher = Publisher(database)
        self.codes: dict[LookUp, str] = {}
        self.documents: dict[str, dict[str, Any]] = {}
        self.missed: set[LookUp] = set()
        self.learned: set[tuple[str, ...]] = set()
        self.calls = 0

    def ports(self) -> Ports:
        return Ports(self.database, self.publisher, self, self.take_documents, self.budget)

    def node(self, name: str = "a") -> Pulls:
        return Pulls(self.ports(), self.integrations, self.clock, node=name, rng=random.Random(1))

    async def connect(self, *pulls: dict[str, Any], **more: Any) -> Integration:
        return (await self.versions.put(self.definition(*pulls, **more), by="anna")).integration

    def definition(self, *pulls: dict[str, Any], **more: Any) -> Definition:
        defaults = {
            "name": "goods",
            "source": "products",
            "entity": "product",
            "every": "15m",
            "fields": PRODUCTS,
        }
        written = [defaults | pull for pull in pulls]
        for pull in written:
            if "document" in pull:
                del pull["entity"]
        return read_definition(
            {"name": "erp", "connector": "shop", "settings": {"account": "erp"}, "pull": written, **more}
        )

    async def until_idle(self, node: Pulls | None = None) -> int:
        """Let what is due run; returns the number of runs."""
        node = node or self.node()
        count = 0
        for one in self.integrations.enabled():
            while await node.step(one.integration_no):
                count += 1
        return count

    async def later(self, minutes: float = 15) -> dict[str, Any]:
        """Let time pass, run what is due, and return the newest report."""
        self.clock.move(minutes * 60)
        await self.until_idle()
        return await self.report()

    async def report(self) -> dict[str, Any]:
        run = (await self.runs())[0]
        return {**parse_object(run.report), "result": run.result, "full": run.is_full, "why": run.why}

    async def runs(self) -> list[AnyRow]:
        async with self.database.read() as connection:
            return list(await rows.list_runs(connection, 1, None, 100))

    async def catalog(self) -> dict[str, dict[str, Any]]:
        """scope and key -> row, of what is live."""
        async with self.database.read() as connection:
            scopes = {
                row.scope_no: row.scope for row in await connection.execute(catalog_tables.scopes.select())
            }
            found = (await connection.execute(scope_rows.select())).all()
        return {
            f"{scopes[row.scope_no]} {row.key}": parse_object(row.payload)
            for row in found
            if row.payload is not None
        }

    async def look_up(self, connection: AsyncConnection, wanted: Collection[LookUp]) -> Mapping[LookUp, str]:
        return {one: self.codes[one] for one in wanted if one in self.codes}

    async def miss(self, wanted: Collection[LookUp]) -> None:
        self.missed |= set(wanted)

    async def learn(self, system: str, kind: str, pairs: Collection[tuple[str, str]], by: str) -> None:
        self.learned |= {(system, kind, *pair) for pair in pairs}

    async def take_documents(
        self, integration: Integration, pull: Pull, made: Sequence[tuple[str, dict[str, Any]]]
    ) -> Sequence[str]:
        outcomes = ["updated" if source_id in self.documents else "accepted" for source_id, _ in made]
        self.documents |= dict(made)
        return outcomes

    async def budget(self, integration: Integration) -> None:
        self.calls += 1


@pytest.fixture
async def centre(tmp_path: Any) -> AsyncIterator[Centre]:
    clock = ManualClock()
    database = await open_database(f"sqlite+aiosqlite:///{tmp_path / 'central.db'}", clock)
    yield Centre(database, clock)
    await database.close()


@pytest.fixture
async def any_centre(database_url: str) -> AsyncIterator[Centre]:
    """The same on both databases, for what depends on them."""
    clock = ManualClock()
    database = await open_database(database_url, clock)
    yield Centre(database, clock)
    await database.close()
