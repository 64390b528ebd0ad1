"""Items for the catalog's benchmarks: 100,000 products of about 300 B, and changes of their prices.

The yardstick is used where it lies beside the checkout, as for the sales (tests/support/yardstick.py); otherwise
an own generator makes items of the same shape. Each item depends on its number and version alone.
"""

from __future__ import annotations

import random
from typing import Any

from shared.canonical import canonical
from tests.support.yardstick import FIRST_MS, GROUPS, NAMES, RATES_BP, UNITS, yardstick


def payload(number: int, version: int = 0) -> dict[str, Any]:
    """An item as the product that HQ publishes; what our model does not know is carried along."""
    module = yardstick()
    raw = module.item(number, version) if module else _own_item(number, version)
    return {
        "code": raw["code"],
        "name": raw["name"],
        "short_name": raw["short_name"],
        "barcodes": [raw["barcode"]],
        "unit": raw["unit"],
        "group": raw["group"],
        "tax_rate": f"VAT{raw['vat']}",
        "min_age": raw["min_age"],
        "list_price_minor": raw["price"],
        "cost_minor": raw["cost"],
        "supplier": raw["supplier"],
        "updated_ms": raw["updated_ms"],
    }


def changed(count: int, total: int, version: int) -> list[int]:
    """Which of *total* items a change touches."""
    return sorted(random.Random(f"changed/{version}").sample(range(total), count))


def row(product: dict[str, Any]) -> tuple[Any, ...]:
    """An item as the limits store it: what is looked up by in columns, and the whole beside them."""
    columns = ("code", "name", "unit", "group", "tax_rate", "list_price_minor", "updated_ms")
    return (*(product[column] for column in columns), product["barcodes"][0], canonical(product))


def file(products: list[dict[str, Any]], mode: str) -> str:
    """*products* as HQ drops them into the folder: `complete` or `changes`."""
    about = {"counterflow": {"entity": "product", "scope": "base", "mode": mode}}
    return "\n".join(canonical(line).decode() for line in [about, *products]) + "\n"


def _own_item(number: int, version: int) -> dict[str, Any]:
    rng = random.Random(f"item/{number}")
    price_rng = random.Random(f"item/{number}/{version}") if version else rng
    return {
        "code": f"A{number:07d}",
        "barcode": f"{300_000_000_000 + number * 10 + (number * 7) % 10:013d}",
        "name": f"{rng.choice(NAMES)} {rng.choice((100, 250, 500))} g réf. {rng.randrange(99_999):05d}",
        "short_name": f"{rng.choice(NAMES)[:10]} {number % 1000}",
        "unit": UNITS[number % 4],
        "group": rng.choice(GROUPS),
        "vat": rng.choice(RATES_BP),
        "min_age": 18 if number % 97 == 0 else 0,
        "cost": rng.randrange(20, 50_000),
        "supplier": f"SUP-{rng.randrange(800):04d}",
        "price": price_rng.randrange(50, 99_999),
        "updated_ms": FIRST_MS + 86_400_000 * version + number,
    }
