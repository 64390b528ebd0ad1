"""Orders, stock and money documents: what they may say, and what is refused because it contradicts itself."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.documents import KINDS, PAPER_KINDS, references_of
from shared.documents.masking import masked
from tests.support.papers import PAPERS, back, goods, line, order
from tests.support.sales import doc_id


def test_every_kind_has_its_example() -> None:
    """The kinds that the ERPs of the field name (S4), each with a payload that is taken."""
    assert set(PAPERS) == set(PAPER_KINDS)
    for kind, payload in PAPERS.items():
        KINDS[kind].model_validate(payload)


@pytest.mark.parametrize(
    ("kind", "payload", "why"),
    [
        ("order", goods(customer="C1"), "status"),
        ("order", order(total_minor=501), "the lines sum to 500"),
        ("order", goods(line(), line(), status="new"), "the same n"),
        ("order", goods(status="new", currency=None), "currency must be given"),
        ("order", {**order(), "lines": []}, "at least 1"),
        ("order_return", goods(), "go back"),
        ("supplier_return", {**PAPERS["supplier_return"], "lines": [line("2", -500)]}, "go back"),
        ("purchase", goods(supplier={"phone": "1"}), "a party needs"),
        ("transfer", {**PAPERS["transfer"], "to_warehouse": "W1"}, "are the same"),
        ("write_off", {**PAPERS["write_off"], "reason": ""}, "reason"),
        ("goods_receipt", goods(warehouse="W1", based_on=[{"kind": "order"}]), "a link needs"),
        ("stocktake", {"warehouse": "W1", "lines": [{"n": 1, "product": "A", "quantity": 1.5}]}, "float"),
        ("bank_document", {"currency": "EUR", "amount_minor": 1}, "account"),
    ],
)
def test_contradictions_are_named(kind: str, payload: dict[str, Any], why: str) -> None:
    """A document that does not add up is refused where it is handed in."""
    with pytest.raises(ValidationError, match=why):
        KINDS[kind].model_validate(payload)


def test_references_are_what_must_be_applied_before() -> None:
    """A document of ours that is cancelled, returned or built upon, each once; papers of others are not waited for."""
    assert references_of({"cancels": doc_id(1)}) == [doc_id(1)]
    links = [{"doc_id": doc_id(2)}, {"number": "P-17"}, {"doc_id": doc_id(1)}]
    assert references_of(back(returns=doc_id(1), based_on=links)) == [doc_id(1), doc_id(2)]
    assert references_of(order()) == []


@given(st.lists(st.tuples(st.integers(-(10**9), 10**9), st.integers(1, 5)), min_size=1, max_size=20))
def test_a_paper_is_taken_exactly_when_its_lines_sum_up(amounts: list[tuple[int, int]]) -> None:
    """To the minor unit: one more or less is refused."""
    lines = [line(str(count), amount, n=n) for n, (amount, count) in enumerate(amounts, 1)]
    KINDS["order"].model_validate(goods(*lines, status="new"))
    with pytest.raises(ValidationError):
        KINDS["order"].model_validate(goods(*lines, status="new", rounding_minor=1))


def test_numbers_of_the_books_are_no_card_numbers() -> None:
    """Tax numbers and accounts stay what they are, whatever digits they have; free text does not."""
    card = "4111111111111111"
    payload = {"account": card, "party": {"tax_id": card}, "warehouse": card, "comment": card}
    assert masked(payload) == {**payload, "comment": "****1111"}
