"""Laws of money and quantities: nothing is lost, nothing is rounded unseen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import BadInput
from shared.money import (
    AMOUNT_MAX_MINOR,
    NothingToAllocate,
    allocate,
    format_amount,
    parse_amount,
    vat_included,
)
from shared.quantity import from_micro, to_micro

amounts = st.integers(-AMOUNT_MAX_MINOR, AMOUNT_MAX_MINOR)
weights = st.lists(st.integers(0, 10**9), min_size=1, max_size=30).filter(any)


@given(amounts, weights)
def test_allocation_loses_no_minor_unit(total: int, parts: list[int]) -> None:
    """The shares of an amount sum to the amount, none has the other sign, and each is within one of its exact part."""
    shares = allocate(total, parts)
    assert sum(shares) == total
    assert all(share * total >= 0 for share in shares)
    assert all(
        abs(share * sum(parts) - total * part) < sum(parts) for share, part in zip(shares, parts, strict=True)
    )


@given(amounts, weights)
def test_allocating_a_return_mirrors_the_sale(total: int, parts: list[int]) -> None:
    """A return is split exactly as its sale was, with the sign turned."""
    assert allocate(-total, parts) == [-share for share in allocate(total, parts)]


@pytest.mark.parametrize("parts", [[], [0, 0], [3, -1]])
def test_nothing_to_allocate_is_an_error(parts: list[int]) -> None:
    """Weights that give no proportion are refused, not guessed."""
    with pytest.raises(NothingToAllocate):
        allocate(100, parts)


@given(amounts, st.integers(0, 4))
def test_an_amount_is_read_back_as_written(minor: int, exponent: int) -> None:
    """format_amount and parse_amount are inverse for every exponent."""
    assert parse_amount(format_amount(minor, exponent), exponent) == minor


@pytest.mark.parametrize("text", ["12,50", "", "1e3x", "NaN", "Infinity", "0.001", "99999999999999999"])
def test_an_amount_that_is_none_is_refused(text: str) -> None:
    """Commas, nothing, not-a-numbers, too many decimals and too large amounts are told apart from money."""
    with pytest.raises(BadInput):
        parse_amount(text)


@given(st.integers(-(10**15), 10**15))
def test_a_quantity_is_read_back_as_written(micro: int) -> None:
    """from_micro and to_micro are inverse."""
    assert to_micro(from_micro(micro)) == micro


@pytest.mark.parametrize("value", ["1.2345678", "x", "", "1e30", "NaN", 10**12])
def test_a_quantity_that_is_none_is_refused(value: int | str) -> None:
    """More than six places, no number, or out of bounds."""
    with pytest.raises(BadInput):
        to_micro(value)


@given(amounts, st.integers(0, 10_000))
def test_tax_inside_an_amount_mirrors_and_is_within_half_a_unit(amount: int, rate: int) -> None:
    """The included tax is the exact one rounded half away from zero, the same for a return."""
    tax = vat_included(amount, rate)
    assert tax == -vat_included(-amount, rate)
    assert abs(2 * (tax * (10_000 + rate) - amount * rate)) <= 10_000 + rate
