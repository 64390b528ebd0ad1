"""The balance at the end of the demonstration: sold = stored = delivered, per station and payment type. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Cell = tuple[str, str]
"""(station, payment type)"""


@dataclass(frozen=True, slots=True)
class Sum:
    """How many payments, and what they sum to in minor units."""

    count: int = 0
    amount_minor: int = 0

    def plus(self, amount_minor: int) -> Sum:
        return Sum(self.count + 1, self.amount_minor + amount_minor)


Totals = dict[Cell, Sum]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    station: str
    payment_type: str
    sold: Sum
    stored: Sum
    delivered: Sum

    @property
    def balances(self) -> bool:
        return self.sold == self.stored == self.delivered


@dataclass(frozen=True, slots=True)
class Balance:
    """The table, and what documents are lost or doubled."""

    rows: list[Row]
    lost: list[str]
    doubled: list[str]

    @property
    def holds(self) -> bool:
        return all(row.balances for row in self.rows) and not self.lost and not self.doubled


def add(totals: Totals, station: str, payment_type: str, amount_minor: int) -> None:
    totals[station, payment_type] = totals.get((station, payment_type), Sum()).plus(amount_minor)


def of_delivered(lines: Iterable[Mapping[str, Any]]) -> tuple[Totals, Counter[str]]:
    """Totals over delivered lines, and how often each document was delivered."""
    totals: Totals = {}
    times: Counter[str] = Counter()
    for line in lines:
        times[line["doc_id"]] += 1
        for payment in line["document"].get("payments", ()):
            add(totals, line["station"], payment["type"], payment["amount_minor"])
    return totals, times


def balance(
    sold: Totals, stored: Totals, delivered: Totals, sold_ids: set[str], times: Counter[str]
) -> Balance:
    """Compare the three tallies cell by cell, and the documents one by one."""
    cells = sorted(set(sold) | set(stored) | set(delivered))
    rows = [
        Row(*cell, sold.get(cell, Sum()), stored.get(cell, Sum()), delivered.get(cell, Sum()))
        for cell in cells
    ]
    lost = sorted(sold_ids - set(times))
    doubled = sorted(doc_id for doc_id, count in times.items() if count > 1 or doc_id not in sold_ids)
    return Balance(rows, lost, doubled)
