"""W8: records of a foreign system become documents' fields: ten fields with a value map, a look-up and a nested list.

Both sides are counted in processor time of one thread, so other work on the machine does not matter. The limit makes
the same dictionaries by code written for these ten fields and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from central.mapping.compile import compile_fields
from central.mapping.lookups import LookUp
from tests.benchmarks.bench import Bench
from tests.benchmarks.result import Figure, at_least, median

AIM = 20_000
UNITS = {"796": "PCE", "166": "KGM"}
FIELDS: dict[str, Any] = {
    "external_id": "{{id}}",
    "number": "CF-{{number}}",
    "date": "{{date | cut(10)}}",
    "buyer": {"ref": "party", "value": "{{buyer.code}}", "required": True},
    "currency": {"value": "{{currency}}", "default": "EUR"},
    "unit": {"value": "{{unit}}", "map": "units"},
    "total": "{{total}}",
    "source": "shop",
    "paid": "{{paid}}",
    "lines": {
        "each": "lines",
        "fields": {"item": "{{product}}", "qty": "{{quantity}}", "price": "{{price}}"},
    },
}
Record = dict[str, Any]


def record(number: int) -> Record:
    lines = [
        {"product": f"P{number % 500}", "quantity": "1.5", "price": Decimal("12.50")},
        {"product": f"P{number % 300}", "quantity": "2", "price": Decimal("0.99")},
    ]
    return {
        "id": f"7f{number}", "number": number, "date": "2026-08-09T10:11:12Z", "buyer": {"code": f"C{number % 1000}"},
        "unit": ("796", "166")[number % 2], "total": Decimal("20.73"), "paid": True, "lines": lines,
    }  # fmt: skip


async def measure(bench: Bench) -> list[Figure]:
    records = [record(number) for number in range(bench.sizes.mapped)]
    mapping = compile_fields(FIELDS, maps={"units": UNITS}, source=None, target=None, system="erp")

    def ours(one: Record) -> Record:
        # A page's questions are asked at once; here each is answered at once, which costs no less.
        return mapping.apply(one, {asked: f"{asked.code}-their" for asked in mapping.look_ups(one)})

    assert ours(records[0]) == plain(records[0])
    rates, limits = [], []
    for run in bench.runs:
        rates.append(_rate(ours, records))
        limits.append(_rate(plain, records))
        bench.say(f"W8 run {run + 1}: {rates[-1]:,.0f} records/s, plain code {limits[-1]:,.0f}")
    return [Figure("W8 mapping", median(rates), median(limits), at_least(AIM), "records/s")]


def plain(one: Record) -> Record:
    codes: Mapping[LookUp, str] = {
        (asked := LookUp("party", "erp", one["buyer"]["code"], "")): f"{asked.code}-their"
    }
    return {
        "external_id": one["id"],
        "number": f"CF-{one['number']}",
        "date": one["date"][:10],
        "buyer": codes[asked],
        "currency": one.get("currency") or "EUR",
        "unit": UNITS[one["unit"]],
        "total": one["total"],
        "source": "shop",
        "paid": one["paid"],
        "lines": [
            {"item": line["product"], "qty": line["quantity"], "price": line["price"]}
            for line in one["lines"]
        ],
    }


def _rate(make: Callable[[Record], Record], records: list[Record]) -> float:
    since = time.thread_time()
    for one in records:
        make(one)
    return len(records) / (time.thread_time() - since)
