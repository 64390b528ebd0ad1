"""Documents as rows of tables: one function per family of kinds. Pure, and on the path of every replayed sale.

What a payload says is taken as it is; fields that this build does not know are ignored. What does not yield rows
raises `Unfit`: its `reason` names the root cause without positions, so that all documents that suffer from the same
thing are one group and are repaired together.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from shared.clock import from_rfc3339
from shared.documents import KINDS, SCHEMA
from shared.errors import BadInput
from shared.quantity import to_micro

DocumentRow = tuple[
    int, int, str, str, str, int, int, str | None, str | None, str | None, str | None, int, int, int
]
LineRow = tuple[int, int, int, str, str | None, str | None, int, int, int, int, int, str | None, str | None]
PaymentRow = tuple[int, int, int, str, int, str | None]
Parse = Callable[[dict[str, Any]], Any]


class Rows(NamedTuple):
    """What one document adds to `documents`, `lines` and `payments`, in their column order."""

    document: DocumentRow
    lines: list[LineRow]
    payments: list[PaymentRow]


class Unfit(BadInput):
    """A document that does not yield rows; `reason` is the root cause that it shares with others."""

    code = "unfit-document"

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(detail or reason)
        self.reason = reason


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
        time_ms = _time_ms(header["time"])
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
    return builder(station_no, doc_no, head, payload)


_Head = tuple[str, str, str, int, int]

_STR, _INT, _NONE = str, int, type(None)
_LINE_TYPES: set[tuple[type, ...]] = set()
_LINE_FIELDS = (
    ("n", (int,)),
    ("product", (str,)),
    ("variant", (str, _NONE)),
    ("pack", (str, _NONE)),
    ("quantity", (int,)),
    ("price_minor", (int,)),
    ("discount_minor", (int,)),
    ("taxes.amount_minor", (int,)),
    ("amount_minor", (int,)),
    ("seller", (str, _NONE)),
    ("reason.kind", (str, _NONE)),
)
_PAYMENT_TYPES: set[tuple[type, ...]] = set()
_PAYMENT_FIELDS = (("n", (int,)), ("type", (str,)), ("amount_minor", (int,)), ("reference", (str, _NONE)))
_DOCUMENT_TYPES: set[tuple[type, ...]] = set()
_DOCUMENT_FIELDS = (
    ("kind", (str,)),
    ("header.business_date", (str,)),
    ("header.number", (str,)),
    ("header.time", (int,)),
    ("header.offset_ms", (int,)),
    ("shift", (str, _NONE)),
    ("cashier", (str, _NONE)),
    ("customer", (str, _NONE)),
    ("currency", (str, _NONE)),
    ("total_minor", (int,)),
    ("tax_minor", (int,)),
    ("discount_minor", (int,)),
)
_SIGNATURES_MAX = 4_096


def _check(
    values: tuple[Any, ...],
    seen: set[tuple[type, ...]],
    fields: tuple[tuple[str, tuple[type, ...]], ...],
    prefix: str,
    where: str,
) -> None:
    """Types of a row's values; combinations that were right once are not looked at again."""
    types = tuple(map(type, values))
    if types in seen:
        return
    for (name, allowed), value in zip(fields, values, strict=True):
        if type(value) not in allowed:
            what = "missing field" if value is None else "wrong type in field"
            raise Unfit(f"{what} {prefix}{name}", f"{what} {where}{name}: {value!r:.100}")
    if len(seen) < _SIGNATURES_MAX:
        seen.add(types)


_micro = lru_cache(maxsize=8_192)(to_micro)


@lru_cache(maxsize=1_024)
def _time_ms(text: str) -> int:
    return from_rfc3339(text)


