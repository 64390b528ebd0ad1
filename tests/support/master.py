"""A centre whose catalog goes out: HQ's rows, the follower, the deliveries, each moved by the test's hand."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from central.catalog.rows import read_row
from central.centre import Centre
from central.connectors.base import Connector
from central.db.delivery_desk import status
from central.deliveries.run import DeliveryRunner
from central.integrations.catalog_records import CatalogRecords
from central.integrations.definition import read_definition
from central.integrations.registry import Integrations
from central.integrations.versions import Versions
from central.verify import verify
from shared.catalog.changes import Change
from shared.clock import SystemClock
from tests.support.centre import open_centre
from tests.support.clock import ManualClock
from tests.support.power import PoweredDatabase
from tests.support.scripted_connector import SCRIPTED, SYSTEMS, System

CUSTOMER: dict[str, Any] = {
    "name": "customer",
    "entity": "customer",
    "target": "parties",
    "fields": {
        "id": "{{refs_written[0].customer.id}}",
        "code": "{{payload.row.code}}",
        "name": "{{payload.row.name}}",
        "change": "{{payload.change}}",
    },
}


class Master:
    """The parts of one node that bring the catalog out."""

    def __init__(
        self,
        centre: Centre,
        clock: ManualClock,
        node: str = "a",
        connectors: Mapping[str, type[Connector]] = SCRIPTED,
    ) -> None:
        self.centre = centre
        self.clock = clock
        self.integrations = Integrations(centre.database, clock, connectors)
        self.system = SYSTEMS.setdefault("erp", System())
        self.follower = CatalogRecords(centre.database, self.integrations, centre.foreign, clock, node=node)
        self.runner = DeliveryRunner(
            centre.database, self.integrations, clock, node=node, rng=random.Random(1)
        )

    async def connect(
        self,
        *delivers: dict[str, Any],
        name: str = "erp",
        connector: str = "scripted",
        settings: dict[str, Any] | None = None,
    ) -> None:
        SYSTEMS.setdefault(name, System())
        written = {
            "name": name,
            "connector": connector,
            "settings": settings or {"account": name},
            "deliver": delivers,
        }
        await Versions(self.centre.database, self.integrations).put(read_definition(written), by="test")
        self.centre.integrations = self.integrations
        self.centre.applier._targets = self.integrations.targets

    async def publish(self, entity: str, *rows: dict[str, Any], deleted: Collection[str] = ()) -> None:
        """HQ publishes rows, each into its own scope; and deletes rows of `base` by their keys."""
        changes: dict[str, list[Change]] = {}
        for row in rows:
            scope, change = read_row(entity, row, None, deleted=False)
            changes.setdefault(scope, []).append(change)
        for key in deleted:
            changes.setdefault("base", []).append(Change(entity, key, None))
        await self.centre.publisher.publish(changes)

    async def follow(self) -> None:
        """All that changed becomes documents, and these deliveries."""
        for entity, named in self.follower.wanted().items():
            while await self.follower.step(entity, named):
                pass
        await self.centre.applier.drain()

    async def carry(self) -> None:
        await self.runner.sweep()
        while await self.runner.step(1):
            pass

    async def through(self) -> list[Any]:
        """Everything goes as far as it can; returns the records that the other system has got by now."""
        await self.follow()
        await self.carry()
        return [one.record for one in self.system.deliveries]

    async def states(self, integration_no: int = 1) -> dict[str, int]:
        async with self.centre.database.read() as connection:
            return (await status(connection)).get(integration_no, {})

    async def sound(self) -> None:
        """Every invariant that the database can show holds."""
        assert (await verify(self.centre.database)).findings == []


@asynccontextmanager
async def open_master(
    database_url: str, tmp_path: Path, connectors: Mapping[str, type[Connector]] = SCRIPTED
) -> AsyncIterator[Master]:
    SYSTEMS.clear()
    clock = ManualClock(SystemClock().now_ms())  # stations' sessions end by the database's clock
    async with open_centre(database_url, tmp_path, clock) as centre:
        centre.database.__class__ = PoweredDatabase  # its time is the test's, and its commits may need power
        centre.database._clock = clock  # type: ignore[attr-defined]
        yield Master(centre, clock, connectors=connectors)
