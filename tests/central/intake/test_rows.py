"""Documents as rows: what they say is what stands there, and what cannot be said is named by its root cause."""

from __future__ import annotations

from typing import Any

import pytest

from central.intake.rows import Rows, Unfit, is_known, references, rows_of
from shared.documents import KINDS
from tests.support import yardstick_sales
from tests.support.sales import doc_id, header, payload


def unfit(changed: dict[str, Any], head: dict[str, Any] | None = None) -> Unfit:
    with pytest.raises(Unfit) as caught:
        rows_of(1, 2, head or header(1), changed)
    return caught.value


def test_sale_becomes_document_lines_and_payments() -> None:
    """Every column of a sale comes from the field of its name."""
    content = payload(
        400,
        lines=[
            {
                "n": 1, "product": "A1", "variant": "red", "pack": "six", "quantity": "1.5", "price_minor": 300,
                "discount_minor": 50, "amount_minor": 400, "seller": "Ann", "reason": {"kind": "promotion"},
                "taxes": [{"code": "VAT", "amount_minor": 60}, {"code": "X", "amount_minor": 7}],
            }
        ],
        payments=[{"n": 1, "type": "CARD", "amount_minor": 400, "reference": "R1"}],
        shift="S", cashier="C", customer="K", tax_minor=67, discount_minor=50,
    )  # fmt: skip
    rows = rows_of(1, 2, header(7, offset_ms=-250), content)
    time_ms = 1_795_255_200_000
    assert rows == Rows(
        (1, 2, "sale", "2026-11-21", "T-1-000007", time_ms, time_ms - 250, "S", "C", "K", "EUR", 400, 67, 50),
        [(1, 2, 1, "A1", "red", "six", 1_500_000, 300, 50, 67, 400, "Ann", "promotion")],
        [(1, 2, 1, "CARD", 400, "R1")],
    )


def test_yardstick_sale_yields_its_sums() -> None:
    """Five lines and two payments, and their sums are the document's."""
    sale = yardstick_sales.payload(yardstick_sales.raw_sale(3))
    rows = rows_of(1, 1, yardstick_sales.header(3, "T-1"), sale)
    assert (len(rows.lines), len(rows.payments)) == (5, 2)
    assert (
        sum(line[10] for line in rows.lines)
        == sum(payment[4] for payment in rows.payments)
        == rows.document[11]
    )


def test_unknown_fields_are_ignored_and_absent_ones_are_null() -> None:
    """A newer till's fields change nothing; the receipt's seller stands in for a line's."""
    content = payload(future={"a": 1}, seller="Bob")
    content["lines"][0]["future"] = [1]
    rows = rows_of(1, 2, header(1, offset_ms=None), content)
    assert rows.lines[0][11] == "Bob"
    assert rows.document[7:11] == (None, None, None, "EUR")


@pytest.mark.parametrize(
    ("kind", "content", "total"),
    [
        ("cash_out", {"currency": "EUR", "amount_minor": -500, "reason": "BANK", "shift": "S"}, -500),
        ("shift_open", {"currency": "EUR", "shift": "S", "cashier": "C", "opened_at": "x"}, 0),
        ("shift_close", {"currency": "EUR", "shift": "S", "cashier": "C", "totals": []}, 0),
        ("customer_change", {"key": "K1", "fields": {}}, 0),
    ],
)
def test_other_kinds_are_documents_without_lines(kind: str, content: dict[str, Any], total: int) -> None:
    """What is no receipt has a document row, and neither lines nor payments."""
    rows = rows_of(1, 2, header(1, kind=kind), content)
    assert (rows.document[2], rows.document[11], rows.lines, rows.payments) == (kind, total, [], [])


def test_every_kind_is_known() -> None:
    """There is no kind without rows, and what is newer than this build is told apart from what is broken."""
    assert all(is_known(header(1, kind=kind)) == (True, True) for kind in KINDS)
    assert is_known(header(1, kind="drone_delivery")) == (False, True)
    assert is_known(header(1, version=99)) == (True, False)
    assert is_known({}) == (True, True)


def without(name: str) -> dict[str, Any]:
    content = payload()
    del content["lines"][0][name]
    return content


def with_line(**changes: Any) -> dict[str, Any]:
    content = payload()
    content["lines"][0].update(changes)
    return content


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (without("product"), "missing field lines[].product"),
        (without("quantity"), "missing field lines[].quantity"),
        (with_line(product=None), "missing field lines[].product"),
        (with_line(product=17), "wrong type in field lines[].product"),
        (with_line(price_minor=2.5), "wrong type in field lines[].price_minor"),
        (with_line(price_minor="250"), "wrong type in field lines[].price_minor"),
        (with_line(n=True), "wrong type in field lines[].n"),
        (with_line(quantity="two"), "wrong value in field lines[].quantity"),
        (with_line(quantity=[2]), "wrong value in field lines[].quantity"),
        (with_line(taxes=[{"code": "VAT"}]), "wrong type in lines[].taxes or lines[].reason"),
        (with_line(reason="promo"), "wrong type in lines[].taxes or lines[].reason"),
        (payload(lines=["x"]), "wrong type in lines[]"),
        (payload(lines=None), "missing field lines"),
        (payload(payments=None), "missing field payments"),
        (payload(payments=[{"n": 1, "amount_minor": 500}]), "missing field payments[].type"),
        (payload(payments=["x"]), "wrong type in payments[]"),
        (payload(payments=[{"n": 1, "type": 5, "amount_minor": 500}]), "wrong type in field payments[].type"),
        (payload(total_minor=None), "missing field total_minor"),
        (payload(total_minor=501), "the sums do not agree"),
        (payload(payments=[{"n": 1, "type": "CASH", "amount_minor": 499}]), "the sums do not agree"),
        (payload(rounding_minor="1"), "wrong type in field rounding_minor"),
        (payload(shift=5), "wrong type in field shift"),
    ],
)
def test_root_cause_is_named_without_positions(content: dict[str, Any], reason: str) -> None:
    """All documents that suffer from the same thing are one group."""
    assert unfit(content).reason == reason


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        ({}, "the header cannot be read"),
        ({**header(1), "time": "yesterday"}, "header: a field has the wrong type"),
        ({**header(1), "number": 5}, "wrong type in field header.number"),
        ({**header(1), "business_date": None}, "missing field header.business_date"),
        ({"kind": "sale"}, "missing field header.time"),
    ],
)
def test_header_that_cannot_be_used_is_named(head: dict[str, Any], reason: str) -> None:
    """A header is not trusted either."""
    with pytest.raises(Unfit) as caught:
        rows_of(1, 2, head, payload())
    assert caught.value.reason == reason


def test_detail_tells_where() -> None:
    """The reason is for the group; the detail names the line."""
    content = payload(1_000)
    content["lines"] = [*payload()["lines"], *without("product")["lines"]]
    assert unfit(content).what == "missing field lines[1].product"
    content["lines"][1]["product"] = 5
    assert unfit(content).what == "wrong type in field lines[1].product: 5"


def test_payload_that_is_no_object_is_unfit() -> None:
    """JSON of another form has no rows."""
    assert unfit([1, 2]).reason == "the payload is not a JSON object"  # type: ignore[arg-type]


def test_references_are_read_or_refused() -> None:
    """The documents that one corrects, as the gate knows them."""
    assert references(header(1)) == []
    assert references(header(2, refs=[doc_id(1)])) == [bytes.fromhex(doc_id(1).replace("-", ""))]
    with pytest.raises(Unfit):
        references(header(2, refs=["x"]))
