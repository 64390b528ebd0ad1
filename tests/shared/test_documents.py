"""Documents: what a till may hand in, and what it is told otherwise."""

from __future__ import annotations

import copy
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.documents import KINDS
from shared.documents.receipts import Line, Sale
from shared.protocol.problems import from_validation
from shared.quantity import from_micro, to_micro

SALE: dict[str, Any] = {
    "currency": "EUR",
    "lines": [{"n": 1, "product": "A1", "quantity": "2.50", "price_minor": 100, "amount_minor": 250}],
    "payments": [{"n": 1, "type": "CASH", "amount_minor": 250}],
    "total_minor": 250,
    "fiscal": {"device": "D1", "key": "35-XYZ", "deep": {"kept": [1, 2]}},
    "colour_of_the_bag": "green",
}


def test_unknown_and_fiscal_fields_travel_unchanged() -> None:
    """A newer till's fields and the fiscal part come out as they went in; quantities in their one spelling."""
    out = Sale.model_validate(SALE).model_dump(exclude_unset=True)
    assert out["colour_of_the_bag"] == "green"
    assert out["fiscal"] == SALE["fiscal"]
    assert out["lines"][0]["quantity"] == "2.5"


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("lines", 0, "amount_minor"), 2.5, "lines.0.amount_minor"),
        (("lines", 0, "amount_minor"), "250", "lines.0.amount_minor"),
        (("lines", 0, "quantity"), 1.5, "never a float"),
        (("lines", 0, "quantity"), "1,5", "write it with a dot"),
        (("total_minor",), 251, "the lines sum to 250"),
        (("payments", 0, "amount_minor"), 200, "the payments sum to 200"),
        (("currency",), "euro", "currency"),
        (("lines", 0, "product"), "", "lines.0.product"),
        (("opened_at",), "2026-11-21T10:00:00", "has no offset"),
    ],
)
def test_a_wrong_field_is_named_with_the_reason(path: tuple, value: object, told: str) -> None:
    """The message says which field of which line, and what is wrong with it."""
    sale = copy.deepcopy(SALE)
    place: Any = sale
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(pydantic.ValidationError) as caught:
        Sale.model_validate(sale)
    assert told in str(from_validation(caught.value, "sale"))


@given(st.from_regex(r"-?[0-9]{1,9}(\.[0-9]{1,6})?", fullmatch=True))
def test_a_quantity_has_one_spelling(text: str) -> None:
    """Whatever way a till writes a number, the sealed one is canonical: zeros that say nothing are gone."""
    line = {"n": 1, "product": "A", "quantity": text, "price_minor": 1, "amount_minor": 1}
    assert Line.model_validate(line).quantity == from_micro(to_micro(text))


def test_a_cancellation_names_what_it_cancels() -> None:
    """Without the sale's id nobody could undo its effects."""
    with pytest.raises(pydantic.ValidationError, match="cancels"):
        KINDS["sale_cancellation"].model_validate(SALE)
