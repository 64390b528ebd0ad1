"""The catalog's entities: what HQ publishes and tills read.

Each model says its key and, through `Entity.scope_of`, the scope it goes to unless the publisher names one.
Prices and promotions carry `valid_from` and `valid_until` and are staged ahead; the till decides by the line's time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from shared.documents.fields import (
    BasisPoints,
    Code,
    CountryCode,
    CurrencyCode,
    Custom,
    Minor,
    Name,
    Quantity,
    Record,
    Text,
    Time,
)

GivenName = Annotated[str, Field(min_length=1, max_length=500)]
"""A name that a till shows: a row that must have one may not leave it empty."""


class Variant(Record):
    """A size, colour or other characteristic of a product that is sold and counted by itself."""

    code: Code
    name: Name = ""
    attributes: dict[str, str] = Field(default_factory=dict, max_length=50)
    barcodes: list[Code] = Field(default_factory=list, max_length=200)


class Pack(Record):
    """A way of packing: `quantity` base units under barcodes of its own."""

    code: Code
    name: Name = ""
    quantity: Quantity
    barcodes: list[Code] = Field(default_factory=list, max_length=200)


class Product(Record):
    """An item of sale. `measured` is the short code that scales print for it."""

    code: Code
    name: GivenName
    short_name: Name = ""
    group: Code | None = None
    unit: Code | None = None
    tax_rate: Code | None = None
    barcodes: list[Code] = Field(default_factory=list, max_length=200)
    measured: Code | None = Field(None, description="item code inside weight and price barcodes")
    variants: list[Variant] = Field(default_factory=list, max_length=1_000)
    packs: list[Pack] = Field(default_factory=list, max_length=100)
    serial_required: bool = False
    lot_required: bool = False
    mark_required: bool = False
    min_age: int = Field(0, ge=0, le=100)
    custom: Custom = Field(default_factory=dict, description="fields of a chain's own")
    active: bool = True


class ProductGroup(Record):
    code: Code
    name: GivenName
    parent: Code | None = None


class Price(Record):
    """A price in one price list. The narrowest wins: variant and pack before product, later `valid_from` first."""

    price_list: Code
    product: Code
    amount_minor: Minor
    currency: CurrencyCode
    variant: Code | None = None
    pack: Code | None = None
    min_quantity: Quantity | None = None
    valid_from: Time | None = None
    valid_until: Time | None = Field(None, description="the first moment at which it no longer holds")


class Balance(Record):
    """Stock of a product in one warehouse, as the ERP knows it."""

    warehouse: Code
    product: Code
    quantity: Quantity
    variant: Code | None = None
    lot: Code | None = None
    store: Code | None = Field(None, description="shop whose tills see it; the warehouse's code when absent")


class Warehouse(Record):
    code: Code
    name: GivenName
    store: Code | None = None


class Address(Record):
    """A place of a customer; `text` is all of it in one piece, where its parts are not known apart."""

    kind: Code | None = Field(None, description="e.g. legal, postal, delivery")
    country: CountryCode | None = None
    postal_code: Code | None = None
    region: Name = ""
    city: Name = ""
    street: Name = Field("", description="with house and flat")
    text: Text = ""


class Contact(Record):
    """A person to speak to, or one more telephone or mailbox."""

    name: Name = ""
    role: Name = Field("", description="e.g. accountant")
    phone: Code | None = None
    email: Name | None = None


class Customer(Record):
    """A person or company that buys. By `tax_id`, `tax_branch` and `country` other systems know it."""

    code: Code
    name: GivenName
    tax_id: Code | None = Field(None, description="INN, CNPJ, VAT number")
    tax_branch: Code | None = Field(None, description="KPP and the like")
    country: CountryCode | None = Field(None, description="says how the tax id is read")
    legal_form: Code | None = None
    phone: Code | None = None
    email: Name | None = None
    card: Code | None = Field(None, description="loyalty card")
    price_list: Code | None = None
    addresses: list[Address] = Field(default_factory=list, max_length=50)
    contacts: list[Contact] = Field(default_factory=list, max_length=50)
    custom: Custom = Field(default_factory=dict, description="fields of a chain's own")
    active: bool = True


class Seller(Record):
    code: Code
    name: GivenName
    store: Code | None = None
    active: bool = True


class PaymentType(Record):
    code: Code
    name: GivenName
    kind: Literal["cash", "card", "pix", "voucher", "credit", "other"] = "other"
    change: bool = False
    offline: bool = True
    limit_minor: Minor | None = None


class PaymentCondition(Record):
    code: Code
    name: GivenName
    instalments: int = Field(1, ge=1, le=100)
    due_days: list[int] = Field(default_factory=list, max_length=100)
    surcharge_bp: int = Field(0, ge=-10_000, le=100_000)


class FinancialReason(Record):
    code: Code
    name: GivenName
    direction: Literal["in", "out"]


class TaxRate(Record):
    code: Code
    name: GivenName
    rate_bp: BasisPoints


class Currency(Record):
    code: CurrencyCode
    name: GivenName
    exponent: int = Field(2, ge=0, le=4)


class Unit(Record):
    code: Code
    name: GivenName
    decimals: int = Field(0, ge=0, le=6)


class Promotion(Record):
    """A promotion as data; `rules` is what the till's engine reads."""

    code: Code
    name: GivenName
    valid_from: Time | None = None
    valid_until: Time | None = None
    priority: int = 0
    rules: dict[str, Any] = Field(default_factory=dict)


