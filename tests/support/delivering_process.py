"""A process that delivers what is ready, and ends: `python -m tests.support.delivering_process <database url>`."""

from __future__ import annotations

import asyncio
import sys

from central.db import deliveries as rows
from central.db.database import Database
from central.deliveries.run import DeliveryRunner
from central.integrations.registry import Integrations
from shared.clock import SystemClock


async def deliver(url: str) -> None:
    database = Database(url)
    clock = SystemClock()
    integrations = Integrations(database, clock)
    await integrations.load()
    runner = DeliveryRunner(database, integrations, clock, node="any")
    async with database.write() as connection:
        await rows.free_leases(connection)
    for one in integrations.enabled():
        while await runner.step(one.integration_no):
            pass
    await database.close()


def main() -> None:
    asyncio.run(deliver(sys.argv[1]))


if __name__ == "__main__":
    main()
