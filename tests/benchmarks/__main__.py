"""Measure W1 to W9 against the limits of this machine: `python3 run.py bench [W1 W2 …] [--json]`.

Every figure stands beside the raw limit that was measured in the same run; both are medians. The table (or the JSON)
goes to stdout, talk to stderr. Exit code 1: an aim was missed.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import psutil

from tests.benchmarks.bench import TINY, Bench, Sizes
from tests.benchmarks.result import Figure, dump, table

BUSY_LOAD = 0.7
WORKLOADS = ("W1", "W2", "W3", "W4", "W5", "W6", "W8", "W9")


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="run.py bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "workloads", nargs="*", type=str.upper, metavar="W", help="W1 to W9; all when none is named"
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--runs", type=int, help="how often each is measured (3)")
    parser.add_argument("--tiny", action="store_true", help="next to no work: shows that everything runs")
    parser.add_argument("--no-postgres", action="store_true", help="leave PostgreSQL out")
    parser.add_argument(
        "--folder", type=Path, help="where to work; on the disk to be measured (default: temporary)"
    )
    given = parser.parse_args(argv)
    unknown = [name for name in given.workloads if name not in WORKLOADS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(WORKLOADS)}")
    return given


async def measure(bench: Bench, workloads: Sequence[str]) -> list[Figure]:
    figures: list[Figure] = []
    for name in workloads:
        since = time.monotonic()
        bench.say(f"== {name}")
        figures += await importlib.import_module(f"tests.benchmarks.{name.lower()}").measure(bench)
        bench.say(f"   took {time.monotonic() - since:.0f} s")
    return figures


def main(argv: Sequence[str]) -> int:
    given = arguments(argv)
    sizes = TINY if given.tiny else Sizes()
    if given.runs:
        sizes = replace(sizes, runs=given.runs)
    wanted = [name for name in WORKLOADS if name in given.workloads] or list(WORKLOADS)
    folder = Path(tempfile.mkdtemp(prefix="counterflow-bench-", dir=given.folder))
    bench = Bench(folder, sizes, postgres=not given.no_postgres)
    if (busy := psutil.getloadavg()[0]) > BUSY_LOAD:
        bench.say(
            f"This machine is busy with something else (load {busy:.1f}): limits and figures come out low."
        )
    try:
        figures = asyncio.run(measure(bench, wanted))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    finally:
        bench.close()
        shutil.rmtree(folder, ignore_errors=True)
    print(dump(figures) if given.json else table(figures))
    return 0 if all(figure.ok for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
