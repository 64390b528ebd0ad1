"""Sales of the yardstick's shape as our receipts: 5 lines, 2 payments, about 1.5 kB.

The yardstick is used where it lies beside the checkout (../shared/yardstick); otherwise an own generator makes sales
of the same shape. What we carry is one thing only: payloads that our models accept.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from typing import Any

from shared.canonical import canonical
from shared.clock import rfc3339
from shared.documents import SCHEMA
from shared.ids import uuid7
from tests.support.yardstick import FIRST_MS, GROUPS, NAMES, RATES_BP, UNITS, yardstick


def raw_sale(i: int, station: int = 1) -> dict[str, Any]:
    """Sale *i* of a station, in the yardstick's own shape."""
    module = yardstick()
    sale: dict[str, Any] = module.sale(i, station) if module else _own_sale(i, station)
    return sale


def payload(sale: dict[str, Any]) -> dict[str, Any]:
    """A yardstick sale as the payload of our document kind `sale`."""
    return {
        "currency": sale["currency"],
        "cashier": sale["cashier"],
        "shift": sale["shift"],
        "customer": sale["customer"],
        "opened_at": rfc3339(sale["opened_ms"]),
        "closed_at": rfc3339(sale["closed_ms"]),
        "lines": [
            {
                "n": line["n"],
                "product": line["code"],
                "barcode": line["barcode"],
                "name": line["name"],
                "unit": line["unit"],
                "group": line["group"],
                "quantity": str(line["qty"]),
                "price_minor": line["price"],
                "discount_minor": line["discount"],
                "amount_minor": line["amount"],
                "taxes": [{"code": f"VAT{line['vat']}", "rate_bp": line["vat"], "amount_minor": line["tax"]}],
            }
            for line in sale["lines"]
        ],
        "payments": [
            {
                "n": payment["n"],
                "type": payment["method"],
                "amount_minor": payment["amount"],
                **({"reference": payment["ref"]} if payment["ref"] else {}),
                **({"terminal": payment["terminal"]} if "terminal" in payment else {}),
            }
            for payment in sale["payments"]
        ],
        "total_minor": sale["totals"]["gross"],
        "tax_minor": sale["totals"]["tax"],
        "discount_minor": sale["totals"]["discount"],
        "fiscal": {"signature": sale["signature"]},
    }


def doc_id(i: int, station: int = 1) -> str:
    random_80 = hashlib.sha256(f"yardstick/{station}/{i}".encode()).digest()[:10]
    return str(uuid7(FIRST_MS + i * 30_000 + station, random_80))


def header(i: int, station_code: str, station: int = 1) -> dict[str, Any]:
    """The header that a station seals with sale *i*."""
    time_ms = FIRST_MS + i * 30_000 + station
    return {
        "doc_id": doc_id(i, station),
        "kind": "sale",
        "version": SCHEMA,
        "time": rfc3339(time_ms),
        "zone": "Europe/Paris",
        "boot": f"{station:016x}",
        "tick_ms": i * 30_000,
        "offset_ms": 120,
        "business_date": rfc3339(time_ms)[:10],
        "number": f"{station_code}-{i + 1:06d}",
        "refs": [],
    }


def documents(
    count: int, station_code: str, station: int = 1, start: int = 0
) -> Iterator[tuple[bytes, bytes]]:
    """(header, payload) bytes of *count* sales, ready to be sealed."""
    for i in range(start, start + count):
        yield canonical(header(i, station_code, station)), canonical(payload(raw_sale(i, station)))


def submissions(count: int, station: int = 1, start: int = 0) -> Iterator[bytes]:
    """What a till hands in at the local API for *count* sales."""
    for i in range(start, start + count):
        yield canonical(
            {"kind": "sale", "doc_id": doc_id(i, station), "payload": payload(raw_sale(i, station))}
        )


def _own_sale(i: int, station: int) -> dict[str, Any]:
    rng = random.Random(f"sale/{station}/{i}")
    lines = []
    for n in range(1, 6):
        item, price, quantity = rng.randrange(100_000), rng.randrange(50, 9_999), rng.randrange(1, 6)
        discount = price * quantity // 10 if rng.random() < 0.2 else 0
        rate, amount = rng.choice(RATES_BP), price * quantity - discount
        lines.append(
            {
                "n": n,
                "code": f"A{item:07d}",
                "barcode": f"{300_000_000_000 + item * 10:013d}",
                "name": f"{rng.choice(NAMES)} {rng.randrange(99_999):05d}",
                "unit": UNITS[item % 4],
                "group": GROUPS[item % 8],
                "qty": quantity,
                "price": price,
                "discount": discount,
                "vat": rate,
                "tax": amount * rate // (10_000 + rate),
                "amount": amount,
            }
        )
    gross, tax = sum(line["amount"] for line in lines), sum(line["tax"] for line in lines)
    cash, closed_ms = rng.randrange(gross + 1), FIRST_MS + i * 30_000 + station
    card = {"n": 2, "method": "CARD", "amount": gross - cash, "ref": f"{rng.getrandbits(48):012X}"}
    return {
        "cashier": f"C{rng.randrange(200):04d}",
        "shift": f"SH-{station:05d}-{i // 400:05d}",
        "customer": f"CU{rng.randrange(10**8):08d}",
        "opened_ms": closed_ms - rng.randrange(5_000, 90_000),
        "closed_ms": closed_ms,
        "currency": "EUR",
        "lines": lines,
        "payments": [
            {"n": 1, "method": "CASH", "amount": cash, "ref": ""},
            {**card, "terminal": f"T{station:04d}"},
        ],
        "totals": {"gross": gross, "tax": tax, "discount": sum(line["discount"] for line in lines)},
        "signature": f"{rng.getrandbits(256):064x}",
    }
