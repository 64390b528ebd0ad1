"""What `check` tells before anything is exchanged."""

from __future__ import annotations

from decimal import Decimal
from uuid import uuid4

import pytest

from central.connectors.base import Finding
from tests.central.connectors.tryton.conftest import Connect
from tests.support.tryton import TrytonServer
from tests.support.tryton_shop import Goods, add_goods

pytestmark = pytest.mark.erp


async def test_all_is_found_right(connect: Connect):
    """Reached, signed in, modules with versions, rights by model, points of sale: each a finding of its own."""
    findings = await connect(price_lists=["Members"]).check()
    assert [one for one in findings if not one.ok] == []
    by_name = {one.what: one.detail for one in findings}
    assert by_name["series"] == "Tryton 8.2"
    assert by_name["module sale_point"].startswith("8.2.")
    assert by_name["rights on sale.point.sale"] == "read, write, create, delete"
    assert by_name["points of sale"] == "with tax: S1"


async def test_goods_by_weight_need_a_unit_that_weighs_to_the_gram(server: TrytonServer, connect: Connect):
    """Tryton's kilogram has two decimals, and refuses what a scale weighs; said before the first sale is parked."""

    async def weights() -> Finding:
        return next(one for one in await connect().check() if one.what == "weights")

    assert (await weights()).ok
    await add_goods(server, [Goods(f"W{uuid4().hex[:8]}", "Cheese", Decimal("12.00"), unit="kg")])
    found = await weights()
    assert (found.ok, found.detail) == (False, "1 goods are sold by a kg with too few decimals")
    assert "three decimals" in found.hint
    ids = await server.call("model.product.uom.search", [["symbol", "=", "kg"]], 0, 1, None)
    await server.call("model.product.uom.write", ids, {"digits": 3, "rounding": 0.001})
    assert (await weights()).ok


async def test_missing_rights_are_named_by_model(connect: Connect):
    """With what to do about them."""
    wrong = {one.what: one for one in await connect(user="nobody").check() if not one.ok}
    assert "rights on sale.point.sale" in wrong
    assert wrong["rights on sale.point.sale"].detail == "may not read, write, create, delete"
    assert "POS" in wrong["rights on sale.point.sale"].hint


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"password": "wrong"}, "signed in"),
        ({"database": "none"}, "signed in"),
        ({"url": "http://127.0.0.1:9"}, "reached"),
    ],
)
async def test_the_first_closed_door_is_told(connect: Connect, settings: dict[str, str], what: str):
    """What lies behind it is not guessed at."""
    findings = await connect(**settings).check()
    assert [one.what for one in findings if not one.ok] == [what]
