"""W4: HQ changes 1,000 of 100,000 items. How soon are they on one station, on fifty at once, and what does HQ pay?

One station: an agent with a full store, held while HQ publishes; the clock starts when it wakes, its wake-up from the
centre already waiting. Fifty: one process with the shipped client and catalog, into full and into empty stores. The
limit upserts the same items plainly, store after store.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tests.benchmarks import items, limits
from tests.benchmarks.bench import Bench
from tests.benchmarks.result import Figure, at_most, median
from tests.benchmarks.rig import Fleet, Rig, until
from tests.benchmarks.w3 import holds, reader
from tests.support.chain import Station

ONE_RATIO = 2.5
EMPTY_RATIO = 2.5
FULL_RATIO = 2.9
"""2.6 s where the plain upsert takes fifty times 18 ms."""
CENTRE_CPU_MAX_S = 0.05
"""For fifty stations: the delta is encoded once."""

Products = Sequence[dict[str, Any]]


async def measure(bench: Bench) -> list[Figure]:
    products = [items.payload(number) for number in range(bench.sizes.items)]
    with bench.scratch("upsert-limit") as folder:
        one, full, empty = await asyncio.to_thread(_limits, folder, bench, products)
    with bench.scratch("full-stores") as folder:
        async with Rig(folder) as rig:
            head = await rig.publish("items", list(products), "complete")
            await until("the snapshot is built", partial(rig.snapshot_is_built, head), look_s=0.1)
            station = await rig.add("S1-T1")
            ours = await _one_station(bench, rig, station)
            fifty, cpu_s = await _full_stores(bench, rig, station)
    fifty_empty = [await _empty_stores(bench, _changes(bench, version)) for version in bench.runs]
    count = bench.sizes.stations
    return [
        Figure("W4 delta, one full station", ours * 1000, one * 1000, at_most(ONE_RATIO * one * 1000), "ms"),
        Figure(f"W4 delta, {count} full stations", fifty, full, at_most(FULL_RATIO * full), "s"),
        Figure(
            f"W4 delta, {count} empty stations", median(fifty_empty), empty, at_most(EMPTY_RATIO * empty), "s"
        ),
        Figure(f"W4 delta, centre's CPU for {count}", cpu_s, None, at_most(CENTRE_CPU_MAX_S), "s"),
    ]


def _changes(bench: Bench, version: int) -> Products:
    changed = items.changed(bench.sizes.changed, bench.sizes.items, version)
    return [items.payload(number, version + 1) for number in changed]


def _limits(folder: Path, bench: Bench, products: Products) -> tuple[float, float, float]:
    """Seconds of the plain upsert: one full store, fifty full ones, fifty empty ones."""
    full = folder / "full.db"
    limits.insert_items(full, [items.row(product) for product in products])
    limits.insert_items(folder / "empty.db", [])
    seconds: list[tuple[float, float, float]] = []
    for version in bench.runs:
        rows = [items.row(product) for product in _changes(bench, version)]
        many = {}
        for name in ("full", "empty"):
            stores = [folder / f"{name}-{number}.db" for number in range(bench.sizes.stations)]
            for store in stores:
                shutil.copy(folder / f"{name}.db", store)
            many[name] = sum(limits.upsert_items(store, rows) for store in stores)
            for store in stores:
                store.unlink()
        seconds.append((limits.upsert_items(full, rows), many["full"], many["empty"]))
    return (
        median(run[0] for run in seconds),
        median(run[1] for run in seconds),
        median(run[2] for run in seconds),
    )


async def _one_station(bench: Bench, rig: Rig, station: Station) -> float:
    """Seconds until a held agent has what was published meanwhile."""
    await station.start()
    head = await rig.rows.head("base")
    with contextlib.closing(reader(station)) as catalog:
        await until("the items are there", partial(holds, catalog, head))
        seconds = []
        for version in bench.runs:
            await asyncio.sleep(
                bench.sizes.rest_s
            )  # the agent puts the last load away and waits at the centre
            rig.pause(station.process)
            head = await rig.publish(f"one-{version}", list(_changes(bench, version)), "changes")
            await asyncio.sleep(bench.sizes.rest_s)  # the centre is done with the publication
            since = time.perf_counter()
            rig.resume(station.process)
            arrived = await until("the changes are there", partial(holds, catalog, head), look_s=0.001)
            seconds.append(arrived - since)
            bench.say(f"W4 one station, run {version + 1}: {seconds[-1] * 1000:.0f} ms")
    await station.process.stop()
    return median(seconds)


async def _full_stores(bench: Bench, rig: Rig, station: Station) -> tuple[float, float]:
    """Seconds until fifty full stores have the changes, and the centre's processor seconds."""
    spec = await rig.fleet(bench.sizes.stations)
    await asyncio.to_thread(_copy_catalog, station.folder, spec)
    seconds, cpu_s = [], []
    async with Fleet.started("load", spec) as fleet:
        for version in bench.runs:
            await fleet.ready()
            head = await rig.publish(
                f"fifty-{version}", list(_changes(bench, version + bench.sizes.runs)), "changes"
            )
            await asyncio.sleep(bench.sizes.rest_s)
            before_s = rig.cpu_s(rig.nodes[0])
            fleet.go(head)
            seconds.append(float((await fleet.result())["seconds"]))
            cpu_s.append(rig.cpu_s(rig.nodes[0]) - before_s)
            bench.say(
                f"W4 fifty full, run {version + 1}: {seconds[-1]:.2f} s, centre's CPU {cpu_s[-1]:.2f} s"
            )
    return median(seconds), median(cpu_s)


def _copy_catalog(source: Path, spec: Any) -> None:
    """Give every station of a fleet the catalog of *source*, whose agent has ended."""
    for code in spec.stations:
        target = Path(spec.folder) / code
        target.mkdir(parents=True)
        shutil.copy(source / "catalog.db", target / "catalog.db")


async def _empty_stores(bench: Bench, products: Products) -> float:
    """Seconds until fifty stores that had nothing have the same rows, at a centre that has no others."""
    with bench.scratch("empty-stores") as folder:
        async with Rig(folder) as rig:
            spec = await rig.fleet(bench.sizes.stations)
            async with Fleet.started("load", spec) as fleet:
                await fleet.ready()
                head = await rig.publish("first", list(products), "changes")
                await asyncio.sleep(bench.sizes.rest_s)
                fleet.go(head)
                seconds = float((await fleet.result())["seconds"])
                bench.say(f"W4 fifty empty: {seconds:.2f} s")
                return seconds
