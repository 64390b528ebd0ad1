"""The whole way in a running centre: a sale whose customer the other system does not know, until it is there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from central.cli import app
from central.connectors import CONNECTORS
from central.integrations.definition import read_definition
from central.server import running
from shared.canonical import canonical
from shared.catalog.changes import Change
from tests.central.deliveries.test_matching import FORM, INN, ORDER, OTHER_INN, PARTY
from tests.support.directory_connector import Directory, DirectoryConnector
from tests.support.hq import HQ, open_hq, sell
from tests.support.scripted_connector import SYSTEMS

DEADLINE_S = 30.0


async def until(holds: Callable[[], Any]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not await holds():
        assert time.monotonic() < deadline, "it did not come"
        await asyncio.sleep(0.05)


async def typed(hq: HQ, *words: str) -> str:
    words = ("--url", hq.url, "--key", hq.key, *words)
    result = await asyncio.to_thread(lambda: CliRunner().invoke(app, list(words)))
    assert result.exit_code == 0, result.output
    return result.output


async def test_sales_wait_and_go_by_themselves(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One customer is made, one is decided about on the command line, one is left out: nobody else lifts a finger."""
    monkeypatch.setitem(CONNECTORS, "directory", DirectoryConnector)
    system = SYSTEMS["erp"] = Directory()
    system.put("parties", inn=INN)
    system.put("parties", inn=INN)
    async with open_hq(database_url, tmp_path) as hq, running(hq.centre):
        customers = {"C1": INN, "C2": OTHER_INN, "C3": ""}
        for code, tax_id in customers.items():
            row = {"code": code, "name": code, "tax_id": tax_id, "country": "RU"}
            await hq.centre.publisher.publish({"base": [Change("customer", code, canonical(row))]})
        delivers = [
            {
                **ORDER,
                "name": code,
                "fields": {"number": "{{number}}", "party": {"ref": "party", "value": code}},
            }
            for code in customers
        ]
        written = {"name": "erp", "connector": "directory", "settings": {"account": "erp"}}
        stated = {"deliver": delivers, "match": [PARTY, FORM]}
        await hq.centre.integrations.define(read_definition(written | stated), from_ms=0)
        await sell(hq.centre, "T-1", 1, apply=False)

        async def unclear() -> bool:
            found = (await hq.client.get("/v1/admin/parties/unclear"))["items"]
            return {row["party"] for row in found} == {"C1", "C3"}

        await until(unclear)
        assert "2 records bear" in await typed(hq, "crossref", "unmatched")
        said = await typed(hq, "parties", "decide", "erp", "C1", "--use", "2")
        assert said.endswith("1 deliveries that need it go now\n")
        said = await typed(hq, "parties", "decide", "erp", "C3", "--ignore")
        assert said.endswith("1 deliveries that need it are parked: `deliveries parked` shows them\n")

        async def all_settled() -> bool:
            return (await hq.centre.integrations.deliveries())["erp"] == {"done": 2, "parked": 1}

        await until(all_settled)
        assert sorted((one.effect, (one.record or {})["party"]) for one in system.deliveries) == [
            ("C1", "2"),
            ("C2", "3"),
        ]
        assert "party C3 is not for erp: HQ decided so" in await typed(hq, "deliveries", "parked")
        assert "the search in erp begins" in await typed(hq, "crossref", "search", "--system", "erp")
        assert len(system.all("parties")) == 3
