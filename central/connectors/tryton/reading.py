"""What can be read from Tryton: for each source its model, its fields, and which dates tell of a change.

Tryton writes a change's date on the record that was touched: a new price moves the template and not the product, a new
barcode moves neither. So a source names every path whose dates count. A date is its transaction's beginning: what
is committed late lies behind a cursor that has passed, which is why a later run reads an overlap again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from central.connectors.base import Source, Trait

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reading:
    """How a source is read.

    Args:
        model: whose records they are, in the order of their ids.
        ask: fields of `search_read`, with dots through references.
        dates: paths to what bears a date of change; "" is the record itself.
        dated: the models at these paths, whose newest date is the cursor.
        record: what one row becomes.
        domain: which records belong to the source.
        modules: what has to be activated.
    """

    source: Source
    model: str
    ask: tuple[str, ...]
    dates: tuple[str, ...]
    dated: tuple[str, ...]
    record: Callable[[Row], dict[str, Any]]
    domain: tuple[Any, ...] = ()
    modules: tuple[str, ...] = ()


def changed(dates: Sequence[str], since: Any) -> list[Any]:
    """The search domain for what has changed since then, at any of the paths."""
    return [
        "OR",
        *([f"{path}{name}", ">=", since] for path in dates for name in ("write_date", "create_date")),
    ]


def _of(row: Row, *path: str) -> Any:
    """Follow a path through the nested answers of `search_read`; None where it ends early."""
    found: Any = row
    for name in path[:-1]:
        found = (found or {}).get(f"{name}.")
    return (found or {}).get(path[-1])


def _texts(row: Row, field: str, name: str) -> list[str]:
    return [one[name] for one in row.get(f"{field}.") or () if one.get(name)]


def _product(row: Row) -> dict[str, Any]:
    return {
        "id": str(row["id"]),
        "code": row["code"],
        "name": _of(row, "template", "name"),
        "active": bool(row["active"]) and bool(_of(row, "template", "active")),
        "salable": bool(_of(row, "template", "salable")),
        "type": _of(row, "template", "type"),
        "unit": _of(row, "template", "sale_uom", "symbol") or _of(row, "template", "default_uom", "symbol"),
        "group": next(iter(_texts(row.get("template.") or {}, "categories", "name")), None),
        "accounting": _of(row, "template", "account_category", "name"),
        "template": str(_of(row, "template", "id")),
        "barcodes": _texts(row, "identifiers", "code"),
        "identifiers": [{"type": one["type"], "code": one["code"]} for one in row.get("identifiers.") or ()],
        "list_price": row["list_price_used"],
        "gross_price": row["gross_price_used"],
        "description": row["description"],
    }


PRODUCT_DATES = ("", "template.", "identifiers.")
PRICE_DATES = ("", "template.", "template.list_prices.", "template.gross_prices.")
# The tables of prices themselves cannot be asked for over RPC. An older cursor reads more, and misses nothing.
PRICE_MODELS = ("product.product", "product.template")
PRICE_ASK = ("code", "active", "template.active", "list_price_used", "gross_price_used", "sale_price_uom")


def prices(
    row: Row, price_list: str, currency: str | None, *, formula: bool, tax_included: bool
) -> dict[str, Any]:
    """One product's price in one list; `formula` where Tryton reckoned it by a price list."""
    gross = row["gross_price_used"]
    if formula:
        amount, with_tax = row["sale_price_uom"], tax_included
    else:
        amount, with_tax = (gross, True) if gross is not None else (row["list_price_used"], False)
    return {
        "id": f"{price_list}:{row['id']}",
        "product": row["code"],
        "product_id": str(row["id"]),
        "price_list": price_list,
        "amount": amount,
        "tax_included": with_tax,
        "currency": currency,
        "active": bool(row["active"]) and bool(_of(row, "template", "active")),
    }


def _party(row: Row) -> dict[str, Any]:
    address = (row.get("addresses.") or [{}])[0]
    return {
        "id": str(row["id"]),
        "code": row["code"],
        "name": row["name"],
        "active": bool(row["active"]),
        "tax_id": _of(row, "tax_identifier", "code"),
        "identifiers": [{"type": one["type"], "code": one["code"]} for one in row.get("identifiers.") or ()],
        "phone": row["phone"] or row["mobile"] or None,
        "email": row["email"] or None,
        "address": address.get("full_address"),
        "city": address.get("city"),
        "postal_code": address.get("postal_code"),
        "addresses": [
            {
                "text": one.get("full_address"),
                "street": one.get("street"),
                "city": one.get("city"),
                "postal_code": one.get("postal_code"),
                "country": _of(one, "country", "code"),
            }
            for one in row.get("addresses.") or ()
        ],
        "contacts": [
            {"type": one["type"], "value": one["value"], "name": one["name"]}
            for one in row.get("contact_mechanisms.") or ()
        ],
        "categories": _texts(row, "categories", "name"),
        "price_list": _of(row, "sale_price_list", "name"),
    }


def _warehouse(row: Row) -> dict[str, Any]:
    return {"id": str(row["id"]), "code": row["code"], "name": row["name"], "active": bool(row["active"])}


def _category(row: Row) -> dict[str, Any]:
    return {"id": str(row["id"]), "name": row["name"], "parent": _of(row, "parent", "name")}


