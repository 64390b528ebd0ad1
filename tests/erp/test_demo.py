"""The demonstration with a real ERP, small: what `python3 run.py demo erp` promises is true."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.processes import ROOT, Process, python

PRODUCTS, DOCUMENTS = 40, 20
DEADLINE_S = 280.0


async def test_the_demo_with_an_erp_balances(tmp_path: Path, tryton_template: Path):
    """Tryton's rows = every station's after each day; each sale once in Tryton although answers got lost."""
    argv = python("-m", "tests.demo", "erp", "--json", "--tryton", str(tryton_template))
    argv += ["--products", str(PRODUCTS), "--documents", str(DOCUMENTS)]
    demo = Process("demo", argv, tmp_path, cwd=ROOT)
    demo.start()
    code = await demo.wait(deadline_s=DEADLINE_S)
    assert code == 0, demo.log_tail()
    result = json.loads(next(line for line in demo.log().splitlines() if line.startswith('{"holds"')))
    assert result["holds"]
    assert [len(day["equal"]) for day in result["days"]] == [3, 3, 3]
    assert result["days"][0]["rows"] == result["days"][0]["new"] == PRODUCTS
    assert sum(result["days"][2]["missing"].values()) > 0, "no shop dropped out, so nothing was proven"
    assert (result["documents"], result["lost"], result["doubled"], result["strangers"]) == (
        DOCUMENTS,
        [],
        [],
        0,
    )
    assert result["dropped_answers"] > 0, "the line was bad, yet nothing was lost on it"
