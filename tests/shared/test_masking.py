"""Card numbers in free text, and the numbers that only look like them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.canonical import canonical
from shared.documents.masking import masked, may_hold_card_number

CARD = "4111111111111111"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"comment": f"card {CARD}!"}, {"comment": "card ****1111!"}),
        ({"comment": "4111-1111-1111-1111"}, {"comment": "****1111"}),
        ({"payments": [{"reference": CARD}]}, {"payments": [{"reference": "****1111"}]}),
        ({"x": int(CARD)}, {"x": "****1111"}),
        ({"barcode": CARD, "lines": [{"serials": [CARD], "marks": [CARD]}]}, None),
        ({"fiscal": {"key": CARD, "deep": {"more": CARD}}}, None),
        ({"amount_minor": int(CARD), "at_ms": int(CARD)}, None),
        ({"x": True, "y": None, "z": 1.5, "n": 12}, None),
        ({"comment": "4111111111111112"}, None),
    ],
)
def test_free_text_is_masked_and_identifiers_are_not(value: Any, expected: Any) -> None:
    """Every field is free text unless it is known to carry another number."""
    assert masked(value) == (value if expected is None else expected)


@given(st.lists(st.text("0123456789 -x", max_size=40) | st.integers(0, 2**63), max_size=5))
def test_the_quick_look_never_overlooks(values: list[Any]) -> None:
    """Where masking changes something, the quick look over the bytes has said so."""
    if masked(values) != values:
        assert may_hold_card_number(canonical(values))


@pytest.mark.parametrize("text", [CARD, "4111 1111 1111 1111", "5500-0055-5555-5559", "378282246310005"])
def test_the_quick_look_sees_every_spelling(text: str) -> None:
    """Plain, with blanks, with hyphens."""
    assert may_hold_card_number(canonical({"comment": f"a {text} b"}))
