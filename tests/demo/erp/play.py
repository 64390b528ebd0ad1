"""`python3 run.py demo erp`: a real ERP's goods on three stations, and their sales in the ERP, each exactly once.

Exit code 1 if anything differs: a row of a station, a document lost or doubled, a sum, a digest, a finding of `verify`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from tests.demo import screen
from tests.demo.erp.days import Days, load_days
from tests.demo.erp.made_up import make_days
from tests.demo.erp.office import CURRENCY, Office
from tests.demo.erp.story import DayResult, Outcome, Story
from tests.demo.screen import Tell, console
from tests.support.chain import Chain
from tests.support.postgres import PostgresCluster, PostgresUnavailable
from tests.support.proxy import FaultProxy
from tests.support.tryton import TrytonServer, TrytonUnavailable, make_template
from tests.support.tryton_process import DATABASE, PASSWORD

PRODUCTS, DOCUMENTS, STATIONS = 2_000, 500, 3
DROP_EVERY = 3


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="run.py demo erp",
        description="Three days of a real Tryton's products on three stations; their sales in Tryton, exactly once.",
    )
    parser.add_argument(
        "--postgres", action="store_true", help="two central nodes on PostgreSQL instead of one on SQLite"
    )
    parser.add_argument(
        "--products", type=int, default=PRODUCTS, help=f"how many on the first day (default {PRODUCTS})"
    )
    parser.add_argument(
        "--documents", type=int, default=DOCUMENTS, help=f"sales and returns (default {DOCUMENTS})"
    )
    parser.add_argument(
        "--drop-every",
        type=int,
        default=DROP_EVERY,
        help=f"of so many answers of Tryton one is lost while sales go in (default {DROP_EVERY})",
    )
    parser.add_argument(
        "--tryton", type=Path, help="a database that was made before; else a minute to make one"
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave everything running and print the addresses"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON on stdout")
    options = parser.parse_args(argv)
    for name, least in (("products", 3), ("documents", 1), ("drop_every", 2)):
        if getattr(options, name) < least:
            parser.error(f"--{name.replace('_', '-')} is {getattr(options, name)}; ask for at least {least}")
    return options


async def demonstrate(options: argparse.Namespace, folder: Path) -> Outcome:
    """Run the story; with --keep, wait for Ctrl-C before anything is stopped."""
    days = await asyncio.to_thread(load_days, options.products) or make_days(options.products)
    console.print(f"{options.products} products on the first day, {days.origin}")
    started = time.monotonic()
    async with AsyncExitStack() as stack:
        with screen.bars() as tell:
            template = options.tryton or await prepared(folder, tell)
            cluster = None
            if options.postgres:
                cluster = await asyncio.to_thread(stack.enter_context, PostgresCluster())
            tryton = await stack.enter_async_context(TrytonServer(folder / "tryton", template))
            line = await stack.enter_async_context(FaultProxy(tryton.url))
            chain = await stack.enter_async_context(
                Chain(
                    folder / "chain",
                    stations=STATIONS,
                    cluster=cluster,
                    nodes=2 if cluster else 1,
                    currency=CURRENCY["code"],
                    has_drop=False,
                )
            )
            tell("Tryton, centre and stations run", 1, 1)
            story = Story(
                chain,
                Office(tryton, tell),
                line,
                days,
                tell,
                documents=options.documents,
                drop_every=options.drop_every,
            )
            outcome = await story.run()
        outcome.figures["total_s"] = time.monotonic() - started
        if options.json:
            print(json.dumps(as_json(outcome)))
        else:
            show(outcome, days)
        if options.keep:
            await screen.keep(
                chain, f'Tryton      {tryton.url}   database {DATABASE}, user admin, password "{PASSWORD}"'
            )
        return outcome


async def prepared(folder: Path, tell: Tell) -> Path:
    tell("Tryton's database is made", 0, 1)
    (folder / "template").mkdir()
    template = await asyncio.to_thread(make_template, folder / "template")
    tell("Tryton's database is made", 1, 1)
    return template


def show(outcome: Outcome, days: Days) -> None:
    """The table of days, the table of sums, then what was lost, doubled, and how long things took."""
    out = screen.result_console()
    out.print(days_table(outcome.days))
    title = "Sold = stored at the centre = in Tryton"
    out.print(screen.balance_table(outcome.balance.rows, CURRENCY["code"], title, "in Tryton"))
    lost, doubled = len(outcome.balance.lost), len(outcome.balance.doubled)
    out.print(
        f"{len(outcome.tally.doc_ids)} documents: {lost} lost, {doubled} doubled, "
        f"{outcome.sold.strangers} sales that are nobody's; {outcome.sold.drafts} drafts without effect"
    )
    out.print(f"{outcome.dropped} answers of Tryton were dropped, of {outcome.requests} requests in all")
    for name, equal in outcome.digests_equal.items():
        out.print(f"catalog of {name}: {'equal to HQ' if equal else '[red]DIFFERS'}")
    screen.print_findings(out, outcome.findings)
    figures = outcome.figures
    out.print(
        f"all sales in Tryton {figures['after_last_sale_s']:.1f} s after the last one; "
        f"all in {figures['total_s']:.1f} s"
    )
    out.print("[bold green]everything balances" if outcome.holds else "[bold red]it does not balance")


def days_table(days: list[DayResult]) -> Table:
    table = Table(title="Entered in Tryton = on the stations, row for row", title_justify="left")
    for name in ("day", "new", "priced", "renamed", "gone", "back", "kept*", "rows", "read", "live s"):
        table.add_column(name, justify="right")
    table.add_column("stations")
    table.caption = "* products of a shop that is missing in the day's file"
    table.caption_justify = "left"
    for number, day in enumerate(days, 1):
        change = day.change
        counts = [len(part) for part in (change.new, change.priced, change.renamed, change.gone, change.back)]
        equal = sum(day.equal.values())
        table.add_row(
            str(number),
            *map(str, counts),
            str(sum(change.missing.values())),
            f"2 x {day.rows}",
            f"{day.seen}{' (all)' if day.is_full else ''}",
            f"{day.live_s:.1f}",
            f"{equal} of {len(day.equal)} equal" if equal == len(day.equal) else "[red]DIFFER",
        )
    return table


def as_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "holds": outcome.holds,
        "days": [
            {
                "new": len(day.change.new),
                "priced": len(day.change.priced),
                "renamed": len(day.change.renamed),
                "gone": len(day.change.gone),
                "back": len(day.change.back),
                "missing": dict(day.change.missing),
                "rows": day.rows,
                "read": day.seen,
                "full": day.is_full,
                "equal": day.equal,
                "entered_s": day.entered_s,
                "live_s": day.live_s,
            }
            for day in outcome.days
        ],
        "rows": [asdict(row) for row in outcome.balance.rows],
        "documents": len(outcome.tally.doc_ids),
        "lost": outcome.balance.lost,
        "doubled": outcome.balance.doubled,
        "strangers": outcome.sold.strangers,
        "drafts": outcome.sold.drafts,
        "dropped_answers": outcome.dropped,
        "requests": outcome.requests,
        "digests_equal": outcome.digests_equal,
        "findings": outcome.findings,
        "figures": outcome.figures,
    }


def main(argv: list[str]) -> int:
    options = arguments(argv)

    async def play(folder: Path) -> bool:
        return (await demonstrate(options, folder)).holds

    return screen.run_to_end(play, (TrytonUnavailable, PostgresUnavailable))
