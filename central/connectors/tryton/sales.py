"""A receipt as a sale of Tryton's point of sale. Pure: records and numbers in, the values of a `create` out.

Tryton counts a line as quantity times unit price, rounded, and will not close a sale whose lines and payments differ.
So the amount that the customer paid is split until it comes out to the cent, and the tax of the receipt is kept: it is
not reckoned again. Invariant: the gross amounts of the lines of `values` sum to the record's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any

from central.connectors.base import Rejection, Trait

PRICE_DIGITS = Decimal("0.0001")
"""Tryton's precision of prices, unless `[product] price_decimal` says otherwise."""

FIELDS: Mapping[str, Trait] = {
    "point": Trait("text", required=True, about="name of the point of sale, e.g. the shop's code"),
    "date": Trait("date", required=True, about="the business date"),
    "currency": Trait("text", about="must be the company's where it is given"),
    "lines": Trait("list", required=True),
    "lines.product": Trait("text", required=True, about="its code"),
    "lines.quantity": Trait("decimal", required=True),
    "lines.amount": Trait("decimal", required=True, about="what was paid for it, with tax"),
    "lines.tax": Trait("decimal", about="the tax inside"),
    "payments": Trait("list"),
    "payments.method": Trait("text", required=True, about="name of the payment method"),
    "payments.amount": Trait("decimal", required=True),
    "rounding": Trait("decimal", about="what the total was rounded by"),
    "party": Trait(
        "text", about="Tryton's number of the customer; a note at the sale, as it has no field for it"
    ),
}


class Unfit(Exception):
    """The record cannot become a sale; `rejection` says why."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.rejection = Rejection(reason, detail or reason)


@dataclass(frozen=True, slots=True)
class Point:
    """A point of sale as it is set up in Tryton."""

    id: int
    company: int
    currency: str
    cent: Decimal


@dataclass(frozen=True, slots=True)
class Method:
    """A way to pay. Tryton has one cash method in a company, and pays money back by no other."""

    id: int
    cash: bool


@dataclass(frozen=True, slots=True)
class Known:
    """What the names in the records stand for; a code that several products bear stands for none."""

    points: Mapping[str, Point]
    methods: Mapping[str, Method]
    products: Mapping[str, list[int]]
    parties: Mapping[str, str] = field(default_factory=dict)


def codes(records: Iterable[Mapping[str, Any]]) -> set[str]:
    """The codes of all products of these sales."""
    return {str(line.get("product")) for record in records for line in record.get("lines") or ()}


def values(record: Mapping[str, Any], known: Known, rounding_product: str | None) -> dict[str, Any]:
    """The sale for `model.sale.point.sale.create`.

    Args:
        rounding_product: code of the service whose line takes the difference of a rounded total.
    Raises:
        Unfit: a name is not known in Tryton, or a number is none.
    """
    point = known.points.get(str(record.get("point")))
    if point is None:
        raise Unfit(
            f'Tryton has no point of sale "{record.get("point")}"',
            "make it under Sales > Configuration, with prices including tax, or map the shop's code",
        )
    if record.get("currency") not in (None, point.currency):
        raise Unfit(
            f"a sale in {record['currency']}, but the point of sale's company keeps its books in {point.currency}"
        )
    business_date = day(record.get("date"))
    if business_date is None:
        raise Unfit(f"date {record.get('date')!r} is no date")
    lines: list[dict[str, Any]] = []
    rounding = number(record.get("rounding") or 0, "rounding")
    if rounding and rounding_product is None:
        raise Unfit("the total was rounded, and no product takes the difference", "set rounding_product")
    extra = [{"product": rounding_product, "quantity": Decimal(1), "amount": rounding}] if rounding else []
    for line in (*(record.get("lines") or ()), *extra):
        lines += _lines(line, known, point.cent)
    if not lines:
        raise Unfit("a sale without lines")
    payments = [_payment(payment, known) for payment in record.get("payments") or ()]
    if record.get("party") and str(record["party"]) not in known.parties:
        raise Unfit(f"Tryton has no party {record['party']}", "set its right number with `crossref set`")
    return {
        "point": point.id,
        "company": point.company,
        "date": business_date,
        "lines": [["create", lines]],
        "payments": [["create", payments]],
    }


def _lines(line: Mapping[str, Any], known: Known, cent: Decimal) -> list[dict[str, Any]]:
    code = str(line.get("product"))
    found = known.products.get(code, [])
    if len(found) != 1:
        told = "has no product with the code" if not found else f"has {len(found)} products with the code"
        raise Unfit(f'Tryton {told} "{code}"', "bring it to Tryton, or put the code right there")
    quantity = number(line.get("quantity"), "quantity")
    gross = number(line.get("amount"), "amount")
    tax = number(line.get("tax") or 0, "tax")
    return [
        {"product": found[0], "quantity": _float(part), "unit_gross_price": price, "unit_list_price": net}
        for part, price, net in prices(quantity, gross, gross - tax, cent)
    ]


def prices(
    quantity: Decimal, gross: Decimal, net: Decimal, cent: Decimal
) -> list[tuple[Decimal, Decimal, Decimal]]:
    """Quantities with their gross and net unit prices, whose products, rounded to the cent, sum to *gross* and *net*.

    One part where a unit price of four decimals is enough; else a second one, of one unit (or of what there is of
    it), bears the difference.
    """
    if not quantity:
        raise Unfit("a line of quantity 0")
    price = _unit(quantity, gross), _unit(quantity, net)
    left = gross - _amount(quantity, price[0], cent), net - _amount(quantity, price[1], cent)
    if not any(left):
        return [(quantity, *price)]
    one = Decimal(1).copy_sign(quantity)
    if abs(quantity) <= 1:
        raise Unfit(
            f"{gross} for {quantity} cannot be said as a price of {-PRICE_DIGITS.adjusted()} decimals"
        )
    rest = quantity - one
    first = _amount(rest, price[0], cent), _amount(rest, price[1], cent)
    return [(rest, *price), (one, (gross - first[0]) * one, (net - first[1]) * one)]


def _unit(quantity: Decimal, amount: Decimal) -> Decimal:
    return (amount / quantity).quantize(PRICE_DIGITS)


def _amount(quantity: Decimal, price: Decimal, cent: Decimal) -> Decimal:
    """As Tryton's `currency.round` does it."""
    return (quantity * price / cent).quantize(Decimal(1), rounding=ROUND_HALF_EVEN) * cent


def _payment(payment: Mapping[str, Any], known: Known) -> dict[str, Any]:
    name = str(payment.get("method"))
    amount = number(payment.get("amount"), "amount")
    method = known.methods.get(name)
    if method is None:
        raise Unfit(
            f'Tryton has no payment method "{name}"', "make it under Sales > Configuration, or map the type"
        )
    if amount < 0 and not method.cash:
        method = next((one for one in known.methods.values() if one.cash), None)
        if method is None:
            raise Unfit(
                "money was paid back, and Tryton has no cash method", "tick Cash at one of its methods"
            )
    return {"method": method.id, "amount": amount}


def number(value: object, what: str) -> Decimal:
    """An exact number; a float is none."""
    try:
        if isinstance(value, (Decimal, int, str)) and not isinstance(value, bool):
            return Decimal(value)
    except InvalidOperation:
        pass
    raise Unfit(f"{what} {value!r} is no exact number")


def _float(quantity: Decimal) -> float:
    # Tryton keeps quantities as floats and reads them back by their shortest text, so none is lost.
    return float(quantity)


def day(value: object) -> date | None:
    try:
        return value if isinstance(value, date) else date.fromisoformat(str(value))
    except ValueError:
        return None
