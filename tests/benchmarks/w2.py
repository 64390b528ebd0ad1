"""W2: a station was offline and has 10,000 sales; the line comes back. How soon are they rows at the centre?

The sales are sold through the agent's local API while the centre is held; the clock starts when it wakes and stops
when the last document is durable, applied and has its delivery. Signature, chain, gate and drop folder are on.
"""

from __future__ import annotations

import time
from pathlib import Path

from tests.benchmarks import tills
from tests.benchmarks.bench import Bench
from tests.benchmarks.result import Figure, at_least, at_most, median
from tests.benchmarks.rig import Rig
from tests.support import yardstick_sales as sales
from tests.support.chain import Station
from tests.support.postgres import PostgresCluster, PostgresUnavailable

RATIO = 0.7
WIRE_MAX_MB = 3.0
TILLS = 8


async def measure(bench: Bench) -> list[Figure]:
    figures = [await _rate(bench, "SQLite", "sqlite")]
    if bench.with_postgres:
        try:
            figures.append(await _rate(bench, "PostgreSQL", "postgres"))
        except PostgresUnavailable as reason:
            bench.say(f"W2 on PostgreSQL is left out: {reason}")
    with bench.scratch("replay-wire") as folder:
        replay_s, wire_bytes = await replay(folder, None, bench.sizes.backlog, counted=True)
    bench.say(f"W2 through the counting proxy: {replay_s:.2f} s, {wire_bytes:,} bytes up")
    # Per 10,000 sales, whatever the size of this run.
    megabytes = wire_bytes / 1e6 * 10_000 / bench.sizes.backlog
    figures.append(Figure("W2 bytes on the wire, 10,000 sales", megabytes, None, at_most(WIRE_MAX_MB), "MB"))
    return figures


async def _rate(bench: Bench, name: str, kind: str) -> Figure:
    count = bench.sizes.backlog
    rates = []
    async with bench.database(kind) as cluster:
        limit = await bench.replay_limit(kind)
        for run in bench.runs:
            with bench.scratch(f"replay-{kind}") as folder:
                seconds, _ = await replay(folder, cluster, count)
            rates.append(count / seconds)
            bench.say(f"W2 {name} run {run + 1}: {rates[-1]:,.0f} sales/s, limit {limit:,.0f}")
    return Figure(f"W2 replay of a backlog, {name}", median(rates), limit, at_least(RATIO * limit), "sales/s")


async def replay(
    folder: Path, cluster: PostgresCluster | None, count: int, *, counted: bool = False
) -> tuple[float, int]:
    """Seconds from the line's return until all is queryable, and bytes sent up."""
    async with Rig(folder, cluster) as rig:
        station = await rig.add("S1-T1", counted=counted)
        await station.start()
        # One sale first: session, imports and connections are there in a shop that was online this morning.
        await tills.sell(station.port, [requests(station, 1, start=count)])
        await rig.rows.wait_for_documents(1)
        before = station.proxy.counters.bytes_up
        rig.pause(rig.nodes[0])
        each = -(-count // TILLS)
        parts = [requests(station, min(each, count - start), start) for start in range(0, count, each)]
        await tills.sell(station.port, parts)
        since = time.perf_counter()
        rig.resume(rig.nodes[0])
        await station.sync()  # ends a pause, should the agent have given up on the held centre meanwhile
        await rig.rows.wait_for_documents(count + 1)
        seconds = time.perf_counter() - since
        await rig.rows.check_documents(count + 1)
        return seconds, station.proxy.counters.bytes_up - before


def requests(station: Station, count: int, start: int = 0) -> list[bytes]:
    """Sales as a till of this station posts them."""
    return [
        tills.post(
            station.port,
            "/v1/documents",
            body,
            {**station.headers(), "Idempotency-Key": f"sale-{number}"},
        )
        for number, body in enumerate(sales.submissions(count, start=start), start)
    ]
