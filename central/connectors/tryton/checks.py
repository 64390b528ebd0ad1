"""What has to be right at Tryton's side before anything is exchanged, looked at one by one."""

from __future__ import annotations

from collections.abc import Sequence

from central.connectors.base import Finding, TargetAway, TargetDenies
from central.connectors.tryton.rpc import Tryton

SERIES = "8.2"
MODULES = {
    "product": "products and their identifiers",
    "sale_point": "sales of the point of sale, gross prices",
    "stock": "warehouses and stock",
    "party": "parties and tax identifiers",
}
KILOGRAM = "kg"
_PRICE_LISTS = {"product_price_list": "price lists", "sale_price_list": "the price lists of customers"}
RIGHTS = {
    "product.product": ("read",),
    "product.template": ("read",),
    "party.party": ("read",),
    "stock.location": ("read",),
    "stock.move": ("read",),
    "sale.point": ("read",),
    "sale.point.payment.method": ("read",),
    "sale.point.sale": ("read", "write", "create", "delete"),
}


async def findings(tryton: Tryton, user: str, price_lists: Sequence[str]) -> Sequence[Finding]:
    """Every look, in the order in which they are worth mending; those behind a closed door are left out."""
    try:
        series = await tryton.version()
    except (TargetAway, TargetDenies) as error:
        return [Finding("reached", ok=False, detail=error.what, hint=error.hint or "check url and network")]
    found = [
        Finding("reached", ok=True, detail=f"Tryton {series}"),
        Finding(
            "series",
            series == SERIES,
            f"Tryton {series}",
            "" if series == SERIES else f"this connector was tested with {SERIES}; other series may differ",
        ),
    ]
    try:
        modules = await _modules(tryton)
    except (TargetAway, TargetDenies) as error:
        return [*found, Finding("signed in", ok=False, detail=error.what, hint=error.hint)]
    found.append(Finding("signed in", ok=True, detail=f"as {user}"))
    for name, what in (MODULES | (_PRICE_LISTS if price_lists else {})).items():
        version = modules.get(name)
        found.append(
            Finding(
                f"module {name}",
                version is not None and version.startswith(SERIES),
                version or "not activated",
                "" if version else f"activate it; it brings {what}",
            )
        )
    if all(one.ok for one in found):
        found += await _rights(tryton)
        found += await _points(tryton)
        found += await _weights(tryton)
    return found


async def _modules(tryton: Tryton) -> dict[str, str]:
    rows = await tryton.call(
        "model.ir.module.search_read", [["state", "=", "activated"]], 0, None, None, ["name", "version"]
    )
    return {row["name"]: row["version"] for row in rows}


async def _rights(tryton: Tryton) -> list[Finding]:
    access = await tryton.call("model.ir.model.access.get_access", list(RIGHTS))
    found = []
    for model, wanted in RIGHTS.items():
        missing = [right for right in wanted if not access[model][right]]
        found.append(
            Finding(
                f"rights on {model}",
                not missing,
                ", ".join(wanted) if not missing else f"may not {', '.join(missing)}",
                "put the user into the groups that allow it (POS, Stock, Product, Party)" if missing else "",
            )
        )
    return found


async def _points(tryton: Tryton) -> list[Finding]:
    """Points of sale have to keep prices with tax, as receipts do; the user needs a company."""
    access = await tryton.call("model.ir.model.access.get_access", ["sale.point"])
    if not access["sale.point"]["read"]:
        return []
    rows = await tryton.call("model.sale.point.search_read", [], 0, None, None, ["name", "tax_included"])
    names = [row["name"] for row in rows if row["tax_included"]]
    without = [row["name"] for row in rows if not row["tax_included"]]
    return [
        Finding(
            "points of sale",
            bool(names),
            f"with tax: {', '.join(names) or 'none'}"
            + (f"; without: {', '.join(without)}" if without else ""),
            "" if names else "make one whose prices include tax",
        )
    ]


async def _weights(tryton: Tryton) -> list[Finding]:
    """Scales weigh to the gram; Tryton's kilogram comes with two decimals and would refuse such a sale."""
    access = await tryton.call("model.ir.model.access.get_access", ["product.template"])
    if not access["product.template"]["read"]:
        return []
    coarse = [["salable", "=", True], ["sale_uom.symbol", "=", KILOGRAM], ["sale_uom.digits", "<", 3]]
    count = await tryton.call("model.product.template.search_count", coarse)
    return [
        Finding(
            "weights",
            not count,
            f"{count} goods are sold by a {KILOGRAM} with too few decimals" if count else "to the gram",
            f"give the unit {KILOGRAM} three decimals and a rounding of 0.001" if count else "",
        )
    ]