def _unit(row: Row) -> dict[str, Any]:
    return {"id": str(row["id"]), "code": row["symbol"], "name": row["name"], "decimals": row["digits"]}


_ID = {"id": Trait("text", required=True, about="Tryton's own number")}
_CODE = {"code": Trait("text"), "name": Trait("text", required=True), "active": Trait("boolean")}

READINGS: Mapping[str, Reading] = {
    "products": Reading(
        Source(
            "Products (each variant by itself)",
            {
                **_ID,
                **_CODE,
                "salable": Trait("boolean"),
                "type": Trait("text", about="goods, assets or service"),
                "unit": Trait("text", about="symbol of the unit of sale"),
                "group": Trait("text", about="name of its first category"),
                "accounting": Trait("text", about="name of its accounting category"),
                "template": Trait("text"),
                "barcodes": Trait("list"),
                "identifiers": Trait("list", about="type and code"),
                "list_price": Trait("decimal", about="without tax"),
                "gross_price": Trait("decimal", about="with tax"),
                "description": Trait("text"),
            },
            cursor="time",
            entity="product",
        ),
        "product.product",
        (
            "code",
            "active",
            "description",
            "list_price_used",
            "gross_price_used",
            "identifiers.type",
            "identifiers.code",
            *(
                f"template.{name}"
                for name in (
                    "name",
                    "active",
                    "salable",
                    "type",
                    "sale_uom.symbol",
                    "default_uom.symbol",
                    "categories.name",
                    "account_category.name",
                )
            ),
        ),
        PRODUCT_DATES,
        ("product.product", "product.template", "product.identifier"),
        _product,
        modules=("sale_point",),
    ),
    "parties": Reading(
        Source(
            "Parties with tax identifiers, addresses and contacts",
            {
                **_ID,
                **_CODE,
                "tax_id": Trait("text"),
                "identifiers": Trait("list", about="type and code"),
                "phone": Trait("text"),
                "email": Trait("text"),
                "address": Trait("text"),
                "city": Trait("text"),
                "postal_code": Trait("text"),
                "addresses": Trait("list"),
                "addresses.text": Trait("text", about="all of it, in lines"),
                "addresses.street": Trait("text"),
                "addresses.city": Trait("text"),
                "addresses.postal_code": Trait("text"),
                "addresses.country": Trait("text", about="two letters"),
                "contacts": Trait("list"),
                "contacts.type": Trait("text", about="phone, mobile, email, website, ..."),
                "contacts.value": Trait("text"),
                "contacts.name": Trait("text"),
                "categories": Trait("list"),
                "price_list": Trait("text", about="name of the price list"),
            },
            cursor="time",
            entity="customer",
        ),
        "party.party",
        (
            "code",
            "name",
            "active",
            "phone",
            "mobile",
            "email",
            "tax_identifier.code",
            "identifiers.type",
            "identifiers.code",
            "addresses.full_address",
            "addresses.city",
            "addresses.postal_code",
            "addresses.street",
            "addresses.country.code",
            "contact_mechanisms.type",
            "contact_mechanisms.value",
            "contact_mechanisms.name",
            "categories.name",
            "sale_price_list.name",
        ),
        ("", "identifiers.", "addresses.", "contact_mechanisms."),
        ("party.party", "party.identifier", "party.address", "party.contact_mechanism"),
        _party,
        modules=("sale_price_list",),
    ),
    "warehouses": Reading(
        Source("Warehouses", {**_ID, **_CODE}, cursor="time", entity="warehouse"),
        "stock.location",
        ("code", "name", "active"),
        ("",),
        ("stock.location",),
        _warehouse,
        domain=(["type", "=", "warehouse"],),
        modules=("stock",),
    ),
    "categories": Reading(
        Source(
            "Product categories",
            {**_ID, "name": Trait("text", required=True), "parent": Trait("text")},
            cursor="time",
            entity="product_group",
        ),
        "product.category",
        ("name", "parent.name"),
        ("",),
        ("product.category",),
        _category,
        domain=(["accounting", "=", False],),
    ),
    "units": Reading(
        Source(
            "Units of measure",
            {**_ID, "code": Trait("text"), "name": Trait("text"), "decimals": Trait("integer")},
            cursor="time",
            entity="unit",
        ),
        "product.uom",
        ("name", "symbol", "digits"),
        ("",),
        ("product.uom",),
        _unit,
    ),
}

PRICES = Source(
    "Prices: each product's own, and those of the price lists in the settings",
    {
        **_ID,
        "product": Trait("text", about="its code"),
        "product_id": Trait("text"),
        "price_list": Trait("text", required=True),
        "amount": Trait("decimal"),
        "tax_included": Trait("boolean"),
        "currency": Trait("text"),
        "active": Trait("boolean"),
    },
    cursor="time",
    entity="price",
)
STOCK = Source(
    "Stock of each product in each warehouse, as of today",
    {
        **_ID,
        "product": Trait("text", about="its code"),
        "product_id": Trait("text"),
        "warehouse": Trait("text", required=True, about="its code"),
        "quantity": Trait("decimal"),
    },
    cursor="time",
    entity="balance",
)
SOURCES: Mapping[str, Source] = {
    **{name: one.source for name, one in READINGS.items()},
    "prices": PRICES,
    "stock": STOCK,
}
