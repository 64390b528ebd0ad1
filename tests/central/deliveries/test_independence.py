"""A slow or absent system delays nobody: no other integration, no station, no document's way into rows."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from central.connectors.base import Answer, Batch
from central.server import running
from tests.central.deliveries.test_from_till_to_file import lines_in, sale
from tests.support.centre import enrolled, open_centre
from tests.support.scripted_connector import SCRIPTED, SYSTEMS, System

DEADLINE_S = 60


async def test_a_system_that_hangs_delays_nobody(database_url: str, tmp_path: Path):
    """One system takes a request and never answers, one is away: pushes are acknowledged, a third gets every sale."""
    folder = tmp_path / "drop"
    SYSTEMS["hangs"], SYSTEMS["away"] = System(), System(*["away"] * 1_000)
    began = asyncio.Event()
    async with open_centre(database_url, tmp_path) as centre:
        centre.integrations._kinds = {**centre.integrations._kinds, **SCRIPTED}
        for name in ("hangs", "away"):
            await centre.integrations.create(name, "scripted", {"account": name}, ["sale"], from_ms=0)
        hanging: Any = centre.integrations.connector(await centre.integrations.get("hangs"))

        async def hang(batch: Batch) -> Answer:
            began.set()
            await asyncio.Event().wait()
            raise AssertionError("unreachable")

        hanging.deliver, hanging.timeout_s = hang, 600.0
        await centre.integrations.create("files", "drop_folder", {"folder": str(folder)}, ["sale"], from_ms=0)
        async with running(centre):
            station = await enrolled(centre)
            await station.push(centre, [sale(1)])
            await asyncio.wait_for(began.wait(), DEADLINE_S)
            until = time.monotonic() + DEADLINE_S
            for number in range(2, 22):
                await asyncio.wait_for(station.push(centre, [sale(number)]), 10)
            while len(lines_in(folder)) < 21:
                assert time.monotonic() < until, f"{len(lines_in(folder))} lines of 21"
                await asyncio.sleep(0.05)
        assert (SYSTEMS["hangs"].effects, SYSTEMS["away"].effects) == ([], [])
