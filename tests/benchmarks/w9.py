"""W9: a full comparison of 100,000 items that finds 1,000 changes, beyond what the source itself takes.

The source is in memory and hands over pages of 2,000; going over them and nothing else is the source's own time. Both
are counted in processor time, so other work on the machine does not matter.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from central.connectors.base import Read
from central.integrations.pulls import Pulls
from tests.benchmarks import items
from tests.benchmarks.bench import Bench
from tests.benchmarks.result import Figure, at_most, median
from tests.central.integrations.conftest import Centre
from tests.support.clock import ManualClock
from tests.support.outgoing import open_database

AIM_S = 5.0
PAGE = 2_000
FIELDS = {
    "code": "{{ code }}",
    "name": "{{ name }}",
    "short_name": "{{ short_name }}",
    "barcodes": "{{ barcodes }}",
    "unit": {"value": "{{ unit }}", "map": {"kg": "kg", "pcs": "pcs", "l": "l", "pack": "pk"}},
    "group": "{{ group }}",
    "tax_rate": "{{ tax_rate }}",
    "min_age": "{{ min_age }}",
}


async def measure(bench: Bench) -> list[Figure]:
    ours, limits = [], []
    for run in bench.runs:
        with bench.scratch("w9") as folder:
            taken_s, source_s = await _one(bench, folder)
        ours.append(taken_s - source_s)
        limits.append(source_s)
        bench.say(f"W9 run {run + 1}: {ours[-1]:.2f} s beyond the source's {source_s:.2f} s")
    return [Figure("W9 full comparison", median(ours), None, at_most(AIM_S), "s")]


async def _one(bench: Bench, folder: Path) -> tuple[float, float]:
    clock = ManualClock()
    database = await open_database(f"sqlite+aiosqlite:///{folder / 'central.db'}", clock)
    try:
        centre = Centre(database, clock)
        for number in range(bench.sizes.items):
            centre.shop.put("prices", _record(number))
        pull: dict[str, Any] = {"source": "prices", "fields": FIELDS, "page": PAGE, "full_every": "24h"}
        await centre.connect(pull)
        await centre.until_idle()
        report = await centre.report()
        assert report["new"] == bench.sizes.items, str(report)[:2000]
        for number in items.changed(bench.sizes.changed, bench.sizes.items, 1):
            record = _record(number)
            centre.shop.records["prices"][str(number)] = record | {"name": record["name"] + " new"}
        clock.move(24 * 3_600)
        seconds = await _run(centre.node())
        report = await centre.report()
        assert (report["full"], report["updated"]) == (True, bench.sizes.changed)
        return seconds, await _source_only(centre)
    finally:
        await database.close()


async def _run(node: Pulls) -> float:
    since = time.process_time()
    assert await node.step(1)
    return time.process_time() - since


async def _source_only(centre: Centre) -> float:
    connector = centre.integrations.connector(await centre.integrations.get("erp"))
    since = time.process_time()
    async for page in connector.read(Read("prices", page=PAGE)):
        assert page.records
    return time.process_time() - since


def _record(number: int) -> dict[str, Any]:
    return {"id": number, **items.payload(number)}
