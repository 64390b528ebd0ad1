"""W5: what an agent costs at rest, and how soon after its start a till can sell.

At rest: enrolled, with its centre in reach, spool and local API on, nothing to send or fetch. Listening: from the
start of the process until the local API answers. The limit is a process with aiohttp and aiosqlite and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

import psutil

from tests.benchmarks.bench import Bench
from tests.benchmarks.result import Figure, at_most, median
from tests.benchmarks.rig import Rig, until
from tests.support.processes import Process, free_port, python

RSS_MAX_MB = 60.0
LISTENING_MAX_S = 1.0
LOOK_S = 0.005
_ASK = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


async def measure(bench: Bench) -> list[Figure]:
    plain, ours = [], []
    with bench.scratch("rest") as folder:
        async with Rig(folder) as rig:
            station = await rig.add("S1-T1")
            for run in bench.runs:
                port = free_port()
                argv = python("-m", "tests.benchmarks.limit_agent", str(folder / f"{run}.db"), str(port))
                plain.append(await _start(Process(f"limit-{run}", argv, folder), port, bench.sizes.rest_s))
                ours.append(await _start(station.process, station.port, bench.sizes.rest_s))
                bench.say(f"W5 run {run + 1}: {ours[-1][0]:.1f} MB, listening after {ours[-1][1]:.2f} s")
    (limit_mb, limit_s), (mb, s) = (
        (median(pair[0] for pair in side), median(pair[1] for pair in side)) for side in (plain, ours)
    )
    return [
        Figure("W5 agent at rest, RSS", mb, limit_mb, at_most(RSS_MAX_MB), "MB"),
        Figure("W5 agent, start to listening", s, limit_s, at_most(LISTENING_MAX_S), "s"),
    ]


async def _start(process: Process, port: int, rest_s: float) -> tuple[float, float]:
    """Start a process, let it rest and stop it: resident megabytes, and seconds until it answered."""
    since = time.perf_counter()
    process.start()
    try:
        answered = await until(
            f"{process.name} answers", lambda: _answers(port), look_s=LOOK_S, deadline_s=30
        )
        await asyncio.sleep(rest_s)
        return psutil.Process(process.pid).memory_info().rss / 1e6, answered - since
    finally:
        await process.stop()


async def _answers(port: int) -> bool:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(_ASK)
        line = await reader.readline()
        writer.close()
        return b" 200 " in line
    return False
