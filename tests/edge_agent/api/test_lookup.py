"""Look-ups over HTTP, as POS software asks them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from edge_agent.api.lookup import routes
from edge_agent.db.catalog import Catalog
from shared.clock import from_rfc3339
from shared.codes import gtin_check_digit
from shared.errors import CounterflowError
from shared.protocol.problems import problem
from tests.support.catalog_builder import ScopeLog, price, product, put
from tests.support.clock import ManualClock

Get = Callable[..., Awaitable[Any]]


@web.middleware
async def refusals(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> Any:
    try:
        return await handler(request)
    except CounterflowError as error:
        return web.json_response(problem(error), status=error.status)


@pytest.fixture
async def get(tmp_path: Path) -> AsyncIterator[Get]:
    """Ask the local API; the answer's JSON, after its status was compared."""
    log = ScopeLog("base")
    log.publish(
        [
            product("A1", "Café moulu", barcodes=["4006381333931"]),
            product(
                "A2",
                "Shirt",
                packs=[
                    {"code": "BOX", "quantity": "6", "barcodes": ["5449000000996"]},
                    {"code": "BALE", "quantity": "60", "barcodes": ["96385074"]},
                ],
            ),
            product("W1", "Apples", measured="42"),
            price("A1", 499),
            price("A1", 399, valid_from="2026-11-27T00:00:00Z"),
            price("A2", 1_000),
            price("A2", 5_400, pack="BOX"),
            price("W1", 250),
            put("settings", {"code": "barcodes", "value": {"patterns": ["28IIIIIWWWWWC", "29IIIIIPPPPPC"]}}),
            *(put("unit", {"code": f"U{i}", "name": "unit"}) for i in range(3)),
            put("unit", {"code": "a/b", "name": "slash"}),
        ]
    )
    catalog = await Catalog.open(tmp_path / "catalog.db")
    file, offered = log.snapshot(tmp_path)
    await catalog.load_snapshot(file, log.offer(0, offered))
    await catalog.tidy()
    app = web.Application(middlewares=[refusals])
    app.add_routes(routes(catalog, ManualClock(from_rfc3339("2026-11-21T12:00:00Z"))))
    async with TestClient(TestServer(app)) as client:

        async def ask(path: str, status: int = 200, **query: str) -> Any:
            answer = await client.get(path, params=query)
            assert answer.status == status
            return await answer.json()

        yield ask
    await catalog.close()


async def test_product_by_barcode_has_its_price_now_and_its_version(get: Get) -> None:
    """All that a line and its price reason need comes with one request."""
    (item,) = (await get("/v1/products", barcode="4006381333931"))["items"]
    assert item["product"]["name"] == "Café moulu"
    assert (item["price"]["amount_minor"], item["price"]["price_list"]) == (499, "P")
    assert len(bytes.fromhex(item["price"]["version"])) == 16


async def test_barcode_of_a_pack_gives_the_packs_price(get: Get) -> None:
    """A pack is sold under its own barcode and price."""
    (item,) = (await get("/v1/products", barcode="5449000000996"))["items"]
    assert (item["pack"], item["price"]["amount_minor"]) == ("BOX", 5_400)


async def test_a_price_says_what_it_is_for(get: Get) -> None:
    """A pack without a price of its own is found with the price of one unit, and the answer says so."""
    (box,) = (await get("/v1/products", barcode="5449000000996"))["items"]
    (bale,) = (await get("/v1/products", barcode="96385074"))["items"]
    assert (box["pack"], box["price"]["per"]) == ("BOX", "pack")
    assert (bale["pack"], bale["price"]["per"], bale["price"]["amount_minor"]) == ("BALE", "unit", 1_000)
    assert (await get("/v1/prices", product="A2", pack="BOX"))["price"]["per"] == "pack"
    assert (await get("/v1/prices", product="A2"))["price"]["per"] == "unit"


async def test_weight_and_price_barcodes_are_read(get: Get) -> None:
    """A scale's label gives the product and the weight, or the amount and the weight that it buys."""
    weight, amount = "280004201250", "290004200500"
    (item,) = (await get("/v1/products", barcode=f"{weight}{gtin_check_digit(weight)}"))["items"]
    assert (item["product"]["code"], item["label"]) == ("W1", {"quantity": "1.25", "amount_minor": None})
    (item,) = (await get("/v1/products", barcode=f"{amount}{gtin_check_digit(amount)}"))["items"]
    assert item["label"] == {"quantity": "2", "amount_minor": 500}
    assert (await get("/v1/products", barcode=f"{weight}{(gtin_check_digit(weight) + 1) % 10}"))[
        "items"
    ] == []


async def test_products_by_name_and_code(get: Get) -> None:
    """What is typed is found by the beginnings of its words; a code is exact."""
    found = await get("/v1/products", name="caf", limit="5")
    assert [item["product"]["code"] for item in found["items"]] == ["A1"]
    assert found["complete"] is True
    assert (await get("/v1/products", code="A2"))["items"][0]["product"]["name"] == "Shirt"
    assert (await get("/v1/products", code="a2"))["items"] == []


async def test_one_product_by_its_address(get: Get) -> None:
    """An unknown code is a problem with its name."""
    assert (await get("/v1/products/A1"))["product"]["code"] == "A1"
    assert "ZZ" in (await get("/v1/products/ZZ", 404))["detail"]


async def test_price_at_a_time(get: Get) -> None:
    """Prices are staged ahead and hold from their own moment."""
    assert (await get("/v1/prices", product="A1"))["price"]["amount_minor"] == 499
    later = await get("/v1/prices", product="A1", at="2026-11-27T01:00:00+01:00")
    assert (later["price"]["amount_minor"], later["at"]) == (399, "2026-11-27T00:00:00.000Z")
    assert (await get("/v1/prices", product="A1", price_list="VIP"))["price"] is None
    assert (await get("/v1/prices", product="nothing"))["price"] is None


async def test_any_entity_by_key_and_in_pages(get: Get) -> None:
    """Entities that the agent has no table for are read all the same."""
    first = await get("/v1/catalog/unit", limit="3")
    assert [item["key"] for item in first["items"]] == ["U0", "U1", "U2"]
    rest = await get("/v1/catalog/unit", after=first["next"], limit="3")
    assert ([item["key"] for item in rest["items"]], rest["next"]) == (["a/b"], None)
    assert (await get("/v1/catalog/unit/a/b"))["data"]["name"] == "slash"
    await get("/v1/catalog/unit/none", 404)


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"code": "A", "name": "B"},
        {"name": " "},
        {"name": "---"},
        {"name": "a", "limit": "0"},
        {"name": "a", "limit": "x"},
    ],
)
async def test_question_that_cannot_be_understood_is_refused(get: Get, query: dict[str, str]) -> None:
    """The refusal says what to write."""
    assert (await get("/v1/products", 422, **query))["type"].endswith("bad-input")


async def test_time_without_offset_is_refused(get: Get) -> None:
    """A time without a zone would mean another moment on another till."""
    assert "offset" in (await get("/v1/prices", 422, product="A1", at="2026-11-27T01:00:00"))["detail"]