class DictionaryEntry(Record):
    """Any other list that tills show: `dictionary` names it."""

    dictionary: Code
    code: Code
    name: GivenName
    data: dict[str, Any] = Field(default_factory=dict)


class StationSettings(Record):
    """Settings that HQ pushes: to all, a group or one station. Rows of a stronger scope replace whole keys."""

    code: Code = Field(description="name of the setting, e.g. `barcodes`, `receipt`, `notice`")
    value: Any = None
    note: Text = ""


@dataclass(frozen=True, slots=True)
class Entity:
    """How an entity is keyed and where it goes.

    `absence` is what it means when a row is missing from a list that is declared complete.
    """

    name: str
    model: type[Record]
    key_fields: tuple[str, ...]
    scope_of: Callable[[dict[str, Any]], str]
    absence: Literal["keep", "delete", "zero", "ended"]

    def key(self, row: dict[str, Any]) -> str:
        """The row's key: its key fields joined by `|`, absent ones empty; `|` and `\\` in a value are escaped."""
        return "|".join(_escape(row.get(field)) for field in self.key_fields)


def _escape(value: object) -> str:
    return "" if value is None else str(value).replace("\\", "\\\\").replace("|", "\\|")


def _base(row: dict[str, Any]) -> str:
    return "base"


def _price_list(row: dict[str, Any]) -> str:
    return f"pricelist/{row['price_list']}"


def _store(row: dict[str, Any]) -> str:
    store = row.get("store") or row.get("warehouse")
    return f"store/{store}" if store else "base"


ENTITIES: dict[str, Entity] = {
    entity.name: entity
    for entity in (
        Entity("product", Product, ("code",), _base, "keep"),
        Entity("product_group", ProductGroup, ("code",), _base, "keep"),
        Entity(
            "price",
            Price,
            ("price_list", "product", "variant", "pack", "min_quantity", "valid_from"),
            _price_list,
            "delete",
        ),
        Entity("balance", Balance, ("warehouse", "product", "variant", "lot"), _store, "zero"),
        Entity("warehouse", Warehouse, ("code",), _base, "keep"),
        Entity("customer", Customer, ("code",), _base, "keep"),
        Entity("seller", Seller, ("code",), _store, "keep"),
        Entity("payment_type", PaymentType, ("code",), _base, "keep"),
        Entity("payment_condition", PaymentCondition, ("code",), _base, "keep"),
        Entity("financial_reason", FinancialReason, ("code",), _base, "keep"),
        Entity("tax_rate", TaxRate, ("code",), _base, "keep"),
        Entity("currency", Currency, ("code",), _base, "keep"),
        Entity("unit", Unit, ("code",), _base, "keep"),
        Entity("promotion", Promotion, ("code",), _base, "ended"),
        Entity("dictionary", DictionaryEntry, ("dictionary", "code"), _base, "keep"),
        Entity("settings", StationSettings, ("code",), _base, "delete"),
    )
}
