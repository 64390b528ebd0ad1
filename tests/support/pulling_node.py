"""A node that only pulls, from the emulator: `python -m tests.support.pulling_node <url> <name> <folder>`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from central.centre import Centre
from central.config import Config
from central.connectors import CONNECTORS
from central.integrations import pulls
from tests.support.emulator_connector import EmulatorConnector

pulls.LEASE_S, pulls.PROLONG_S = 2.0, 0.5
"""A lease of a dead node ends within the test."""


async def pull(url: str, node: str, folder: Path) -> None:
    CONNECTORS["emulator"] = EmulatorConnector
    centre = await Centre.open(Config(database_url=url, data_dir=folder))
    runner = pulls.Pulls(centre.ports, centre.integrations, centre.clock, node=node)
    async with asyncio.TaskGroup() as parts:
        parts.create_task(centre.integrations.run())
        parts.create_task(runner.run())


def main() -> None:
    asyncio.run(pull(sys.argv[1], sys.argv[2], Path(sys.argv[3])))


if __name__ == "__main__":
    main()
