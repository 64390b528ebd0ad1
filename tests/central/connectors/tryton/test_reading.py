"""What is read from a real Tryton: all of it, then what changed, whichever of its tables bears the date."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from central.connectors.base import Read
from central.connectors.tryton.connector import TrytonConnector
from shared.errors import BadInput
from tests.central.connectors.tryton.conftest import Connect
from tests.support.tryton import TrytonServer
from tests.support.tryton_shop import Goods, add_goods, set_price, take_in

pytestmark = pytest.mark.erp

CENT = Decimal("0.01")


async def read(
    connector: TrytonConnector, source: str, **options: Any
) -> tuple[list[dict[str, Any]], str | None]:
    """All records of a run, and the cursor that its last page bears."""
    records: list[dict[str, Any]] = []
    cursor = None
    async for page in connector.read(Read(source, **options)):
        records += page.records
        cursor = page.cursor
    return records, cursor


def code() -> str:
    return f"P{uuid4().hex[:10]}"


@pytest.fixture
def milk() -> Goods:
    return Goods(code(), "Молоко 1 л", Decimal("12.34"), barcodes=("4006381333931", "4006381333948"))


async def test_a_product_comes_with_barcodes_unit_and_exact_prices(
    server: TrytonServer, connect: Connect, milk: Goods
):
    """Variant and template are one record; prices are decimals as Tryton has them."""
    ids = await add_goods(server, [milk])
    records, cursor = await read(connect(), "products")
    (one,) = [record for record in records if record["code"] == milk.code]
    assert one["id"] == str(ids[milk.code])
    assert (one["name"], one["active"], one["unit"]) == (milk.name, True, "u")
    assert one["barcodes"] == list(milk.barcodes)
    assert (one["gross_price"], type(one["gross_price"])) == (Decimal("12.3400"), Decimal)
    assert one["accounting"] == "Goods with VAT"
    assert cursor is not None


async def test_small_pages_hold_every_record_once(server: TrytonServer, connect: Connect):
    """A page of one reads the same as a page of all, though products come while it is read."""
    await add_goods(server, [Goods(code(), "x", Decimal(1)) for _ in range(5)])
    whole, _ = await read(connect(), "products")
    seen = []
    async for page in connect().read(Read("products", page=1)):
        seen += [record["id"] for record in page.records]
        if len(seen) == 2:
            await add_goods(server, [Goods(code(), "late", Decimal(1))])
    assert seen[: len(whole)] == [record["id"] for record in whole]
    assert len(seen) == len(set(seen)) == len(whole) + 1


async def test_a_new_price_is_seen_though_the_product_keeps_its_date(
    server: TrytonServer, connect: Connect, milk: Goods
):
    """Prices move the template; the next run brings this product, and no other that did not change."""
    other = Goods(code(), "other", Decimal(5))
    ids = await add_goods(server, [milk, other])
    _, cursor = await read(connect(), "prices")
    await set_price(server, ids[milk.code], Decimal("15.00"))
    records, later = await read(connect(), "prices", since=cursor)
    prices = {record["product"]: record for record in records}
    assert prices[milk.code]["amount"] == Decimal("15.00")
    assert prices[milk.code]["tax_included"] is True
    assert prices[milk.code]["price_list"] == "LIST"
    assert prices[milk.code]["currency"] == "EUR"
    assert later is not None
    assert later > cursor
    assert (await read(connect(), "prices", since=_after(later)))[0] == []


async def test_a_new_barcode_is_seen(server: TrytonServer, connect: Connect, milk: Goods):
    """A barcode is a record of its own; neither product nor template bears its date."""
    ids = await add_goods(server, [milk])
    _, cursor = await read(connect(), "products")
    await server.call("model.product.identifier.create", [{"product": ids[milk.code], "code": "12345670"}])
    records, _ = await read(connect(), "products", since=_after(cursor))
    assert [record["barcodes"] for record in records] == [[*milk.barcodes, "12345670"]]


async def test_a_deactivated_product_is_read_as_such(server: TrytonServer, connect: Connect, milk: Goods):
    """It does not vanish: a till has to learn that it is no longer sold."""
    ids = await add_goods(server, [milk])
    _, cursor = await read(connect(), "products")
    await server.call("model.product.product.write", [ids[milk.code]], {"active": False})
    records, _ = await read(connect(), "products", since=_after(cursor))
    assert [(record["code"], record["active"]) for record in records] == [(milk.code, False)]


async def test_what_was_committed_late_lies_in_the_overlap(
    server: TrytonServer, connect: Connect, milk: Goods
):
    """A long transaction's date lies behind the cursor; the overlap window reads it all the same."""
    ids = await add_goods(server, [milk])
    _, cursor = await read(connect(), "prices")
    await set_price(server, ids[milk.code], Decimal("16.00"))
    late = datetime.fromisoformat(cursor or "") - timedelta(minutes=5)
    with server.sql() as database:
        for table in ("product_product", "product_template", "product_list_price", "product_gross_price"):
            database.execute(
                f"UPDATE {table} SET create_date = ?1, write_date = ?1",
                (late.replace(tzinfo=None).isoformat(" "),),
            )
    without, _ = await read(connect(), "prices", since=cursor)
    assert milk.code not in {record["product"] for record in without}
    records, _ = await read(connect(), "prices", since=cursor, overlap_s=600)
    assert {record["amount"] for record in records if record["product"] == milk.code} == {Decimal("16.00")}


