"""What both demos show a person: bars while it works, a table of sums at the end, addresses when it is kept running."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.demo.balance import Row
from tests.support.chain import Chain

TABLE_WIDTH = 110
EXIT_UNAVAILABLE, EXIT_INTERRUPTED = 69, 130
console = Console(stderr=True)

Tell = Callable[[str, int, int], None]
"""(what, done, of)"""


@contextmanager
def bars() -> Iterator[Tell]:
    """One bar for each *what* that is told of."""
    columns = (TextColumn("{task.description:<38}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as shown:
        tasks: dict[str, Any] = {}

        def tell(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = shown.add_task(what, total=of)
            shown.update(tasks[what], completed=min(done, of), total=of)

        yield tell


def result_console() -> Console:
    out = Console()
    if not out.is_terminal:
        out.width = TABLE_WIDTH  # a file or a pipe has no width of its own
    return out


def money(minor: int) -> str:
    return f"{minor / 100:,.2f}"


def print_findings(out: Console, findings: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """What `verify` says of each side, every finding with it."""
    for name, found in findings.items():
        out.print(f"verify {name}: {'[red]FINDINGS' if found else 'clean'}")
        for one in found:
            out.print(f"  {json.dumps(one, ensure_ascii=False)}", markup=False)


def balance_table(rows: Sequence[Row], currency: str, title: str, last: str) -> Table:
    """The sums of three places side by side, and of all stations; *last* is what the third place is called."""
    table = Table(title=title, title_justify="left")
    table.add_column("station")
    table.add_column("payment")
    for side in ("sold", "stored", last):
        table.add_column(side, justify="right")
        table.add_column(currency, justify="right")
    table.add_column("")
    for row in rows:
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
            str(sum(getattr(row, side).count for row in rows)),
            money(sum(getattr(row, side).amount_minor for row in rows)),
        )
    ]
    table.add_row("all", "", *sums, "", style="bold")
    return table


async def keep(chain: Chain, *more: str) -> None:
    """Print where everything is, and leave it running."""
    stations = [
        f"{station.code:<11} {station.url}   token in {station.folder / 'token'}"
        for station in chain.stations
    ]
    for line in (f"\ncentre      {chain.url}   key {chain.key}", *stations, *more):
        console.print(line, soft_wrap=True)  # a key that is broken in two cannot be copied
    console.print("Everything is left running; Ctrl-C stops it.")
    await asyncio.Event().wait()


def run_to_end(play: Callable[[Path], Awaitable[bool]], unavailable: tuple[type[Exception], ...]) -> int:
    """Play a demo in a folder of its own and return its exit code.

    Args:
        play: says whether everything came out equal.
        unavailable: what it raises where something that it needs is not there.
    """

    async def played(folder: Path) -> bool:
        return await play(folder)

    try:
        with tempfile.TemporaryDirectory(prefix="counterflow-demo-", ignore_cleanup_errors=True) as folder:
            return 0 if asyncio.run(played(Path(folder))) else 1
    except unavailable as error:
        console.print(f"[red]the demo cannot run: {error}")
        return EXIT_UNAVAILABLE
    except KeyboardInterrupt:
        console.print("stopped")
        return EXIT_INTERRUPTED
