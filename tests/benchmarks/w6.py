"""W6: the line of fifty stations comes back at once, each with 200 sales: in pushes of 20, and one by one.

One process drives the stations with the shipped journal, intake and client; the pushes lie sealed, signed and packed,
since fifty machines would do that by themselves. The clock stops when all sales are rows with their deliveries.
"""

from __future__ import annotations

import time

from tests.benchmarks.bench import Bench
from tests.benchmarks.result import Figure, at_least, at_most, median, percentile
from tests.benchmarks.rig import Fleet, Rig

# Of W2's limit, which writes in transactions of 500. One by one: 3,000 where pushes of 20 reach 7,500.
RATIOS = {20: 0.5, 1: 0.2}
P99_MS = {20: 200.0, 1: 40.0}
NAMES = {20: "in pushes of 20", 1: "one by one"}


async def measure(bench: Bench) -> list[Figure]:
    limit = await bench.replay_limit("sqlite")
    figures = []
    for size, ratio in RATIOS.items():
        rates, waits_ms = [], []
        for run in bench.runs:
            rate, p99_ms = await _race(bench, size)
            rates.append(rate)
            waits_ms.append(p99_ms)
            bench.say(f"W6 {NAMES[size]} run {run + 1}: {rate:,.0f} sales/s, p99 {p99_ms:.0f} ms")
        name = f"W6 {bench.sizes.stations} stations {NAMES[size]}"
        figures.append(Figure(name, median(rates), limit, at_least(ratio * limit), "sales/s"))
        figures.append(Figure(f"{name}, p99", median(waits_ms), None, at_most(P99_MS[size]), "ms"))
    return figures


async def _race(bench: Bench, size: int) -> tuple[float, float]:
    """Sales a second until all are queryable, and the 99th of 100 waits for an answer in milliseconds."""
    count = bench.sizes.stations * bench.sizes.sales_each
    with bench.scratch(f"fifty-by-{size}") as folder:
        async with Rig(folder) as rig:
            spec = await rig.fleet(bench.sizes.stations, sales_each=bench.sizes.sales_each, batch=size)
            async with Fleet.started("push", spec) as fleet:
                await fleet.ready()
                since = time.perf_counter()
                fleet.go()
                await rig.rows.wait_for_documents(count)
                seconds = time.perf_counter() - since
                waits_s = (await fleet.result())["waits_s"]
            await rig.rows.check_documents(count)
    return count / seconds, percentile(waits_s, 0.99) * 1000
