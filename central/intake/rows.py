"""Documents as rows of tables: one function per family of kinds. Pure, and on the path of every replayed sale.

What a payload says is taken as it is; fields that this build does not know are ignored. What does not yield rows
raises `Unfit`: its `reason` names the root cause without positions, so that all documents that suffer from the same
thing are one group and are repaired together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from central.catalog.record_kinds import RECORD_KINDS
from central.intake.paper_rows import paper
from central.intake.row_shapes import DocumentRow, Head, LineRow, PaymentRow, Rows, Unfit
from shared.clock import from_rfc3339
from shared.documents import KINDS, PAPER_KINDS, SCHEMA
from shared.errors import BadInput
from shared.quantity import to_micro

__all__ = ["Rows", "Unfit", "is_known", "references", "rows_of"]


def is_known(header: dict[str, Any]) -> tuple[bool, bool]:
    """Whether this build knows the document's kind, and its schema version.

    A header that cannot be read is not "unknown": it goes on, and is parked with its reason.
    """
    kind, version = header.get("kind"), header.get("version")
    return not isinstance(kind, str) or kind in _BUILDERS, not isinstance(version, int) or version <= SCHEMA


def references(header: dict[str, Any]) -> list[bytes]:
    """The doc_ids of the documents that this one corrects."""
    refs = header.get("refs")
    if not refs:
        return []
    try:
        return [bytes.fromhex(ref.replace("-", "")) for ref in refs]
    except (AttributeError, ValueError, TypeError):
        raise Unfit("header: refs are not document ids", f"header: refs are {refs!r:.200}") from None


def rows_of(station_no: int, doc_no: int, header: dict[str, Any], payload: Any) -> Rows:
    """The rows of one document.

    Raises:
        Unfit: a field is missing or is not of its type, or the sums do not agree.
    """
    if not header:
        raise Unfit("the header cannot be read")
    if not isinstance(payload, dict):
        raise Unfit("the payload is not a JSON object")
    try:
        builder = _BUILDERS[header["kind"]]
        time_ms = from_rfc3339(header["time"])
        head = (
            header["kind"],
            header["business_date"],
            header["number"],
            time_ms,
            time_ms + (header["offset_ms"] or 0),
        )
    except KeyError as error:
        raise Unfit(f"missing field header.{error.args[0]}") from None
    except (TypeError, ValueError) as error:
        raise Unfit("header: a field has the wrong type", f"header: {error}") from None
    rows = builder(station_no, doc_no, head, payload)
    types = tuple(map(type, chain.from_iterable((rows.document, *rows.lines, *rows.payments))))
    if types not in _right:
        _check_types(rows)
        if len(_right) >= _RIGHT_MAX:
            _right.clear()
        _right.add(types)
    if builder is _receipt:
        _check_sums(rows, payload)
    return rows


_TEXT, _INT, _MAYBE = (str,), (int,), (str, type(None))
_DOCUMENT_FIELDS = (
    ("kind", _TEXT),
    ("header.business_date", _TEXT),
    ("header.number", _TEXT),
    ("header.time", _INT),
    ("header.offset_ms", _INT),
    ("shift", _MAYBE),
    ("cashier", _MAYBE),
    ("customer", _MAYBE),
    ("currency", _MAYBE),
    ("total_minor", _INT),
    ("tax_minor", _INT),
    ("discount_minor", _INT),
)
_LINE_FIELDS = (
    ("n", _INT),
    ("product", _TEXT),
    ("variant", _MAYBE),
    ("pack", _MAYBE),
    ("quantity", _INT),
    ("price_minor", _INT),
    ("discount_minor", _INT),
    ("taxes.amount_minor", _INT),
    ("amount_minor", _INT),
    ("seller", _MAYBE),
    ("reason.kind", _MAYBE),
)
_PAYMENT_FIELDS = (("n", _INT), ("type", _TEXT), ("amount_minor", _INT), ("reference", _MAYBE))

_right: set[tuple[type, ...]] = set()
"""Types of whole documents, value by value, that were found right: looked at once, known from then on."""
_RIGHT_MAX = 4_096


def _check_types(rows: Rows) -> None:
    parts: tuple[tuple[str, Sequence[tuple[Any, ...]], Sequence[tuple[str, tuple[type, ...]]]], ...] = (
        ("", [rows.document], _DOCUMENT_FIELDS),
        ("lines[].", rows.lines, _LINE_FIELDS),
        ("payments[].", rows.payments, _PAYMENT_FIELDS),
    )
    for where, part, fields in parts:
        for at, row in enumerate(part):
            for (name, allowed), value in zip(fields, row[2:], strict=True):
                if type(value) not in allowed:
                    what = "missing field" if value is None else "wrong type in field"
                    place = where.replace("[]", f"[{at}]")
                    raise Unfit(f"{what} {where}{name}", f"{what} {place}{name}: {value!r:.100}")


def _check_sums(rows: Rows, payload: dict[str, Any]) -> None:
    total_minor, rounding_minor = rows.document[11], payload.get("rounding_minor", 0)
    if type(rounding_minor) is not int:
        raise Unfit(
            "wrong type in field rounding_minor",
            f"wrong type in field rounding_minor: {rounding_minor!r:.100}",
        )
    sold = sum([row[10] for row in rows.lines]) + rounding_minor
    paid = sum([row[4] for row in rows.payments])
    if sold != total_minor or paid != total_minor:
        raise Unfit(
            "the sums do not agree",
            f"total_minor is {total_minor}, the lines with rounding sum to {sold}, the payments to {paid}",
        )


_micro = lru_cache(maxsize=8_192)(to_micro)


def _receipt(station_no: int, doc_no: int, head: Head, payload: dict[str, Any]) -> Rows:
    get = payload.get
    lines, payments = get("lines"), get("payments")
    if type(lines) is not list or type(payments) is not list:
        name = "payments" if type(lines) is list else "lines"
        raise Unfit(f"missing field {name}", f"missing field {name}: {get(name)!r:.100}")
    line_rows = _lines(station_no, doc_no, lines, get("seller"))
    payment_rows = _payments(station_no, doc_no, payments)
    document = _document(
        station_no,
        doc_no,
        head,
        payload,
        get("total_minor"),
        get("tax_minor", 0),
        get("discount_minor", 0),
    )
    return Rows(document, line_rows, payment_rows)


def _lines(station_no: int, doc_no: int, lines: list[Any], seller: str | None) -> list[LineRow]:
    try:
        return [
            (
                station_no,
                doc_no,
                line["n"],
                line["product"],
                line.get("variant"),
                line.get("pack"),
                _micro(line["quantity"]),
                line["price_minor"],
                line.get("discount_minor", 0),
                sum([tax["amount_minor"] for tax in taxes]) if (taxes := line.get("taxes")) else 0,
                line["amount_minor"],
                line.get("seller", seller),
                reason["kind"] if (reason := line.get("reason")) else None,
            )
            for line in lines
        ]
    except (KeyError, AttributeError, TypeError, BadInput):
        raise _unfit_line(lines) from None


def _unfit_line(lines: list[Any]) -> Unfit:
    """Which line it was, and what it lacks."""
    for at, line in enumerate(lines):
        if type(line) is not dict:
            return Unfit("wrong type in lines[]", f"wrong type in lines[{at}]: {line!r:.100}")
        for name in ("n", "product", "quantity", "price_minor", "amount_minor"):
            if name not in line:
                return Unfit(f"missing field lines[].{name}", f"missing field lines[{at}].{name}")
        try:
            to_micro(line["quantity"])
        except BadInput as error:
            return Unfit("wrong value in field lines[].quantity", f"lines[{at}].quantity: {error.what}")
    return Unfit("wrong type in lines[].taxes or lines[].reason")


def _payments(station_no: int, doc_no: int, payments: list[Any]) -> list[PaymentRow]:
    try:
        return [
            (
                station_no,
                doc_no,
                payment["n"],
                payment["type"],
                payment["amount_minor"],
                payment.get("reference"),
            )
            for payment in payments
        ]
    except KeyError as error:
        raise Unfit(f"missing field payments[].{error.args[0]}") from None
    except (AttributeError, TypeError):
        raise Unfit("wrong type in payments[]") from None


def _document(
    station_no: int, doc_no: int, head: Head, payload: dict[str, Any], total: Any, tax: Any, discount: Any
) -> DocumentRow:
    get = payload.get
    own = (get("shift"), get("cashier"), get("customer"), get("currency"), total, tax, discount)
    return (station_no, doc_no, *head, *own)


def _cash_movement(station_no: int, doc_no: int, head: Head, payload: dict[str, Any]) -> Rows:
    # No payment row: day totals per payment type are of receipts, and the drawer is counted by the shift.
    return Rows(_document(station_no, doc_no, head, payload, payload.get("amount_minor"), 0, 0), [], [])


def _without_amount(station_no: int, doc_no: int, head: Head, payload: dict[str, Any]) -> Rows:
    return Rows(_document(station_no, doc_no, head, payload, 0, 0, 0), [], [])


def _customer_change(station_no: int, doc_no: int, head: Head, payload: dict[str, Any]) -> Rows:
    return _without_amount(station_no, doc_no, head, {"customer": payload.get("key")})


def _catalog_record(station_no: int, doc_no: int, head: Head, payload: dict[str, Any]) -> Rows:
    return _without_amount(station_no, doc_no, head, {})


_BUILDERS: dict[str, Callable[[int, int, Head, dict[str, Any]], Rows]] = {
    "sale": _receipt,
    "sale_cancellation": _receipt,
    "return": _receipt,
    "exchange": _receipt,
    "exchange_cancellation": _receipt,
    "shift_open": _without_amount,
    "shift_close": _without_amount,
    "cash_in": _cash_movement,
    "cash_out": _cash_movement,
    "customer_change": _customer_change,
    **dict.fromkeys(PAPER_KINDS, paper),
    **dict.fromkeys(RECORD_KINDS, _catalog_record),
}
assert set(_BUILDERS) == {*KINDS, *RECORD_KINDS}, "every kind has its rows"
