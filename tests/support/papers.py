"""One payload of each kind of order, stock and money document."""

from __future__ import annotations

from typing import Any

from tests.support.sales import doc_id


def line(quantity: str = "2", amount_minor: int = 500, **changes: Any) -> dict[str, Any]:
    return {
        "n": 1,
        "product": "A1",
        "quantity": quantity,
        "price_minor": 250,
        "amount_minor": amount_minor,
        **changes,
    }


def goods(*lines: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A payload with lines whose total is right."""
    chosen = lines or (line(),)
    total = sum(one["amount_minor"] for one in chosen)
    return {"currency": "EUR", "lines": list(chosen), "total_minor": total, **changes}


def order(status: str = "new", **changes: Any) -> dict[str, Any]:
    return goods(status=status, customer="C1", warehouse="W1", **changes)


def back(**changes: Any) -> dict[str, Any]:
    return goods(line("-2", -500), **changes)


SUPPLIER = {"code": "S1", "name": "Mill & Co", "tax_id": "7707083893"}
BARE = {"n": 1, "product": "A1", "quantity": "2"}

PAPERS: dict[str, dict[str, Any]] = {
    "order": order(),
    "order_return": back(returns=doc_id(1), customer="C1", reason="too big"),
    "purchase": goods(supplier=SUPPLIER, status="sent", due="2026-12-01"),
    "supplier_return": back(supplier=SUPPLIER, warehouse="W1"),
    "goods_receipt": goods(
        line(lots=[{"code": "L1", "quantity": "2", "expires": "2027-01-01"}], serials=["N1", "N2"]),
        supplier=SUPPLIER,
        warehouse="W1",
        based_on=[{"doc_id": doc_id(2)}, {"kind": "purchase", "number": "P-17"}],
    ),
    "transfer": {"warehouse": "W1", "to_warehouse": "W2", "lines": [BARE]},
    "stocktake": {"warehouse": "W1", "lines": [{**BARE, "expected": "3.5"}], "complete": True},
    "write_off": {"warehouse": "W1", "lines": [{**BARE, "marks": ["01046"]}], "reason": "broken"},
    "customer_payment": {"currency": "EUR", "amount_minor": 500, "type": "CARD", "customer": "C1"},
    "cash_document": {"currency": "EUR", "amount_minor": -500, "account": "DESK", "purpose": "rent"},
    "bank_document": {"currency": "EUR", "amount_minor": 900, "account": "40702810500000000001"},
}
