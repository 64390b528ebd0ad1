"""A centre that really listens, and HQ's way in: an admin key and requests in the protocol's frame."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from central.centre import Centre
from central.cli.client import AdminClient
from central.config import Config
from central.server import listen, make_app
from shared import journal
from shared.canonical import canonical
from shared.protocol.messages import Report
from tests.support import yardstick_sales
from tests.support.centre import HandStation, add_station, open_centre

ZONE = "Europe/Paris"


@dataclass(frozen=True, slots=True)
class HQ:
    """A listening centre, its address, an admin key and a client that holds it."""

    centre: Centre
    url: str
    key: str
    client: AdminClient
    session: aiohttp.ClientSession

    def with_key(self, key: str) -> AdminClient:
        return AdminClient(self.session, self.url, key)


@asynccontextmanager
async def open_hq(database_url: str, tmp_path: Path, **settings: Any) -> AsyncIterator[HQ]:
    """A centre on a port of its own with one admin key, `boss`."""
    async with open_centre(database_url, tmp_path, **settings) as centre:
        key = await centre.keys.create("boss", "admin", who="test")
        config = Config(database_url=database_url, data_dir=tmp_path, port=0)
        runner, port = await listen(make_app(centre), config)
        url = f"http://127.0.0.1:{port}"
        try:
            async with aiohttp.ClientSession(auto_decompress=False) as session:
                yield HQ(centre, url, key, AdminClient(session, url, key), session)
        finally:
            await runner.cleanup()


async def sell(
    centre: Centre, code: str, count: int, *, start: int = 0, number: int = 1, apply: bool = True
) -> HandStation:
    """A station with *count* sales of its own that the centre has taken, applied unless told otherwise."""
    station = HandStation(code)
    await station.enroll(centre, await add_station(centre, code))
    await station.sign_in(centre)
    await push(centre, station, list(yardstick_sales.documents(count, code, number, start)))
    if apply:
        await centre.applier.drain()
    return station


async def push(centre: Centre, station: HandStation, documents: list[tuple[bytes, bytes]]) -> None:
    """Hand over documents as the station's next ones."""
    for start in range(0, len(documents), journal.BATCH_MAX_DOCUMENTS):
        envelope, lines = station.batch(documents[start : start + journal.BATCH_MAX_DOCUMENTS])
        await centre.intake.push(centre.session(station.token), envelope, lines)


async def report(centre: Centre, code: str, **fields: Any) -> None:
    """What a station tells about itself, taken in as its report is."""
    from central.db import registry

    sent = Report.model_validate({"scopes": [], "backlog": 0, "clock_ms": 0, **fields})
    async with centre.database.read() as connection:
        station = await registry.station_by_code(connection, code)
    assert station is not None
    await centre.catalog.reports.take(station.station_no, canonical(sent.model_dump(mode="json")), sent)
