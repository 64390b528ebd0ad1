"""Customers that a real Tryton does not know: found by tax id, made once, put before HQ, taken back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import pytest

from central.catalog.publish import Publisher
from central.codes.desk import PartyDesk
from central.connectors.base import Written
from central.connectors.tryton.connector import TrytonConnector
from central.db import parties
from central.db.database import Database
from central.deliveries.matching import Matches
from central.deliveries.run import DeliveryRunner
from central.integrations.definition import read_definition
from central.integrations.registry import Integrations
from central.integrations.undo import undo_created
from shared.canonical import canonical
from shared.catalog.changes import Change
from tests.support.clock import ManualClock
from tests.support.outgoing import Document, add_documents, delivery_states, open_database
from tests.support.proxy import FaultProxy
from tests.support.tryton import TrytonServer
from tests.support.tryton_process import DATABASE, PASSWORD
from tests.support.tryton_shop import Goods, add_goods

pytestmark = pytest.mark.erp

GOODS = "MATCHED"
SALE: dict[str, Any] = {
    "name": "sale",
    "kinds": ["sale"],
    "target": "sale",
    "fields": {
        "point": "{{store}}",
        "date": {"const": "2026-11-22"},
        "party": {"ref": "party", "value": "{{payload.customer}}"},
        "lines": [{"product": {"const": GOODS}, "quantity": {"const": 1}, "amount": {"const": 12}}],
        "payments": [{"method": {"const": "Cash"}, "amount": {"const": 12}}],
    },
}
MATCH: dict[str, Any] = {
    "kind": "party",
    "entity": "customer",
    "target": "party",
    "tax_id": "tax_id",
    "create": True,
    "fields": {
        "name": "{{name}}",
        "tax_id": "{{tax_id}}",
        "tax_id_type": {"value": "{{country}}", "map": "tax_ids"},
        "email": "{{email}}",
    },
}
MAPS = {"tax_ids": {"BR": "br_vat", "EU": "eu_vat"}}
CNPJ, VAT, OTHER_VAT = "11222333000181", "BE0897290877", "BE0403019261"


class Office:
    """A centre that sends sales with customers to one Tryton."""

    def __init__(self, database: Database, clock: ManualClock, server: TrytonServer) -> None:
        self.database = database
        self.clock = clock
        self.server = server
        self.integrations = Integrations(database, clock, {"tryton": TrytonConnector})
        self.runner = DeliveryRunner(database, self.integrations, clock, node="a", rng=random.Random(1))

    async def connect(self, url: str | None = None) -> None:
        settings = {
            "url": url or self.server.url,
            "database": DATABASE,
            "user": "exchange",
            "password": PASSWORD,
        }
        written = {"name": "erp", "connector": "tryton", "settings": settings, "deliver": [SALE]}
        definition = read_definition(written | {"match": [MATCH], "maps": MAPS})
        await self.integrations.define(definition, from_ms=0)

    def node(self, name: str) -> Matches:
        return Matches(
            self.database,
            self.integrations,
            self.clock,
            self.runner.budgets,
            node=name,
            wake=self.runner.waits,
            found=self.runner.wake,
        )

    async def customer(self, code: str, tax_id: str, country: str) -> None:
        row = {"code": code, "name": f"Customer {code}", "tax_id": tax_id, "country": country}
        await Publisher(self.database).publish({"base": [Change("customer", code, canonical(row))]})

    async def sell(self, *customers: str) -> None:
        documents = [Document(n, payload={"customer": code}) for n, code in enumerate(customers, 1)]
        await add_documents(self.database, documents)
        await self.runner.sweep()
        await self.carry()

    async def carry(self) -> None:
        while await self.runner.step(1):
            pass

    async def look(self, nodes: str = "a") -> None:
        (one,) = await self.integrations.list()
        await asyncio.gather(*(self.node(name).step(one) for name in nodes))
        await self.carry()

    async def parties(self, tax_id: str) -> list[int]:
        domain = [["identifiers.code_compact", "=", tax_id]]
        found: list[int] = await self.server.call("model.party.party.search", domain, 0, None, None)
        return found

    async def add_party(self, tax_id: str, kind: str) -> int:
        made = {"name": "There already", "identifiers": [["create", [{"type": kind, "code": tax_id}]]]}
        (number,) = await self.server.call("model.party.party.create", [made])
        return int(number)

    async def notes(self) -> list[str]:
        """Who bought, as the notes at the sales say."""
        sales = await self.server.call("model.sale.point.sale.search", [], 0, None, None)
        domain = [["resource", "in", [f"sale.point.sale,{number}" for number in sales]]]
        rows = await self.server.call("model.ir.note.search_read", domain, 0, None, None, ["message"])
        return sorted(row["message"] for row in rows if row["message"].startswith("Customer"))

    async def forget(self) -> None:
        """Leave Tryton as it was found."""
        sales = await self.server.call("model.sale.point.sale.search", [], 0, None, None)
        domain = [["resource", "in", [f"sale.point.sale,{number}" for number in sales]]]
        notes = await self.server.call("model.ir.note.search", domain, 0, None, None)
        await self.server.call("model.ir.note.delete", notes)
        for tax_id in (CNPJ, VAT, OTHER_VAT):
            if found := await self.parties(tax_id):
                await self.server.call("model.party.party.delete", found)


@pytest.fixture
async def office(server: TrytonServer, tmp_path: Path) -> AsyncIterator[Office]:
    clock = ManualClock()
    database = await open_database(f"sqlite+aiosqlite:///{tmp_path / 'central.db'}", clock)
    office = Office(database, clock, server)
    domain = [["code", "=", GOODS]]
    if not await server.call("model.product.product.search", domain, 0, None, None):
        await add_goods(server, [Goods(GOODS, "Milk", Decimal("12.00"))])
    # A company's office says which sorts of tax identifiers it uses.
    sorts = {"identifier_types": ["eu_vat", "br_vat"]}
    if found := await server.call("model.party.configuration.search", [], 0, None, None):
        await server.call("model.party.configuration.write", found, sorts)
    else:
        await server.call("model.party.configuration.create", [sorts])
    yield office
    await office.forget()
    await database.close()


async def test_a_customer_is_found_or_made_and_the_sale_goes(office: Office):
    """One is there, as Tryton writes a CNPJ; one is made by two nodes at once, once; it is taken back."""
    there = await office.add_party(CNPJ, "br_vat")
    await office.connect()
    await office.customer("C1", CNPJ, "BR")
    await office.customer("C2", VAT, "EU")
    await office.sell("C1", "C2", "C1")
    assert await delivery_states(office.database) == {"waiting": 3}
    for _ in range(2):
        await office.look("ab")
        office.clock.move(70)
    assert await delivery_states(office.database) == {"done": 3}
    (made,) = await office.parties(VAT)
    assert await office.parties(CNPJ) == [there]
    bought = [f"Customer: There already (party {there})"] * 2 + [f"Customer: Customer C2 (party {made})"]
    assert await office.notes() == sorted(bought)
    (one,) = await office.integrations.list()
    report = await undo_created(office.database, one, office.integrations.connector(one), 0)
    assert (report["undone"], report["refused"]) == (1, [])
    assert await office.parties(VAT) == []
    assert await office.parties(CNPJ) == [there]


async def test_two_parties_with_one_tax_id_are_a_case_for_hq(office: Office):
    """Nothing is made, nothing is sent, until HQ says which one it is."""
    await office.add_party(OTHER_VAT, "eu_vat")
    second = await office.add_party(OTHER_VAT, "eu_vat")
    await office.connect()
    await office.customer("C1", OTHER_VAT, "EU")
    await office.sell("C1")
    await office.look()
    assert await delivery_states(office.database) == {"waiting": 1}
    async with office.database.read() as connection:
        (row,) = await parties.list_unclear(connection, after=0, limit=9, system=None, open_only=True)
    assert row.why == f"2 records bear {OTHER_VAT}"
    assert await PartyDesk(office.database).decide("erp", "C1", "use", str(second), who="boss") == 1
    await office.carry()
    assert await delivery_states(office.database) == {"done": 1}
    assert await office.notes() == [f"Customer: There already (party {second})"]


class Losing(TrytonConnector):
    """The answer to the first making of a record is lost."""

    proxy: ClassVar[FaultProxy]

    async def create(self, target: str, record: Mapping[str, Any]) -> Written:
        if not self.proxy.counters.reached.get("drop_answer"):
            self.proxy.mode("drop_answer", times=1)
        return await super().create(target, record)


async def test_the_answer_is_lost_and_there_is_one_party(office: Office, server: TrytonServer):
    """It is made in Tryton, and we do not hear of it: it is found again, not made again, and counts as ours."""
    async with FaultProxy(server.url) as proxy:
        Losing.proxy = proxy
        office.integrations = Integrations(office.database, office.clock, {"tryton": Losing})
        office.runner = DeliveryRunner(office.database, office.integrations, office.clock, node="a")
        await office.connect(proxy.url)
        await office.customer("C1", VAT, "EU")
        await office.sell("C1")
        for _ in range(6):
            await office.look()
            office.clock.move(60)
        assert proxy.counters.reached["drop_answer"] == 1
        assert await delivery_states(office.database) == {"done": 1}
        assert len(await office.parties(VAT)) == 1
        (one,) = await office.integrations.list()
        report = await undo_created(office.database, one, office.integrations.connector(one), 0)
        assert (report["undone"], report["left"]) == (1, 0)


async def test_a_wrong_number_of_a_party_is_refused(office: Office):
    """It is told before anything is booked."""
    await office.connect()
    await office.customer("C1", "", "EU")
    await office.sell("C1")
    await office.look()
    await PartyDesk(office.database).decide("erp", "C1", "use", "999999", who="boss")
    await office.carry()
    assert await office.notes() == []
    assert await delivery_states(office.database) != {"done": 1}
