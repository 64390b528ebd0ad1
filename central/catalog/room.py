"""The parts of the catalog put together: what the rest of the centre holds of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from central.catalog.changes import Pages
from central.catalog.feed import Feed
from central.catalog.publish import Publisher
from central.catalog.reports import Reports
from central.catalog.rollout import Rollouts
from central.catalog.scopes import StationScopes
from central.catalog.snapshots import Snapshots
from central.catalog.wakeups import Wakeups
from central.db.database import Database
from shared.clock import Clock


class CatalogRoom:
    """The catalog of one node.

    Args:
        data_dir: copies of snapshots are kept in a folder of it.
        node: this process's name among all nodes, for leases.
    """

    def __init__(self, database: Database, clock: Clock, data_dir: Path, node: str) -> None:
        self.publisher = Publisher(database)
        self.scopes = StationScopes(database, clock)
        self.pages = Pages(database)
        self.snapshots = Snapshots(database, clock, data_dir / "snapshots", node)
        self.wakeups = Wakeups(database, clock, self.scopes)
        self.reports = Reports(database)
        self.feed = Feed(database)
        self.rollouts = Rollouts(database)
        self.publisher.listeners += [self.wakeups.published, self.snapshots.published]

    async def run(self) -> None:
        """Wake waiting stations and build snapshots, for as long as the node lives."""
        async with asyncio.TaskGroup() as parts:
            parts.create_task(self.wakeups.run(), name="wakeups")
            parts.create_task(self.snapshots.run(), name="snapshots")
