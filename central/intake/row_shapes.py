"""What a document becomes: the rows of each table, in their column order, and why it can become none."""

from __future__ import annotations

from typing import NamedTuple

from shared.errors import BadInput

Head = tuple[str, str, str, int, int]
"""kind, business date, number, device time, corrected time"""
DocumentRow = tuple[
    int, int, str, str, str, int, int, str | None, str | None, str | None, str | None, int, int, int
]
LineRow = tuple[int, int, int, str, str | None, str | None, int, int, int, int, int, str | None, str | None]
PaymentRow = tuple[int, int, int, str, int, str | None]
PaperRow = tuple[int, int, *tuple[str | None, ...]]
LinkRow = tuple[int, int, int, bytes | None, str | None, str | None]
UnitRow = tuple[int, int, int, str, int, str, int | None, str | None]


class PaperRows(NamedTuple):
    """What an order, stock or money document adds to `papers`, `paper_links` and `paper_units`."""

    paper: PaperRow
    links: list[LinkRow]
    units: list[UnitRow]


class Rows(NamedTuple):
    """What one document adds to `documents`, `lines` and `payments`; `paper` where it is no receipt."""

    document: DocumentRow
    lines: list[LineRow]
    payments: list[PaymentRow]
    paper: PaperRows | None = None


class Unfit(BadInput):
    """A document that does not yield rows; `reason` is the root cause that it shares with others."""

    code = "unfit-document"

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(detail or reason)
        self.reason = reason