async def test_two_products_may_share_a_barcode(server: TrytonServer, connect: Connect):
    """Tryton allows it, so both are read with it; whose it is, is decided behind the connector."""
    twins = [Goods(code(), "twin", Decimal(1), barcodes=("76",)) for _ in range(2)]
    await add_goods(server, twins)
    records, _ = await read(connect(), "products")
    assert [record["code"] for record in records if "76" in record["barcodes"]] == [one.code for one in twins]


async def test_a_price_list_is_read_by_its_formula(server: TrytonServer, connect: Connect, milk: Goods):
    """Lists of the settings come beside the own prices; one that has changed is read whole."""
    await add_goods(server, [milk])
    connector = connect(price_lists=["Members"])
    records, cursor = await read(connector, "prices")
    amounts = {record["price_list"]: record["amount"] for record in records if record["product"] == milk.code}
    net = (milk.price / Decimal("1.2")).quantize(Decimal("0.0001"))
    assert amounts == {"LIST": milk.price, "Members": (net * Decimal("0.9")).quantize(Decimal("0.0001"))}
    (line,) = await server.call("model.product.price_list.line.search", [], 0, None, None)
    await server.call("model.product.price_list.line.write", [line], {"formula": "list_price * 0.5"})
    records, _ = await read(connector, "prices", since=_after(cursor))
    assert {record["price_list"] for record in records} == {"Members"}
    assert milk.code in {record["product"] for record in records}


async def test_a_party_comes_with_its_tax_identifier(server: TrytonServer, connect: Connect):
    """And a new one is seen, though the party itself keeps its date."""
    party = {
        "name": "Bäckerei Süß",
        "identifiers": [["create", [{"type": "eu_vat", "code": "BE0897290877"}]]],
        "contact_mechanisms": [["create", [{"type": "email", "value": "a@example.org"}]]],
        "addresses": [["create", [{"street": "Rue 1", "city": "Liège", "postal_code": "4000"}]]],
    }
    (number,) = await server.call("model.party.party.create", [party])
    records, cursor = await read(connect(), "parties")
    (one,) = [record for record in records if record["id"] == str(number)]
    assert (one["name"], one["tax_id"]) == ("Bäckerei Süß", "BE0897290877")
    assert (one["email"], one["city"], one["postal_code"]) == ("a@example.org", "Liège", "4000")
    (address,) = one["addresses"]
    assert (address["street"], address["city"], address["country"]) == ("Rue 1", "Liège", None)
    assert one["contacts"] == [{"type": "email", "value": "a@example.org", "name": None}]
    await server.call("model.party.identifier.create", [{"party": number, "code": "4711"}])
    records, _ = await read(connect(), "parties", since=_after(cursor))
    assert [len(record["identifiers"]) for record in records] == [2]


async def test_stock_stands_by_warehouse_and_moves_with_a_move(
    server: TrytonServer, connect: Connect, milk: Goods
):
    """All goods at first; later those that were moved."""
    ids = await add_goods(server, [milk])
    await take_in(server, ids[milk.code], 12)
    records, cursor = await read(connect(), "stock")
    assert [(r["warehouse"], r["quantity"]) for r in records if r["product"] == milk.code] == [("WH", 12)]
    await take_in(server, ids[milk.code], 3)
    records, _ = await read(connect(), "stock", since=_after(cursor))
    assert [(r["product"], r["quantity"]) for r in records] == [(milk.code, 15)]


@pytest.mark.parametrize("source", ["warehouses", "categories", "units"])
async def test_small_lists_are_read(connect: Connect, source: str):
    """Every record has what its source declares, and nothing else."""
    connector = connect()
    records, _ = await read(connector, source)
    assert all(record.keys() == connector.sources[source].fields.keys() for record in records)
    assert records or source == "categories"


async def test_a_cursor_that_is_none_is_told(connect: Connect):
    """A cursor of another system is refused, not guessed at."""
    with pytest.raises(BadInput, match="no cursor"):
        await read(connect(), "products", since="seq-17")


def _after(cursor: str | None) -> str:
    """Just behind it: what bears the cursor's own date would be read again."""
    return (datetime.fromisoformat(cursor or "") + timedelta(microseconds=1)).isoformat()
