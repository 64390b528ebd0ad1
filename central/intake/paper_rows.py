"""Orders, stock and money documents as rows. Pure; few beside the receipts, so their own models read them here.

They have no payment rows: day totals per payment type are of receipts, and a payment for an order is a document of
its own.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from central.intake.row_shapes import (
    DocumentRow,
    Head,
    LineRow,
    LinkRow,
    PaperRow,
    PaperRows,
    Rows,
    Unfit,
    UnitRow,
)
from shared.documents import KINDS
from shared.documents.papers import GoodsLine, GoodsPaper, Paper
from shared.documents.payments import MoneyPaper
from shared.documents.stock import CountedLine
from shared.quantity import to_micro


def paper(station_no: int, doc_no: int, head: Head, payload: dict[str, Any]) -> Rows:
    """The rows of one paper.

    Raises:
        Unfit: it is not what its kind's model says.
    """
    try:
        read = KINDS[head[0]].model_validate(payload)
    except ValidationError as error:
        raise _unfit(error) from None
    assert isinstance(read, Paper)
    goods = read.lines if isinstance(read, GoodsPaper) else []
    details = PaperRows(
        _paper(station_no, doc_no, read),
        _links(station_no, doc_no, read),
        [unit for line in goods for unit in _units(station_no, doc_no, line)],
    )
    lines = [_line(station_no, doc_no, line) for line in goods]
    return Rows(_document(station_no, doc_no, head, read), lines, [], details)


def _unfit(error: ValidationError) -> Unfit:
    fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in fault["loc"]).lstrip(".")
    field = "".join("[]" if isinstance(part, int) else f".{part}" for part in fault["loc"]).lstrip(".")
    if fault["type"] == "missing":
        return Unfit(f"missing field {field}", f"missing field {place}")
    why = fault["msg"].removeprefix("Value error, ")
    if not field:
        return Unfit("the document contradicts itself", why)
    return Unfit(f"wrong value in field {field}", f"{place}: {why}")


def _document(station_no: int, doc_no: int, head: Head, read: Paper) -> DocumentRow:
    known: dict[str, Any] = dict(read)
    party = known.get("party")
    customer = known.get("customer") or (party.code if party is not None else None)
    own = (known.get("shift"), known.get("cashier"), customer, known.get("currency"))
    if isinstance(read, MoneyPaper):
        return (station_no, doc_no, *head, *own, read.amount_minor, 0, 0)
    return (
        station_no,
        doc_no,
        *head,
        *own,
        known["total_minor"],
        known["tax_minor"],
        known["discount_minor"],
    )


def _paper(station_no: int, doc_no: int, read: Paper) -> PaperRow:
    known: dict[str, Any] = dict(read)
    party = known.get("supplier") or known.get("party")
    return (
        station_no,
        doc_no,
        read.status,
        read.organisation,
        (party.code if party else None) or known.get("customer"),
        (party.name or None) if party else None,
        party.tax_id if party else None,
        known.get("warehouse"),
        known.get("to_warehouse"),
        known.get("account"),
        known.get("due") or known.get("booked"),
        known.get("reason") or known.get("purpose") or None,
    )


def _links(station_no: int, doc_no: int, read: Paper) -> list[LinkRow]:
    found: list[tuple[str | None, str | None, str | None]] = [
        (link.doc_id, link.kind, link.number) for link in read.based_on
    ]
    if returns := getattr(read, "returns", None):
        found.insert(0, (returns, None, None))
    return [
        (station_no, doc_no, n, bytes.fromhex(doc_id.replace("-", "")) if doc_id else None, kind, number)
        for n, (doc_id, kind, number) in enumerate(found, 1)
    ]


def _line(station_no: int, doc_no: int, line: GoodsLine) -> LineRow:
    return (
        station_no,
        doc_no,
        line.n,
        line.product,
        line.variant,
        line.pack,
        to_micro(line.quantity),
        line.price_minor,
        line.discount_minor,
        sum(tax.amount_minor for tax in line.taxes),
        line.amount_minor,
        None,
        None,
    )


def _units(station_no: int, doc_no: int, line: GoodsLine) -> list[UnitRow]:
    units: list[tuple[str, int, str, int | None, str | None]] = [
        ("lot", n, lot.code, to_micro(lot.quantity) if lot.quantity is not None else None, lot.expires)
        for n, lot in enumerate(line.lots, 1)
    ]
    units += [("serial", n, code, None, None) for n, code in enumerate(line.serials, 1)]
    units += [("mark", n, code, None, None) for n, code in enumerate(line.marks, 1)]
    if isinstance(line, CountedLine) and line.expected is not None:
        units.append(("expected", 1, "", to_micro(line.expected), None))
    return [(station_no, doc_no, line.n, *unit) for unit in units]
