"""`python3 run.py demo`: the main job on a real store's data, over real processes, with a table at the end.

`demo erp` is another one: products from a real ERP, sales into it (`tests/demo/erp/play.py`).
Exit code 1 if anything differs: a document lost or doubled, a sum, a digest, a finding of `verify`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.demo import screen
from tests.demo.data import DemoDataError, StoreData, load_store
from tests.demo.screen import console
from tests.demo.story import CURRENCY, Outcome, Story
from tests.support.chain import Chain
from tests.support.postgres import PostgresCluster, PostgresUnavailable

BASKETS = 3_000
STATIONS = 3


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="run.py demo",
        description="The main job, on a real store's sales. `run.py demo erp` plays the exchange with a real ERP.",
    )
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
        with screen.bars() as progress:
            outcome = await Story(chain, data, progress).run()
        outcome.figures["total_s"] = time.monotonic() - started
        if options.json:
            print(json.dumps(as_json(outcome)))
        else:
            show(outcome, data)
        if options.keep:
            await screen.keep(chain, f"drop folder {chain.drop}")
        return outcome


def show(outcome: Outcome, data: StoreData) -> None:
    """The table, then what was lost, doubled, and how long things took."""
    out = screen.result_console()
    out.print(
        screen.balance_table(
            outcome.balance.rows, CURRENCY, "Sold = stored at the centre = delivered", "delivered"
        )
    )
    figures = outcome.figures
    lost, doubled = len(outcome.balance.lost), len(outcome.balance.doubled)
    out.print(f"{lost} lost, {doubled} doubled, {outcome.sold.repeated} answered again")
    for name, equal in outcome.digests_equal.items():
        out.print(f"catalog of {name}: {'equal to HQ' if equal else '[red]DIFFERS'}")
    screen.print_findings(out, outcome.findings)
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
        "findings": outcome.findings,
        "prices_live": outcome.prices_live,
        "figures": outcome.figures,
    }


def main() -> int:
    if sys.argv[1:2] == ["erp"]:
        from tests.demo.erp.play import main as play_erp

        return play_erp(sys.argv[2:])
    options = arguments(sys.argv[1:])

    async def play(folder: Path) -> bool:
        return (await demonstrate(options, folder)).holds

    return screen.run_to_end(play, (DemoDataError, PostgresUnavailable))


if __name__ == "__main__":
    sys.exit(main())
