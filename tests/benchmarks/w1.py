"""W1: a sale is made durable on the station, one at a time; the customer waits for it.

In process: the one door (`Intake.accept`) with all its checks. By local HTTP: the shipped agent, its centre out of
reach, with one till and with eight. The limits write document and rows with nothing around them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from edge_agent.db.journal import Journal
from edge_agent.intake.accept import Intake
from edge_agent.sync.contact import Contact
from shared.clock import SystemClock
from tests.benchmarks import limits, tills
from tests.benchmarks.bench import Bench
from tests.benchmarks.result import Figure, at_least, at_most, median, percentile
from tests.benchmarks.rig import Rig
from tests.support import yardstick_sales as sales
from tests.support.processes import Process, free_port, python

RATIO = 0.8
P99_MAX_MS = 5.0
WARM_UP = 50
TILLS = {1: "one till", 8: "eight tills"}


async def measure(bench: Bench) -> list[Figure]:
    return [*await _in_process(bench), *await _by_http(bench)]


async def _in_process(bench: Bench) -> list[Figure]:
    count = bench.sizes.commits
    plain, ours = [], []
    for run in bench.runs:
        with bench.scratch("commits") as folder:
            plain.append(count / await asyncio.to_thread(limits.commit_sales, folder / "limit.db", count))
            ours.append(count / await _accept(folder, count))
        bench.say(f"W1 in process run {run + 1}: {ours[-1]:,.0f} sales/s, limit {plain[-1]:,.0f}")
    limit = median(plain)
    return [Figure("W1 commit, in process", median(ours), limit, at_least(RATIO * limit), "sales/s")]


async def _accept(folder: Path, count: int) -> float:
    """Seconds that *count* sales take through the one door, each after the one before."""
    journal = await Journal.open(folder / "journal.db", station="S1-T1", clock=SystemClock())
    intake = Intake(
        journal,
        store="S1",
        zone="Europe/Berlin",
        clock=SystemClock(),
        contact=Contact(),
        boot="bench",
        grew=asyncio.Event(),
    )
    documents = list(sales.submissions(count + WARM_UP))
    try:
        for number, document in enumerate(documents):
            if number == WARM_UP:
                since = time.perf_counter()
            await intake.accept(document, idempotency_key=f"sale-{number}", source="api")
        return time.perf_counter() - since
    finally:
        await journal.close()


async def _by_http(bench: Bench) -> list[Figure]:
    plain: dict[int, list[tills.Selling]] = {number: [] for number in TILLS}
    ours: dict[int, list[tills.Selling]] = {number: [] for number in TILLS}
    for _ in bench.runs:
        with bench.scratch("http") as folder:
            await _plain_server(folder, bench, plain)
            await _agent(folder, bench, ours)
    figures = []
    for number, name in TILLS.items():
        limit, rate = (median(_rate(run) for run in side[number]) for side in (plain, ours))
        limit_ms, p99_ms = (median(_p99_ms(run) for run in side[number]) for side in (plain, ours))
        bench.say(f"W1 by HTTP, {name}: {rate:,.0f} sales/s, limit {limit:,.0f}")
        figures.append(Figure(f"W1 commit, HTTP, {name}", rate, limit, at_least(RATIO * limit), "sales/s"))
        figures.append(Figure(f"W1 commit, HTTP, {name}, p99", p99_ms, limit_ms, at_most(P99_MAX_MS), "ms"))
    return figures


async def _plain_server(folder: Path, bench: Bench, results: dict[int, list[tills.Selling]]) -> None:
    port = free_port()
    argv = python("-m", "tests.benchmarks.limit_server", str(folder / "limit.db"), str(port))
    async with Process("limit", argv, folder) as process:
        await process.wait_until_healthy(f"http://127.0.0.1:{port}")
        await _sell(port, lambda _: {}, bench, results)


async def _agent(folder: Path, bench: Bench, results: dict[int, list[tills.Selling]]) -> None:
    async with Rig(folder) as rig:
        station = await rig.add("S1-T1")
        await rig.nodes[0].stop()  # selling never needs the centre, and the centre would need the processor
        await station.start()
        token = station.headers()
        await _sell(station.port, lambda key: {**token, "Idempotency-Key": key}, bench, results)


async def _sell(
    port: int,
    headers: Callable[[str], Mapping[str, str]],
    bench: Bench,
    results: dict[int, list[tills.Selling]],
) -> None:
    start = 0

    def requests(count: int) -> list[bytes]:
        nonlocal start
        start += count
        return [
            tills.post(port, "/v1/documents", body, headers(f"sale-{number}"))
            for number, body in enumerate(sales.submissions(count, start=start - count), start - count)
        ]

    await tills.sell(port, [requests(WARM_UP)])
    for number in TILLS:
        each = bench.sizes.http_commits // max(TILLS)
        results[number].append(await tills.sell(port, [requests(each) for _ in range(number)]))


def _rate(run: tills.Selling) -> float:
    return len(run.waits_s) / run.seconds


def _p99_ms(run: tills.Selling) -> float:
    return percentile(run.waits_s, 0.99) * 1000
