"""Small documents by hand: a sale and what corrects it, as header and payload bytes."""

from __future__ import annotations

import uuid
from typing import Any

from shared.canonical import canonical

Document = tuple[bytes, bytes]


def doc_id(n: int) -> str:
    return str(uuid.UUID(int=0x018F_0000_0000_7000_8000_0000_0000_0000 + n))


def header(n: int, **changes: Any) -> dict[str, Any]:
    """A header as a station seals it."""
    return {
        "doc_id": doc_id(n),
        "kind": "sale",
        "version": 1,
        "time": "2026-11-21T10:00:00.000Z",
        "zone": "Europe/Paris",
        "boot": "b1",
        "tick_ms": n,
        "offset_ms": 0,
        "business_date": "2026-11-21",
        "number": f"T-1-{n:06d}",
        "refs": [],
        **changes,
    }


def payload(amount_minor: int = 500, **changes: Any) -> dict[str, Any]:
    """A sale of one line, paid in cash."""
    line = {"n": 1, "product": "A1", "quantity": "2", "price_minor": 250, "amount_minor": amount_minor}
    return {
        "currency": "EUR",
        "lines": [line],
        "payments": [{"n": 1, "type": "CASH", "amount_minor": amount_minor}],
        "total_minor": amount_minor,
        **changes,
    }


def sale(n: int, amount_minor: int = 500, **changes: Any) -> Document:
    return canonical(header(n, **changes)), canonical(payload(amount_minor))


def cancellation(n: int, of: int, amount_minor: int = 500) -> Document:
    """The cancellation of sale *of*."""
    content = {**payload(-amount_minor), "cancels": doc_id(of)}
    return canonical(header(n, kind="sale_cancellation", refs=[doc_id(of)])), canonical(content)


def broken_sale(n: int) -> Document:
    """A sale whose line names no product."""
    content = payload()
    del content["lines"][0]["product"]
    return canonical(header(n)), canonical(content)