def _receipt(station_no: int, doc_no: int, head: _Head, payload: dict[str, Any]) -> Rows:
    get = payload.get
    lines, payments = get("lines"), get("payments")
    if type(lines) is not list or type(payments) is not list:
        name = "payments" if type(lines) is list else "lines"
        raise Unfit(f"missing field {name}", f"missing field {name}: {get(name)!r:.100}")
    seller = get("seller")
    line_rows = [_line(station_no, doc_no, line, seller, at) for at, line in enumerate(lines)]
    payment_rows = [_payment(station_no, doc_no, payment, at) for at, payment in enumerate(payments)]
    total_minor = get("total_minor")
    document = _document(
        station_no, doc_no, head, payload, total_minor, get("tax_minor", 0), get("discount_minor", 0)
    )
    sold = sum([row[10] for row in line_rows]) + get("rounding_minor", 0)
    paid = sum([row[4] for row in payment_rows])
    if sold != total_minor or paid != total_minor:
        raise Unfit(
            "the sums do not agree",
            f"total_minor is {total_minor}, the lines with rounding sum to {sold}, the payments to {paid}",
        )
    return Rows(document, line_rows, payment_rows)


def _line(station_no: int, doc_no: int, line: Any, seller: str | None, at: int) -> LineRow:
    try:
        get = line.get
        taxes, reason = get("taxes"), get("reason")
        row = (
            get("n"),
            get("product"),
            get("variant"),
            get("pack"),
            _micro(line["quantity"]),
            get("price_minor"),
            get("discount_minor", 0),
            sum([tax["amount_minor"] for tax in taxes]) if taxes else 0,
            get("amount_minor"),
            get("seller", seller),
            reason.get("kind") if reason else None,
        )
    except (KeyError, AttributeError, TypeError) as error:
        name = error.args[0] if isinstance(error, KeyError) else None
        what = f"missing field lines[].{name}" if name else "wrong type in lines[]"
        raise Unfit(what, what.replace("[]", f"[{at}]")) from None
    except BadInput as error:
        raise Unfit("wrong value in field lines[].quantity", f"lines[{at}].quantity: {error.what}") from None
    _check(row, _LINE_TYPES, _LINE_FIELDS, "lines[].", f"lines[{at}].")
    return (station_no, doc_no, *row)


def _payment(station_no: int, doc_no: int, payment: Any, at: int) -> PaymentRow:
    if type(payment) is not dict:
        raise Unfit("wrong type in payments[]", f"wrong type in payments[{at}]")
    get = payment.get
    row: tuple[Any, Any, Any, Any] = (get("n"), get("type"), get("amount_minor"), get("reference"))
    _check(row, _PAYMENT_TYPES, _PAYMENT_FIELDS, "payments[].", f"payments[{at}].")
    return (station_no, doc_no, *row)


def _document(
    station_no: int, doc_no: int, head: _Head, payload: dict[str, Any], total: Any, tax: Any, discount: Any
) -> DocumentRow:
    get = payload.get
    row = (*head, get("shift"), get("cashier"), get("customer"), get("currency"), total, tax, discount)
    _check(row, _DOCUMENT_TYPES, _DOCUMENT_FIELDS, "", "")
    return (station_no, doc_no, *row)


def _cash_movement(station_no: int, doc_no: int, head: _Head, payload: dict[str, Any]) -> Rows:
    # No payment row: day totals per payment type are of receipts, and the drawer is counted by the shift.
    return Rows(_document(station_no, doc_no, head, payload, payload.get("amount_minor"), 0, 0), [], [])


def _without_amount(station_no: int, doc_no: int, head: _Head, payload: dict[str, Any]) -> Rows:
    return Rows(_document(station_no, doc_no, head, payload, 0, 0, 0), [], [])


def _customer_change(station_no: int, doc_no: int, head: _Head, payload: dict[str, Any]) -> Rows:
    return _without_amount(station_no, doc_no, head, {"customer": payload.get("key")})


_BUILDERS: dict[str, Callable[[int, int, _Head, dict[str, Any]], Rows]] = {
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
}
assert set(_BUILDERS) == set(KINDS), "every kind has its rows"
