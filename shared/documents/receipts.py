"""Receipts: sale, its cancellation, return, exchange, its cancellation.

Signs: goods and money that leave the shop's books for the customer count as the document says it. In a sale
quantities and amounts are positive; what comes back (a return, the returned half of an exchange, every line of a
cancellation) is negative. So any sum over lines or payments is right without knowing the kind.
Prices include tax unless the chain's fiscal rules say otherwise; the till states the tax of each line.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from shared.documents.fields import (
    BasisPoints,
    Code,
    CurrencyCode,
    DocId,
    Minor,
    Name,
    Quantity,
    Record,
    Text,
    Time,
)


class PriceReason(Record):
    """Why a line has the price it has, so that it can be explained later.

    `kind`: `list` (a price list's price), `promotion`, `manual`, `label` (price barcode), `unknown_item`.
    `version` is the catalog row's version that the till saw.
    """

    kind: Literal["list", "promotion", "manual", "label", "unknown_item"]
    price_list: Code | None = None
    promotion: Code | None = None
    version: Code | None = None
    by: Code | None = Field(None, description="who changed it, for `manual`")


class Discount(Record):
    """A part of a line's discount, with its origin."""

    amount_minor: Minor
    promotion: Code | None = None
    reason: Code | None = None


class Tax(Record):
    """The tax inside a line's amount."""

    code: Code
    rate_bp: BasisPoints
    amount_minor: Minor


class Line(Record):
    """One line; `amount_minor` is what the customer pays for it, after discount and with tax."""

    n: int = Field(ge=1)
    product: Code
    quantity: Quantity
    price_minor: Minor
    amount_minor: Minor
    discount_minor: Minor = 0
    name: Name = ""
    variant: Code | None = None
    pack: Code | None = None
    barcode: Code | None = None
    unit: Code | None = None
    group: Code | None = None
    seller: Code | None = None
    reason: PriceReason | None = None
    discounts: list[Discount] = Field(default_factory=list, max_length=100)
    taxes: list[Tax] = Field(default_factory=list, max_length=20)
    lots: list[Code] = Field(default_factory=list, max_length=1_000)
    serials: list[Code] = Field(default_factory=list, max_length=1_000)
    marks: list[Text] = Field(default_factory=list, max_length=1_000, description="marking codes as scanned")
    comment: Text = ""


class Payment(Record):
    """One payment; `amount_minor` is what stays in the till (change is already taken off)."""

    n: int = Field(ge=1)
    type: Code
    amount_minor: Minor
    condition: Code | None = None
    given_minor: Minor | None = None
    change_minor: Minor | None = None
    reference: Code | None = Field(None, description="of the terminal or voucher; never a card number")
    terminal: Code | None = None


class Receipt(Record):
    """What all receipts have. `fiscal` is carried unchanged to the ERP: device, series, number, access key, state."""

    currency: CurrencyCode
    lines: list[Line] = Field(max_length=10_000)
    payments: list[Payment] = Field(max_length=100)
    total_minor: Minor
    discount_minor: Minor = 0
    tax_minor: Minor = 0
    rounding_minor: Minor = 0
    shift: Code | None = None
    cashier: Code | None = None
    seller: Code | None = None
    customer: Code | None = None
    price_list: Code | None = None
    opened_at: Time | None = None
    closed_at: Time | None = None
    fiscal: dict[str, Any] | None = None
    comment: Text = ""

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        lines = sum(line.amount_minor for line in self.lines) + self.rounding_minor
        if lines != self.total_minor:
            raise ValueError(
                f"the lines sum to {lines} (with rounding) but total_minor is {self.total_minor}"
            )
        paid = sum(payment.amount_minor for payment in self.payments)
        if paid != self.total_minor:
            raise ValueError(f"the payments sum to {paid} but total_minor is {self.total_minor}")
        return self


class Sale(Receipt):
    """Goods sold and paid."""


class SaleCancellation(Receipt):
    """A sale undone as a whole; its lines and payments are those of the sale with the sign turned."""

    cancels: DocId
    reason: Text = ""


class Return(Receipt):
    """Goods brought back. `returns` names the sale where it is known, `origin` the paper otherwise."""

    returns: DocId | None = None
    origin: Code | None = None
    reason: Text = ""


class Exchange(Receipt):
    """Goods brought back (negative lines) and others taken (positive lines) in one document."""

    returns: DocId | None = None
    origin: Code | None = None
    reason: Text = ""


class ExchangeCancellation(Receipt):
    """An exchange undone as a whole."""

    cancels: DocId
    reason: Text = ""
