"""The benchmarks run, and say what they promise to say; how fast anything was is no test."""

from __future__ import annotations

import asyncio
import json
import subprocess

from tests.benchmarks.result import Figure, at_least, at_most, dump, percentile, table
from tests.support.processes import ROOT, python

KEYS = ["name", "ours", "limit", "ratio", "aim", "unit", "ok"]


def test_a_figure_is_judged_by_its_aim() -> None:
    """More is better for a rate and less for a time; both stand beside the limit."""
    rate = Figure("W1", 900.0, 1_000.0, at_least(800.0), "sales/s")
    wait = Figure("W1 p99", 6.0, None, at_most(5.0), "ms")
    assert (rate.ratio, rate.ok, wait.ratio, wait.ok) == (0.9, True, None, False)
    assert json.loads(dump([rate, wait])) == [
        dict(zip(KEYS, ["W1", 900.0, 1000.0, 0.9, 800.0, "sales/s", True], strict=True)),
        dict(zip(KEYS, ["W1 p99", 6.0, None, None, 5.0, "ms", False], strict=True)),
    ]
    assert "MISSED" in table([wait])


def test_the_99th_of_100_waits_is_named() -> None:
    """The percentile is one of the measured waits."""
    assert percentile([float(wait) for wait in range(1, 101)], 0.99) == 99.0
    assert percentile([7.0], 0.99) == 7.0


async def test_the_benchmarks_run_and_print_json() -> None:
    """With next to no work, the way up and the way down end well and stdout holds the list of figures alone."""
    process = await asyncio.create_subprocess_exec(
        *python("-m", "tests.benchmarks", "W2", "W3", "W8", "--tiny", "--no-postgres", "--json"),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, talk = await process.communicate()
    assert process.returncode in (0, 1), talk.decode()
    assert out, talk.decode()
    figures = json.loads(out)
    assert [list(figure) for figure in figures] == [KEYS] * len(figures)
    assert {figure["name"][:2] for figure in figures} == {"W2", "W3", "W8"}
    assert all(figure["ours"] > 0 for figure in figures)


async def test_an_unknown_workload_is_refused() -> None:
    """A misspelt workload is a wrong use, not an empty table."""
    process = await asyncio.create_subprocess_exec(
        *python("-m", "tests.benchmarks", "W99"), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, talk = await process.communicate()
    assert (process.returncode, out) == (2, b"")
    assert b"W99" in talk
