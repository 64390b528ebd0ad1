"""The demonstration's own judge: whatever is lost, doubled or changed shows in its table."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.demo.balance import Sum, balance, of_delivered


def line(doc_id: str, amount: int = 100, station: str = "T1", payment: str = "CASH") -> dict:
    payments = [{"type": payment, "amount_minor": amount}]
    return {"doc_id": doc_id, "station": station, "document": {"payments": payments}}


SOLD = {("T1", "CASH"): Sum(2, 200)}
IDS = {"a", "b"}


def test_equal_tallies_balance() -> None:
    """Sold, stored and delivered are the same two sales."""
    delivered, times = of_delivered([line("a"), line("b")])
    assert balance(SOLD, SOLD, delivered, IDS, times).holds


@pytest.mark.parametrize(
    ("lines", "lost", "doubled"),
    [
        ([line("a")], ["b"], []),
        ([line("a"), line("b"), line("b")], [], ["b"]),
        ([line("a"), line("b"), line("c")], [], ["c"]),
        ([line("a"), line("b", amount=101)], [], []),
        ([line("a"), line("b", payment="CARD")], [], []),
        ([line("a"), line("b", station="T2")], [], []),
    ],
    ids=["lost", "doubled", "never sold", "other amount", "other payment type", "other station"],
)
def test_any_difference_is_shown(lines: list[dict], lost: list[str], doubled: list[str]) -> None:
    """Nothing that differs passes as equal."""
    delivered, times = of_delivered(lines)
    result = balance(SOLD, SOLD, delivered, IDS, times)
    assert not result.holds
    assert (result.lost, result.doubled) == (lost, doubled)


def test_what_the_centre_does_not_have_is_shown() -> None:
    """Delivered without being stored does not balance either."""
    delivered, times = of_delivered([line("a"), line("b")])
    assert not balance(SOLD, {}, delivered, IDS, times).holds
    assert not balance({}, {}, {}, set(), Counter({"a": 1})).holds
