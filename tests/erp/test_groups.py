"""A shop's day into a real Tryton: its receipts are one sale there, and a late one a sale of its own (W10)."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from central.connectors import CONNECTORS
from central.db.tables import deliveries as deliveries_tables
from central.deliveries.run import DeliveryRunner
from central.integrations.definition import Definition, read_definition
from central.integrations.registry import Integrations
from central.integrations.versions import Versions
from shared.clock import from_rfc3339
from tests.support.clock import ManualClock
from tests.support.outgoing import Document, add_documents, delivery_states, open_database
from tests.support.tryton import TrytonServer
from tests.support.tryton_process import DATABASE, PASSWORD
from tests.support.tryton_shop import Goods, add_goods, sales

ROOT = Path(__file__).parent.parent.parent
SOLUTION = ROOT / "central/connectors/tryton/solutions/tryton-shops.toml"


@pytest.fixture
def server(tryton_template: Path, tmp_path: Path) -> Iterator[TrytonServer]:
    server = TrytonServer(tmp_path / "server", tryton_template)
    server.start()
    try:
        asyncio.run(server.wait_until_ready())
        yield server
    finally:
        server.kill()


def day_into(server: TrytonServer) -> Definition:
    """The ready-made solution as it stands, with a group stated in its sales."""
    written = tomllib.loads(SOLUTION.read_text(encoding="utf-8"))
    (deliver,) = (one for one in written["deliver"] if one["name"] == "sale")
    deliver["group"] = {"by": ["store", "business_date"], "after": "1h"}
    settings = {"url": server.url, "database": DATABASE, "user": "exchange", "password": PASSWORD}
    kept = {name: value for name, value in written.items() if name in ("name", "connector", "maps")}
    return read_definition(kept | {"settings": settings, "deliver": [deliver]})


def receipt(number: int, quantity: int, paid_by: str, kind: str = "sale") -> Document:
    amount = 1_200 * quantity
    tax = {"code": "V20", "rate_bp": 2_000, "amount_minor": amount // 6}
    line = {
        "n": 1,
        "product": "MILK",
        "quantity": str(quantity),
        "price_minor": 1_200,
        "amount_minor": amount,
        "taxes": [tax],
    }
    payload = {
        "currency": "EUR",
        "total_minor": amount,
        "lines": [line],
        "payments": [{"n": 1, "type": paid_by, "amount_minor": amount}],
    }
    return Document(number, kind=kind, payload=payload)


async def test_a_shops_day_is_one_sale_and_what_comes_late_another(server: TrytonServer, tmp_path: Path):
    """The sums are those of the receipts, a return among them; each receipt knows its sale."""
    await add_goods(server, [Goods("MILK", "Milk", Decimal("12.00"))])
    clock = ManualClock(from_rfc3339("2026-11-21T12:00:00Z"))
    database = await open_database(f"sqlite+aiosqlite:///{tmp_path / 'central.db'}", clock)
    integrations = Integrations(database, clock, CONNECTORS)
    await Versions(database, integrations).put(day_into(server), by="test", from_ms=0)
    runner = DeliveryRunner(database, integrations, clock, node="a")

    async def until(hours: float, *documents: Document) -> None:
        await add_documents(database, documents)
        await runner.sweep()
        await runner.groups.step()
        clock.move(hours * 3_600)
        await runner.groups.step()
        while await runner.step(1):
            pass

    day = [receipt(1, 2, "CASH"), receipt(2, 3, "CARD"), receipt(3, -1, "CASH", "return")]
    await until(14, *day)
    await until(2, receipt(4, 1, "CASH"))
    assert await delivery_states(database) == {"done": 4}
    there = await sales(server)
    assert [(row["state"], row["total"]) for row in there] == [
        ("posted", Decimal("48.00")),
        ("posted", Decimal("12.00")),
    ]
    assert "2026-11-21-S1-EUR-c1 " in there[1]["notes"][0]
    async with database.read() as connection:
        written = (await connection.execute(deliveries_tables.written.select())).all()
    first, late = (str(row["id"]) for row in there)
    assert {row.doc_no: row.id for row in written} == {1: first, 2: first, 3: first, 4: late}
    await database.close()
