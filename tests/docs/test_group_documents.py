"""The page on groups: its definition is taken as it stands, and does what the page says."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import orjson
import pytest

from central.deliveries.run import DeliveryRunner
from central.integrations.definition import read_definition
from central.integrations.registry import Integrations
from central.integrations.versions import Versions
from shared.clock import from_rfc3339
from tests.docs.markdown import ROOT
from tests.support.clock import ManualClock
from tests.support.outgoing import Document, add_documents, open_database

PAGE = (ROOT / "docs/howto/group-documents.md").read_text(encoding="utf-8")
(DEFINITION,) = re.findall(r"^```toml\n(.*?)^```\n", PAGE, re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.docs


def receipt(number: int, quantity: str, amount: int, kind: str = "sale") -> Document:
    line = {"n": 1, "product": "milk", "quantity": quantity, "price_minor": 100, "amount_minor": amount}
    payload = {
        "currency": "EUR",
        "total_minor": amount,
        "lines": [line],
        "payments": [{"n": 1, "type": "CASH", "amount_minor": amount}],
    }
    return Document(number, kind=kind, payload=payload, business_date="2026-11-21")


async def test_the_page_does_what_it_says(tmp_path: Path) -> None:
    """A day with a return, and a late sale as its correction, in the numbers that the page gives them."""
    clock = ManualClock(from_rfc3339("2026-11-21T12:00:00Z"))
    database = await open_database(f"sqlite+aiosqlite:///{tmp_path / 'central.db'}", clock)
    integrations = Integrations(database, clock)
    written = tomllib.loads(DEFINITION.replace("/srv/books", str(tmp_path / "books")))
    await Versions(database, integrations).put(read_definition(written), by="test", from_ms=0)
    runner = DeliveryRunner(database, integrations, clock, node="a")

    async def until(hours: float, *documents: Document) -> None:
        await add_documents(database, documents)
        await runner.sweep()
        await runner.groups.step()
        clock.move(hours * 3_600)
        await runner.groups.step()
        while await runner.step(1):
            pass

    await until(14, receipt(1, "2", 200), receipt(2, "1.5", 150), receipt(3, "-1", -100, "return"))
    await until(2, receipt(4, "1", 100))
    records = [
        orjson.loads(line)["record"]
        for path in sorted((tmp_path / "books" / "out").glob("*"))
        for line in path.read_bytes().splitlines()
    ]
    day, late = records
    assert (day["number"], day["receipts"], day["total"]) == ("2026-11-21-S1-EUR", 3, 2.5)
    assert [(one["quantity"], one["sum"]) for one in day["lines"]] == [(3.5, 350), (-1, -100)]
    assert [one["receipt"] for one in day["links"]] == ["T-1-1", "T-1-2", "T-1-3"]
    assert (late["number"], late["receipts"], late["total"]) == ("2026-11-21-S1-EUR-c1", 1, 1)
    await database.close()
