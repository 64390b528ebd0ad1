"""A node that only delivers, to the emulator, until it dies: `python -m tests.support.delivering_node <url> <name>`."""

from __future__ import annotations

import asyncio
import sys

from central.connectors.base import Connector
from central.db.database import Database
from central.deliveries import plan
from central.deliveries.run import DeliveryRunner
from central.integrations.registry import Integrations
from shared.clock import SystemClock
from tests.support.emulator_connector import EmulatorConnector

plan.PAUSE_BASE_S = 0.1
"""A tenth of what it is in a shop: the test is about how often, not about how long."""


class QuickConnector(EmulatorConnector):
    """Gives up early, so that a lease of a dead node ends within the test."""

    timeout_s = 1.0


CONNECTORS: dict[str, type[Connector]] = {"emulator": QuickConnector}


async def deliver(url: str, node: str) -> None:
    database = Database(url)
    integrations = Integrations(database, SystemClock(), CONNECTORS)
    await integrations.load()
    runner = DeliveryRunner(database, integrations, SystemClock(), node=node)
    async with asyncio.TaskGroup() as parts:
        parts.create_task(integrations.run())
        parts.create_task(runner.run())


if __name__ == "__main__":
    asyncio.run(deliver(*sys.argv[1:3]))
