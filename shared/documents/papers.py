"""What orders, stock and money documents ("papers") have in common: parties, lines, codes of single goods, links.

Signs as with receipts: the paper's own direction is positive (ordered, received, moved, written off, paid to us); what
goes back or is paid out is negative. So a sum over documents of one kind and its return is right without looking.
Statuses are the shop's or the ERP's own words; what they mean is said by the integration that carries them.
"""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from shared.documents.fields import (
    BusinessDate,
    Code,
    CurrencyCode,
    DocId,
    Minor,
    Name,
    Quantity,
    Record,
    Text,
)
from shared.documents.receipts import Tax

LINKS_MAX = 90
"""Of one document; a header takes 100 references."""


class Party(Record):
    """A customer or supplier: the code where there is one, else what it can be found by."""

    code: Code | None = None
    name: Name = ""
    tax_id: Code | None = Field(None, description="INN, CNPJ, VAT number")
    tax_branch: Code | None = Field(None, description="KPP and the like")
    phone: Name = ""
    email: Name = ""
    address: Text = ""

    @model_validator(mode="after")
    def _can_be_found(self) -> Self:
        if not (self.code or self.tax_id or self.name):
            raise ValueError("a party needs a code, a tax_id or a name")
        return self


class Link(Record):
    """An earlier document that this one is based on: ours by `doc_id` (applied first), any other by its number."""

    doc_id: DocId | None = None
    kind: Code | None = None
    number: Code | None = None

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if not (self.doc_id or self.number):
            raise ValueError("a link needs a doc_id or a number")
        return self


class Lot(Record):
    """A part of a line's quantity that is of one lot."""

    code: Code
    quantity: Quantity | None = None
    expires: BusinessDate | None = None


class GoodsLine(Record):
    """A line of an order or stock document; `amount_minor` is after discount, with tax."""

    n: int = Field(ge=1)
    product: Code
    quantity: Quantity
    price_minor: Minor = 0
    discount_minor: Minor = 0
    amount_minor: Minor = 0
    name: Name = ""
    variant: Code | None = None
    pack: Code | None = None
    barcode: Code | None = None
    unit: Code | None = None
    taxes: list[Tax] = Field(default_factory=list, max_length=20)
    lots: list[Lot] = Field(default_factory=list, max_length=1_000)
    serials: list[Code] = Field(default_factory=list, max_length=1_000)
    marks: list[Text] = Field(default_factory=list, max_length=1_000, description="marking codes as scanned")
    warehouse: Code | None = Field(None, description="where it is not the document's")
    comment: Text = ""


class Paper(Record):
    """What every order, stock and money document may carry. `extra` is carried to the ERP unchanged."""

    status: Code | None = None
    organisation: Code | None = Field(None, description="our own legal entity")
    responsible: Code | None = None
    based_on: list[Link] = Field(default_factory=list, max_length=LINKS_MAX)
    extra: dict[str, Any] | None = None
    comment: Text = ""


class GoodsPaper(Paper):
    """A paper with lines; their amounts and `rounding_minor` sum to `total_minor`."""

    currency: CurrencyCode | None = None
    lines: list[GoodsLine] = Field(min_length=1, max_length=10_000)
    total_minor: Minor = 0
    discount_minor: Minor = 0
    tax_minor: Minor = 0
    rounding_minor: Minor = 0

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        numbers = [line.n for line in self.lines]
        if len(set(numbers)) != len(numbers):
            raise ValueError("two lines have the same n")
        lines = sum(line.amount_minor for line in self.lines) + self.rounding_minor
        if lines != self.total_minor:
            raise ValueError(
                f"the lines sum to {lines} (with rounding) but total_minor is {self.total_minor}"
            )
        if self.currency is None and any(line.amount_minor or line.price_minor for line in self.lines):
            raise ValueError("the lines have amounts, so currency must be given")
        return self


class ReturnedGoods(GoodsPaper):
    """A paper of goods that go back: every quantity and amount is zero or negative."""

    @model_validator(mode="after")
    def _goes_back(self) -> Self:
        for at, line in enumerate(self.lines):
            if not (line.quantity.startswith("-") or line.quantity == "0") or line.amount_minor > 0:
                raise ValueError(
                    f"lines.{at}: goods that go back have a negative quantity and amount, "
                    f"this one has {line.quantity} and {line.amount_minor}"
                )
        return self
