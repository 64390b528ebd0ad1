"""Real shelf prices as chains publish them (PriceFull and Price, XML, a file for each shop): files to catalog rows."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest

from central.connectors import CONNECTORS
from central.integrations.integration import Integration
from central.integrations.registry import Integrations
from central.integrations.versions import Versions
from tests.central.integrations.conftest import Centre
from tests.demo.erp.days import Day, Days, Goods, load_days

ARTICLES = 300


def shops_of(day: Day) -> dict[str, Goods]:
    """A shop's number in the names of its files -> its goods."""
    return {shop.rpartition(" ")[2]: goods for shop, goods in day.items()}


def price_file(goods: Goods) -> bytes:
    """As the law's form has it."""

    def lines() -> Iterator[str]:
        yield '<?xml version="1.0" encoding="utf-8"?><Root><ChainId>7290027600007</ChainId><Items>'
        for one in goods.values():
            state = int(one.active)
            fields = {"ItemCode": one.code, "ItemName": one.name, "ItemPrice": one.price, "ItemStatus": state}
            inner = "".join(f"<{name}>{escape(str(value))}</{name}>" for name, value in fields.items())
            yield f"<Item>{inner}</Item>"
        yield "</Items></Root>"

    return "\n".join(lines()).encode()


@pytest.fixture
async def chain(centre: Centre) -> Centre:
    centre.integrations = Integrations(centre.database, centre.clock, CONNECTORS)
    centre.versions = Versions(centre.database, centre.integrations)
    return centre


@pytest.fixture(scope="module")
def days() -> Days:
    found = load_days(ARTICLES)
    if found is None:
        pytest.skip("../shared/data/il_prices_* is not here: the prices are the client's")
    return found


async def connect(chain: Centre, folder: Path) -> Integration:
    prices = {
        "full": "PriceFull{chain}-{store}-{stamp}.xml.gz",
        "changes": "Price{chain}-{store}-{stamp}.xml.gz",
        "key": ["store", "ItemCode"],
        "parts": ["store"],
        "order": "stamp",
        "deleted": {"ItemStatus": ["0"]},
        "dialect": {"form": "xml", "record": "Item"},
        "fields": ["ItemName", "ItemPrice"],
    }
    price = {
        "name": "prices",
        "source": "prices",
        "entity": "price",
        "fields": {
            "price_list": "{{store}}",
            "product": "{{ItemCode}}",
            "amount_minor": "{{ItemPrice | number | minor('ILS')}}",
            "currency": "ILS",
        },
    }
    settings = {"folder": str(folder), "lists": {"prices": prices}, "settle_s": 0}
    return await chain.connect(price, connector="files", settings=settings)


def put(folder: Path, what: str, stamp: str, shops: dict[str, Goods]) -> None:
    for shop, goods in shops.items():
        (folder / f"{what}7290027600007-{shop}-{stamp}.xml.gz").write_bytes(gzip.compress(price_file(goods)))


async def shelves(chain: Centre) -> dict[str, int]:
    """Price list and barcode -> amount, of what is live."""
    rows = (await chain.catalog()).values()
    return {f"{row['price_list']} {row['product']}": row["amount_minor"] for row in rows}


def expected(shops: dict[str, Goods]) -> dict[str, int]:
    return {
        f"{shop} {code}": int(one.price * 100) for shop, goods in shops.items() for code, one in goods.items()
    }


async def test_three_real_days_from_xml_to_the_catalog(chain: Centre, days: Days, tmp_path: Path):
    """Each day's full files are compared; a shop that drops out of a day keeps its prices; to the agora."""
    folder = tmp_path / "published"
    folder.mkdir()
    await connect(chain, folder)
    known: dict[str, Goods] = {}
    for number, day in enumerate(days.days):
        known |= shops_of(day)
        put(folder, "PriceFull", f"202608{9 + number:02}0300", shops_of(day))
        report = await chain.later(24 * 60)
        assert (report["result"], report["full"], report["rejected"]) == ("taken", True, 0)
        assert await shelves(chain) == expected(known)
    assert len(shops_of(days.days[-1])) < len(known) == 3


async def test_changes_during_the_day_are_read_alone(chain: Centre, days: Days, tmp_path: Path):
    """A Price file holds what changed since; one that says 0 for its state is gone; the next comparison agrees."""
    folder = tmp_path / "published"
    folder.mkdir()
    await connect(chain, folder)
    shops = shops_of(days.days[0])
    put(folder, "PriceFull", "202608090300", shops)
    await chain.later()
    shop, goods = next(iter(shops.items()))
    first, second, *_ = goods.values()
    changed: dict[str, Any] = {
        first.code: type(first)(first.code, first.name, first.price + 1),
        second.code: type(second)(second.code, second.name, second.price, active=False),
    }
    put(folder, "Price", "202608091200", {shop: changed})
    report = await chain.later()
    assert (report["full"], report["records"], report["changed"], report["deleted"]) == (False, 1, 2, 1)
    after = expected(shops) | {f"{shop} {first.code}": int((first.price + 1) * 100)}
    del after[f"{shop} {second.code}"]
    assert await shelves(chain) == after
    report = await chain.later(24 * 60)
    assert (report["full"], report["changed"]) == (True, 0)
    assert await shelves(chain) == after
