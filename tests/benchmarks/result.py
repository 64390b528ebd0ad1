"""What a benchmark says: one figure of ours beside the limit of this machine, measured in the same run.

Absolute figures move with the machine, so a figure is judged by its ratio to the limit wherever the design gives one;
`Aim.of_limit` draws the aim from the limit. What has no limit (bytes, memory, a delay) has an absolute aim.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Aim:
    """Where a figure has to be: `value` at least, or at most."""

    value: float
    at_most: bool

    def is_met(self, figure: float) -> bool:
        return figure <= self.value if self.at_most else figure >= self.value

    @property
    def text(self) -> str:
        return f"{'<=' if self.at_most else '>='} {number(self.value)}"


def at_least(value: float) -> Aim:
    return Aim(value, at_most=False)


def at_most(value: float) -> Aim:
    return Aim(value, at_most=True)


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table. *limit* is None where there is nothing to measure against."""

    name: str
    ours: float
    limit: float | None
    aim: Aim
    unit: str

    @property
    def ratio(self) -> float | None:
        return self.ours / self.limit if self.limit else None

    @property
    def ok(self) -> bool:
        return self.aim.is_met(self.ours)

    def as_json(self) -> dict[str, Any]:
        row = asdict(self) | {"ratio": self.ratio, "aim": self.aim.value, "ok": self.ok}
        return {name: rounded(value) if isinstance(value, float) else value for name, value in row.items()}


def median(values: Iterable[float]) -> float:
    return statistics.median(values)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that *share* (0 to 1) of *values* do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, math.ceil(share * len(ordered)) - 1))]


def rounded(value: float) -> float:
    """Four digits that count: more would claim what no measurement here can tell."""
    return float(f"{value:.4g}")


def number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{rounded(value):g}"


def dump(figures: Sequence[Figure]) -> str:
    """The table for machines: a list of {name, ours, limit, ratio, aim, unit, ok}."""
    order = ("name", "ours", "limit", "ratio", "aim", "unit", "ok")
    rows = [{key: row[key] for key in order} for row in (figure.as_json() for figure in figures)]
    return json.dumps(rows, indent=2)


def table(figures: Sequence[Figure]) -> str:
    """The table for people."""
    head = ("work", "limit", "ours", "aim", "ratio", "unit", "")
    rows = [head] + [
        (
            figure.name,
            number(figure.limit),
            number(figure.ours),
            figure.aim.text,
            "-" if figure.ratio is None else f"{figure.ratio:.2f}",
            figure.unit,
            "ok" if figure.ok else "MISSED",
        )
        for figure in figures
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    left = {0, 5, 6}
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
