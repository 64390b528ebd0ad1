"""What `check` tells before anything is exchanged."""

from __future__ import annotations

import pytest

from tests.central.connectors.tryton.conftest import Connect

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
