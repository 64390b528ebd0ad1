"""A receipt becomes a sale of Tryton whose lines sum to the cent."""

from __future__ import annotations

from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central.connectors.tryton.sales import Known, Method, Point, Unfit, prices, values

CENT = Decimal("0.01")
KNOWN = Known(
    points={"S1": Point(7, 1, "EUR", CENT)},
    methods={"Cash": Method(1, cash=True), "Card": Method(2, cash=False)},
    products={"A": [11], "B": [12], "ROUND": [13], "TWICE": [14, 15]},
)


def sale(**changes: Any) -> dict[str, Any]:
    record = {
        "point": "S1",
        "date": "2026-11-22",
        "currency": "EUR",
        "lines": [
            {"product": "A", "quantity": "2", "amount": Decimal("24.00"), "tax": Decimal("4.00")},
            {"product": "B", "quantity": Decimal("0.333"), "amount": Decimal("4.99"), "tax": 0},
        ],
        "payments": [{"method": "Cash", "amount": Decimal("28.99")}],
    }
    return record | changes


def test_a_sale_has_its_point_and_date_and_names_as_ids():
    """What Tryton gets: its own ids for our names, gross and net unit prices, the business date."""
    made = values(sale(), KNOWN, None)
    assert (made["point"], made["company"]) == (7, 1)
    assert made["date"] == date(2026, 11, 22)
    first, second = made["lines"][0][1]
    assert first == {
        "product": 11,
        "quantity": 2.0,
        "unit_gross_price": Decimal("12.0000"),
        "unit_list_price": Decimal("10.0000"),
    }
    assert second["unit_gross_price"] == Decimal("14.9850")
    assert made["payments"] == [["create", [{"method": 1, "amount": Decimal("28.99")}]]]


def test_a_rounded_total_gets_a_line_of_its_own():
    """The difference is a line of the product that the settings name; without one it is told."""
    made = values(sale(rounding=Decimal("-0.02")), KNOWN, "ROUND")
    assert made["lines"][0][1][-1]["unit_gross_price"] == Decimal("-0.0200")
    with pytest.raises(Unfit, match="rounded"):
        values(sale(rounding=Decimal("-0.02")), KNOWN, None)


def test_money_goes_back_by_the_cash_method():
    """Tryton pays back by no other one, so what a card got back is booked there."""
    made = values(sale(payments=[{"method": "Card", "amount": "-5.00"}]), KNOWN, None)
    assert made["payments"][0][1] == [{"method": 1, "amount": Decimal("-5.00")}]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"point": "S9"}, 'no point of sale "S9"'),
        ({"currency": "BRL"}, "a sale in BRL"),
        ({"lines": []}, "without lines"),
        ({"date": "tomorrow"}, "no date"),
        ({"payments": [{"method": "Pix", "amount": 1}]}, 'no payment method "Pix"'),
        ({"lines": [{"product": "Z", "quantity": 1, "amount": 1}]}, 'no product with the code "Z"'),
        ({"lines": [{"product": "TWICE", "quantity": 1, "amount": 1}]}, '2 products with the code "TWICE"'),
        ({"lines": [{"product": "A", "quantity": 0, "amount": 1}]}, "quantity 0"),
        ({"lines": [{"product": "A", "quantity": 1, "amount": 0.1}]}, "no exact number"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], told: str):
    """Each refusal says which name or number it is about, so that equal ones are repaired together."""
    with pytest.raises(Unfit, match=told):
        values(sale(**changes), KNOWN, None)


@given(
    quantity=st.one_of(st.integers(1, 100_000).map(Decimal), st.decimals("1.001", "99999", places=3)),
    gross=st.integers(0, 10_000_000),
    tax=st.integers(0, 100),
    back=st.booleans(),
)
def test_unit_prices_give_the_amount_to_the_cent(quantity: Decimal, gross: int, tax: int, back: bool):
    """Whatever was paid for however much, Tryton's own rounding of the parts sums to gross and to net."""
    sign = -1 if back else 1
    total = Decimal(sign * gross) / 100
    net = total - (total * tax / 1000).quantize(CENT)
    parts = prices(quantity * sign, total, net, CENT)

    def amount(index: int) -> Decimal:
        return sum(
            ((part[0] * part[index]).quantize(CENT, rounding=ROUND_HALF_EVEN) for part in parts), Decimal(0)
        )

    assert sum((part[0] for part in parts), Decimal(0)) == quantity * sign
    assert (amount(1), amount(2)) == (total, net)
    assert all(price == price.quantize(Decimal("0.0001")) for part in parts for price in part[1:])
