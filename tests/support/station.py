"""A station in this process: the shipped journal, intake and upward line, against a centre in this process or none.

`served(centre)` puts a centre behind a real port; `Station` is one till with its key, its files and its line.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from central.centre import Centre
from central.server import make_app, running
from edge_agent import identity
from edge_agent.config import AgentConfig
from edge_agent.db.journal import Journal
from edge_agent.enrolment import enroll
from edge_agent.intake.accept import Intake
from edge_agent.sync.client import CentreClient, Route
from edge_agent.sync.contact import Contact
from edge_agent.sync.sessions import SessionHolder
from edge_agent.sync.upload import UploadLine
from shared.canonical import canonical
from shared.clock import Clock
from shared.documents.envelope import Accepted
from shared.errors import CounterflowError
from tests.support.centre import add_station
from tests.support.clock import ManualClock

STEPS_MAX = 500


def sale(amount_minor: int = 250, **fields: Any) -> dict[str, Any]:
    """The smallest sale that the models take."""
    return {
        "currency": "EUR",
        "lines": [
            {
                "n": 1,
                "product": "P1",
                "quantity": "1",
                "price_minor": amount_minor,
                "amount_minor": amount_minor,
            }
        ],
        "payments": [{"n": 1, "type": "CASH", "amount_minor": amount_minor}],
        "total_minor": amount_minor,
        **fields,
    }


@asynccontextmanager
async def served(centre: Centre, *, services: bool = False) -> AsyncIterator[str]:
    """The URL of *centre* behind a real port, with its background services if asked for."""
    runner = web.AppRunner(make_app(centre), auto_decompress=False, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        if services:
            async with running(centre):
                yield url
        else:
            yield url
    finally:
        await runner.cleanup()


class Station:
    """One till. `start` is what the agent does at a start: a new epoch, no session."""

    def __init__(
        self, data_dir: Path, url: str, clock: Clock | None = None, *, batch_documents: int = 500
    ) -> None:
        self.data_dir = data_dir
        self.url = url
        self.clock = clock or ManualClock()
        self.batch_documents = batch_documents
        self.contact = Contact()

    async def enroll(
        self, centre: Centre, code: str = "T-1", *, replace: bool = False, **options: Any
    ) -> None:
        config = AgentConfig(data_dir=self.data_dir, server_url=self.url)
        await enroll(config, await add_station(centre, code, replace=replace), clock=self.clock, **options)

    async def start(self) -> None:
        self.me = identity.load(self.data_dir)
        self.journal = await Journal.open(
            self.data_dir / "journal.db", station=self.me.station, clock=self.clock
        )
        self.client = CentreClient(Route(self.url))
        self.sessions = SessionHolder(
            self.me, self.journal, self.client, self.contact, self.clock, {"agent": "test"}
        )
        self.upload = UploadLine(
            self.me,
            self.journal,
            self.client,
            self.sessions,
            self.contact,
            self.clock,
            rest_s=30,
            batch_documents=self.batch_documents,
        )
        self.intake = Intake(
            self.journal,
            store=self.me.record.store,
            zone=self.me.record.zone,
            clock=self.clock,
            contact=self.contact,
            boot="boot",
            grew=asyncio.Event(),
        )

    async def stop(self) -> None:
        await self.client.close()
        await self.journal.close()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def sell(self, count: int = 1, amount_minor: int = 250) -> list[Accepted]:
        body = canonical({"kind": "sale", "payload": sale(amount_minor)})
        return [(await self.intake.accept(body, idempotency_key=None, source="api"))[0] for _ in range(count)]

    async def drain(self) -> int:
        """Step the upward line until it rests; the number of steps."""
        for step in range(1, STEPS_MAX):
            if await self.upload.step() > 0:
                return step
        raise AssertionError(f"the line does not come to rest in {STEPS_MAX} steps")

    async def drain_over(self, failures_max: int = 50) -> list[CounterflowError]:
        """As `drain`, over failures that the endless loop would survive; what they were."""
        failures: list[CounterflowError] = []
        while True:
            try:
                await self.drain()
                return failures
            except CounterflowError as error:
                failures.append(error)
                assert len(failures) < failures_max, failures[-3:]
