"""W3: an empty station gets 100,000 items. When do codes and barcodes answer, when do names?

By file: a new agent, its centre held with the agent's first request waiting; the clock starts when the centre wakes.
By rows: the same through pages of changes, as if there were no snapshot. The limit inserts the same items plainly.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from functools import partial
from pathlib import Path
from typing import Any

import pysqlite3 as sqlite3

from tests.benchmarks import items, limits
from tests.benchmarks.bench import Bench
from tests.benchmarks.result import Figure, at_least, at_most, median
from tests.benchmarks.rig import Fleet, Rig, Unfinished, until
from tests.support.chain import Station

FILE_RATIO = 1.4
ROWS_RATIO = 0.5
NAMES_MAX_S = 2.0


async def measure(bench: Bench) -> list[Figure]:
    products = [items.payload(number) for number in range(bench.sizes.items)]
    limit = await plain_rate(bench, products)
    by_file, by_rows, names_s = [], [], []
    with bench.scratch("first-load") as folder:
        async with Rig(folder) as rig:
            head = await rig.publish("items", products, "complete")
            await until("the snapshot is built", partial(rig.snapshot_is_built, head), look_s=0.1)
            for run in bench.runs:
                file_s, name_s = await _load_by_file(rig, f"S1-T{run + 1}", head, products[-1])
                rows_s = await _load_by_rows(rig, head)
                by_file.append(len(products) / file_s)
                by_rows.append(len(products) / rows_s)
                names_s.append(name_s)
                bench.say(
                    f"W3 run {run + 1}: {file_s:.2f} s by file, names {name_s:.2f} s later, {rows_s:.2f} s by rows;"
                    f" limit {len(products) / limit:.2f} s"
                )
    return [
        Figure("W3 first load by file", median(by_file), limit, at_least(FILE_RATIO * limit), "items/s"),
        Figure("W3 first load by rows", median(by_rows), limit, at_least(ROWS_RATIO * limit), "items/s"),
        Figure("W3 name index after the load", median(names_s), None, at_most(NAMES_MAX_S), "s"),
    ]


async def plain_rate(bench: Bench, products: list[dict[str, Any]]) -> float:
    """Items a second that plain code inserts."""
    rows = [items.row(product) for product in products]
    rates = []
    for _ in bench.runs:
        with bench.scratch("insert-limit") as folder:
            seconds = await asyncio.to_thread(limits.insert_items, folder / "limit.db", rows)
        rates.append(len(rows) / seconds)
    return median(rates)


async def _load_by_file(rig: Rig, code: str, head: int, product: dict[str, Any]) -> tuple[float, float]:
    """Seconds until codes and barcodes answer, and how much later names do."""
    station = await rig.add(code)
    rig.pause(rig.nodes[0])
    await station.start()
    with contextlib.closing(reader(station)) as catalog:
        since = time.perf_counter()
        rig.resume(rig.nodes[0])
        loaded = await until("the items are there", partial(holds, catalog, head))
        named = await until("the names are indexed", partial(_is_named, catalog))
    await look_up(station, product)
    await station.process.stop()
    return loaded - since, named - loaded


async def _load_by_rows(rig: Rig, head: int) -> float:
    spec = await rig.fleet(1, by_rows=True)
    async with Fleet.started("load", spec) as fleet:
        await fleet.ready()
        fleet.go(head)
        return float((await fleet.result())["seconds"])


def reader(station: Station) -> sqlite3.Connection:
    """The station's catalog.db, read beside it."""
    path: Path = station.folder / "catalog.db"
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)


async def holds(catalog: sqlite3.Connection, head: int) -> bool:
    """Whether everything up to *head* is applied."""
    row = catalog.execute("SELECT seq FROM scopes WHERE scope = 'base'").fetchone()
    return row is not None and row[0] >= head


async def _is_named(catalog: sqlite3.Connection) -> bool:
    row = catalog.execute(
        "SELECT (SELECT max(product_no) FROM products) <= names_upto FROM progress"
    ).fetchone()
    return bool(row[0])


async def look_up(station: Station, product: dict[str, Any]) -> None:
    """The till finds the product by code, barcode and name.

    Raises:
        Unfinished: it does not.
    """
    word = product["name"].split()[0]
    for query in (f"code={product['code']}", f"barcode={product['barcodes'][0]}", f"name={word}"):
        answer = await station.get(f"/v1/products?{query}")
        if not answer.get("items"):
            raise Unfinished(f"GET /v1/products?{query} answered {answer}")
