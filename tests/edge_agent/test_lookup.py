"""Which price holds, what a label says, and which words find a name."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.lookup import (
    Row,
    barcode_patterns,
    choose_price,
    label_quantity,
    measured_codes,
    search_expression,
    searchable,
    strongest,
    weight_quantity,
)
from shared.clock import from_rfc3339
from shared.errors import BadInput
from shared.quantity import to_micro

NOON_MS = from_rfc3339("2026-11-21T12:00:00Z")


def row(
    amount_minor: int, *, rank: int = 5, key: str | None = None, price_list: str = "P", **fields: Any
) -> Row:
    payload = {
        "product": "A1",
        "price_list": price_list,
        "amount_minor": amount_minor,
        "currency": "EUR",
        **fields,
    }
    return Row(f"pricelist/{price_list}", rank, key or repr(sorted(payload.items())), b"v" * 16, payload)


def chosen(rows: list[Row], at_ms: int = NOON_MS, **asked: Any) -> int | None:
    found = choose_price(rows, at_ms, **asked)
    return None if found is None else int(found.payload["amount_minor"])


def test_price_becomes_valid_at_its_time_and_ends_at_its_end() -> None:
    """`valid_from` is the first moment, `valid_until` the first at which it no longer holds."""
    rows = [
        row(500),
        row(400, valid_from="2026-11-21T10:00:00Z"),
        row(300, valid_from="2026-11-21T12:00:00Z", valid_until="2026-11-21T15:00:00+02:00"),
    ]
    at = {
        "09:59:59": 500,
        "10:00:00": 400,
        "11:59:59": 400,
        "12:00:00": 300,
        "12:59:59": 300,
        "13:00:00": 400,
    }
    for time, amount in at.items():
        assert chosen(rows, from_rfc3339(f"2026-11-21T{time}Z")) == amount, time


def test_narrowest_price_wins_before_the_stronger_list() -> None:
    """Pack and variant before pack, before variant, before the product; then the stronger scope."""
    rows = [
        row(1, rank=9, variant="RED", pack="BOX"),
        row(2, rank=8, pack="BOX"),
        row(3, rank=7, variant="RED"),
        row(4, rank=6),
        row(5, rank=5, price_list="VIP"),
    ]
    assert chosen(rows, variant="RED", pack="BOX") == 1
    assert chosen(rows, variant="BLUE", pack="BOX") == 2
    assert chosen(rows, variant="RED") == 3
    assert chosen(rows) == 5
    assert chosen(rows, price_list="P") == 4
    assert chosen(rows, price_list="none") is None


def test_larger_quantity_reaches_its_price() -> None:
    """The largest minimum that the quantity reaches counts, also against a later `valid_from`."""
    rows = [
        row(100, valid_from="2026-11-01T00:00:00Z"),
        row(90, min_quantity="10"),
        row(80, min_quantity="100"),
    ]
    assert [chosen(rows, quantity_micro=to_micro(q)) for q in ("1", "9.999", "10", "100")] == [
        100,
        100,
        90,
        80,
    ]


def test_stronger_scopes_row_hides_the_weaker_even_when_it_does_not_hold() -> None:
    """One key in two scopes is one row; a staged special in the stronger one is not undercut by the old one."""
    weak, strong = row(100, rank=5, key="K"), row(50, rank=1, key="K", valid_until="2026-01-01T00:00:00Z")
    assert strongest([weak, strong]) == [strong]
    assert chosen([weak, strong]) is None


@given(st.permutations(range(6)))
def test_choice_does_not_depend_on_the_order_of_rows(order: list[int]) -> None:
    """Till, promotions and centre may read the rows in any order."""
    rows = [row(i, rank=i % 2, valid_from=f"2026-11-{1 + i:02d}T00:00:00Z") for i in range(6)]
    assert chosen([rows[i] for i in order]) == 4


def test_label_tells_its_quantity() -> None:
    """A price label's quantity is its amount through the price, to the gram, half up."""
    assert label_quantity(1_000, 499) == "2.004"
    assert label_quantity(1, 3) == "0.333"
    assert label_quantity(100, 0) is None
    assert weight_quantity(1_250) == "1.25"


@given(st.integers(1, 99_999), st.integers(1, 10**7))
def test_label_quantity_is_the_nearest_gram(amount: int, unit: int) -> None:
    """No other whole gram is nearer to what the label's amount buys."""
    text = label_quantity(amount, unit)
    assert text is not None
    grams = to_micro(text) // 1_000
    assert abs(grams * unit - amount * 1_000) * 2 <= unit


def test_labels_item_code_is_looked_for_with_and_without_leading_zeros() -> None:
    """Scales print five digits; the ERP may know 42."""
    assert measured_codes("00042") == ["00042", "42"]
    assert measured_codes("12345") == ["12345"]
    assert measured_codes("00000") == ["00000", "0"]


def test_barcode_patterns_come_from_the_strongest_setting() -> None:
    """A station's own setting replaces the chain's; a setting of another shape means none."""
    chain = Row("base", 5, "barcodes", b"", {"code": "barcodes", "value": {"patterns": ["28IIIIIWWWWWC", 7]}})
    own = Row("station/T", 0, "barcodes", b"", {"code": "barcodes", "value": {"patterns": []}})
    assert barcode_patterns([chain]) == ["28IIIIIWWWWWC"]
    assert barcode_patterns([chain, own]) == []
    assert barcode_patterns([Row("base", 5, "barcodes", b"", {"value": "?"})]) == []


def test_words_become_prefixes_and_nothing_else() -> None:
    """What people type cannot become an operator of the index."""
    assert search_expression('caf* OR "x') == '"caf"* "OR"* "x"*'
    assert searchable("可口可乐330ml").split() == ["可", "口", "可", "乐", "330ml"]
    with pytest.raises(BadInput):
        search_expression(" *-'")
