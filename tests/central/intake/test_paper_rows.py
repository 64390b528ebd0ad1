"""Orders, stock and money documents as rows."""

from __future__ import annotations

from typing import Any

import pytest

from central.intake.rows import Rows, Unfit, rows_of
from tests.support.papers import PAPERS, goods, line, order
from tests.support.sales import doc_id, header


def rows(kind: str, payload: dict[str, Any] | None = None) -> Rows:
    return rows_of(1, 2, header(7, kind=kind), payload or PAPERS[kind])


@pytest.mark.parametrize("kind", PAPERS)
def test_every_paper_has_a_row_of_its_own_and_no_payments(kind: str) -> None:
    """Day totals per payment type are of receipts: no paper adds to them."""
    found = rows(kind)
    assert found.document[2] == kind
    assert found.payments == []
    assert found.paper is not None
    assert found.paper.paper[:2] == (1, 2)
    assert sum(one[10] for one in found.lines) == (found.document[11] if found.lines else 0)


def test_goods_receipt_keeps_supplier_lots_serials_and_links() -> None:
    """Every field that an ERP asks for has its column."""
    found = rows("goods_receipt")
    assert found.paper is not None
    assert found.paper.paper[4:8] == ("S1", "Mill & Co", "7707083893", "W1")
    first = bytes.fromhex(doc_id(2).replace("-", ""))
    assert found.paper.links == [(1, 2, 1, first, None, None), (1, 2, 2, None, "purchase", "P-17")]
    assert found.paper.units == [
        (1, 2, 1, "lot", 1, "L1", 2_000_000, "2027-01-01"),
        (1, 2, 1, "serial", 1, "N1", None, None),
        (1, 2, 1, "serial", 2, "N2", None, None),
    ]


def test_order_return_links_to_its_order() -> None:
    """What it returns is a link like any other, the first one."""
    found = rows("order_return")
    assert found.paper is not None
    assert found.paper.links[0][3] == bytes.fromhex(doc_id(1).replace("-", ""))
    assert found.lines[0][6] == -2_000_000


def test_stocktake_tells_what_was_counted_and_what_was_expected() -> None:
    """The line has the count, a unit of it what the books said."""
    found = rows("stocktake")
    assert found.paper is not None
    assert found.lines[0][6] == 2_000_000
    assert found.paper.units == [(1, 2, 1, "expected", 1, "", 3_500_000, None)]


def test_money_has_its_amount_and_sign() -> None:
    """What we pay is negative; account and purpose are kept."""
    found = rows("cash_document")
    assert found.paper is not None
    assert found.document[10:14] == ("EUR", -500, 0, 0)
    assert found.paper.paper[9:12] == ("DESK", None, "rent")


@pytest.mark.parametrize(
    ("payload", "reason", "what"),
    [
        (goods(), "missing field status", "missing field status"),
        (order(lines=[]), "wrong value in field lines", "lines: List should have at least 1"),
        (
            order(lines=[{"n": 1, "product": "A1"}], total_minor=0),
            "missing field lines[].quantity",
            "missing field lines[0].quantity",
        ),
        (
            goods(line(), line(price_minor=2.5, n=2), status="new"),
            "wrong value in field lines[].price_minor",
            "lines[1].price_minor: Input should be a valid integer",
        ),
        (order(total_minor=1), "the document contradicts itself", "the lines sum to 500"),
    ],
)
def test_root_cause_is_named_without_positions(payload: dict[str, Any], reason: str, what: str) -> None:
    """As with receipts: all that suffer from the same thing are repaired together."""
    with pytest.raises(Unfit) as caught:
        rows("order", payload)
    assert caught.value.reason == reason
    assert caught.value.what.startswith(what)
