"""`python3 run.py demo`: the main job on a real store's data, over real processes, with a table at the end.

Exit code 1 if anything differs: a document lost or doubled, a sum, a digest, a finding of `verify`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.demo.data import DemoDataError, StoreData, load_store
from tests.demo.story import CURRENCY, Outcome, Story
from tests.support.chain import Chain
from tests.support.postgres import PostgresCluster, PostgresUnavailable

BASKETS = 3_000
STATIONS = 3
TABLE_WIDTH = 110
console = Console(stderr=True)


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="run.py demo", description="The main job, on a real store's sales.")
    parser.add_argument(
        "--postgres", action="store_true", help="two central nodes on PostgreSQL instead of one on SQLite"
    )
    parser.add_argument(
        "--baskets", type=int, default=BASKETS, help=f"how many real baskets are sold (default {BASKETS})"
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave everything running and print the addresses"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON on stdout")
    return parser.parse_args(argv)


async def demonstrate(options: argparse.Namespace, folder: Path) -> Outcome:
    """Run the story; with --keep, wait for Ctrl-C before anything is stopped."""
    data = await asyncio.to_thread(load_store, options.baskets)
    console.print(
        f"Store {data.store_id}: {len(data.products)} products, {len(data.baskets)} baskets, "
        f"{sum(len(basket.lines) for basket in data.baskets)} lines (dunnhumby, The Complete Journey)"
    )
    async with AsyncExitStack() as stack:
        cluster = None
        if options.postgres:
            cluster = await asyncio.to_thread(stack.enter_context, PostgresCluster())
        started = time.monotonic()
        chain = await stack.enter_async_context(
            Chain(folder, stations=STATIONS, cluster=cluster, nodes=2 if cluster else 1, currency=CURRENCY)
        )
        console.print(
            f"{len(chain.nodes)} central process(es) and {STATIONS} agents run after {time.monotonic() - started:.1f} s"
        )
        outcome = await tell(chain, data)
        outcome.figures["total_s"] = time.monotonic() - started
        if options.json:
            print(json.dumps(as_json(outcome)))
        else:
            show(outcome, data)
        if options.keep:
            await keep(chain)
        return outcome


async def tell(chain: Chain, data: StoreData) -> Outcome:
    columns = (TextColumn("{task.description:<38}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, Any] = {}

        def progress(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=of)
            bars.update(tasks[what], completed=min(done, of), total=of)

        return await Story(chain, data, progress).run()


async def keep(chain: Chain) -> None:
    console.print(f"\ncentre      {chain.url}   key {chain.key}")
    for station in chain.stations:
        console.print(f"{station.code:<11} {station.url}   token in {station.folder / 'token'}")
    console.print(f"drop folder {chain.drop}\nEverything is left running; Ctrl-C stops it.")
    await asyncio.Event().wait()


def money(minor: int) -> str:
    return f"{minor / 100:,.2f}"


def show(outcome: Outcome, data: StoreData) -> None:
    """The table, then what was lost, doubled, and how long things took."""
    table = Table(title="Sold = stored at the centre = delivered", title_justify="left")
    table.add_column("station")
    table.add_column("payment")
    for side in ("sold", "stored", "delivered"):
        table.add_column(side, justify="right")
        table.add_column(CURRENCY, justify="right")
    table.add_column("")
    for row in outcome.balance.rows:
        cells = [
            text
            for side in (row.sold, row.stored, row.delivered)
            for text in (str(side.count), money(side.amount_minor))
        ]
        table.add_row(row.station, row.payment_type, *cells, "equal" if row.balances else "[red]DIFFERS")
    sums = [
        text
        for side in ("sold", "stored", "delivered")
        for text in (
            str(sum(getattr(row, side).count for row in outcome.balance.rows)),
            money(sum(getattr(row, side).amount_minor for row in outcome.balance.rows)),
        )
    ]
    table.add_row("all", "", *sums, "", style="bold")
    out = Console()
    if not out.is_terminal:
        out.width = TABLE_WIDTH  # a file or a pipe has no width of its own
    out.print(table)
    figures = outcome.figures
    lost, doubled = len(outcome.balance.lost), len(outcome.balance.doubled)
    out.print(f"{lost} lost, {doubled} doubled, {outcome.sold.repeated} answered again")
    for name, equal in outcome.digests_equal.items():
        out.print(f"catalog of {name}: {'equal to HQ' if equal else '[red]DIFFERS'}")
    for name, clean in outcome.verified.items():
        out.print(f"verify {name}: {'clean' if clean else '[red]FINDINGS'}")
    out.print(f"the changed prices are live on {outcome.prices_live} stations")
    out.print(
        f"catalog of {len(data.products)} products on all stations in {figures['catalog_s']:.1f} s; "
        f"{figures['backlog_documents']:.0f} documents waited offline and were sent in {figures['backlog_s']:.1f} s, "
        f"500 prices in {figures['prices_s']:.1f} s after the line was back; all in {figures['total_s']:.1f} s"
    )
    out.print("[bold green]everything balances" if outcome.holds else "[bold red]it does not balance")


def as_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "holds": outcome.holds,
        "rows": [asdict(row) for row in outcome.balance.rows],
        "lost": outcome.balance.lost,
        "doubled": outcome.balance.doubled,
        "digests_equal": outcome.digests_equal,
        "verified": outcome.verified,
        "prices_live": outcome.prices_live,
        "figures": outcome.figures,
    }


def main() -> int:
    options = arguments(sys.argv[1:])
    try:
        with tempfile.TemporaryDirectory(prefix="counterflow-demo-", ignore_cleanup_errors=True) as folder:
            outcome = asyncio.run(demonstrate(options, Path(folder)))
    except (DemoDataError, PostgresUnavailable) as error:
        console.print(f"[red]the demo cannot run: {error}")
        return 69
    except KeyboardInterrupt:
        console.print("stopped")
        return 130
    return 0 if outcome.holds else 1


if __name__ == "__main__":
    sys.exit(main())
