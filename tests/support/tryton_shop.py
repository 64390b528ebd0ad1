"""What a shop has in Tryton, made over JSON-RPC as its administrator: goods, their prices, parties, stock.

python -m tests.support.tryton_shop <port>    put a few goods into the Tryton that is served there
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from central.connectors.tryton.rpc import Session, Tryton
from tests.support.tryton import TrytonServer
from tests.support.tryton_process import DATABASE, PASSWORD

BATCH = 200
FIRST = (
    ("A1", "Milk 1 l", "1.29"),
    ("A2", "Rye bread", "3.50"),
    ("A3", "Apples, a bag", "2.99"),
    ("A4", "Tea", "4.20"),
)


@dataclass(frozen=True)
class Goods:
    """A product as a test wants it; `price` is with tax."""

    code: str
    name: str
    price: Decimal
    barcodes: tuple[str, ...] = ()
    unit: str = "u"
    kind: str = "goods"


async def add_goods(server: TrytonServer | Tryton, goods: Sequence[Goods]) -> dict[str, int]:
    """Make products of one variant each; returns the variant's id by code."""
    (category,) = await server.call("model.product.category.search", [["accounting", "=", True]], 0, 1, None)
    units = await server.call("model.product.uom.search_read", [], 0, None, None, ["symbol"])
    by_symbol = {row["symbol"]: row["id"] for row in units}
    for start in range(0, len(goods), BATCH):
        made = [_template(one, category, by_symbol[one.unit]) for one in goods[start : start + BATCH]]
        await server.call("model.product.template.create", made)
    rows = await server.call(
        "model.product.product.search_read",
        [["code", "in", [one.code for one in goods]]],
        0,
        None,
        None,
        ["code"],
    )
    return {row["code"]: row["id"] for row in rows}


def _template(one: Goods, category: int, unit: int) -> dict[str, Any]:
    identifiers = [{"code": code} for code in one.barcodes]
    return {
        "name": one.name,
        "type": one.kind,
        "salable": True,
        "default_uom": unit,
        "sale_uom": unit,
        "account_category": category,
        "list_price": (one.price / Decimal("1.2")).quantize(Decimal("0.0001")),
        "gross_price": one.price,
        "products": [["create", [{"suffix_code": one.code, "identifiers": [["create", identifiers]]}]]],
    }


async def set_price(server: TrytonServer, product: int, price: Decimal) -> None:
    """A new price, as HQ's people enter it: on the template."""
    (row,) = await server.call("model.product.product.read", [product], ["template"])
    net = (price / Decimal("1.2")).quantize(Decimal("0.0001"))
    changes = {"gross_price": price, "list_price": net}
    await server.call("model.product.template.write", [row["template"]], changes)


async def take_in(server: TrytonServer, product: int, quantity: float) -> None:
    """Goods arrive in the warehouse from nowhere, as an inventory does it."""
    locations = await server.call("model.stock.location.search_read", [], 0, None, None, ["code", "type"])
    lost = next(row["id"] for row in locations if row["type"] == "lost_found")
    storage = next(row["id"] for row in locations if row["code"] == "STO")
    (row,) = await server.call("model.product.product.read", [product], ["default_uom"])
    (move,) = await server.call(
        "model.stock.move.create",
        [
            {
                "product": product,
                "unit": row["default_uom"],
                "quantity": quantity,
                "from_location": lost,
                "to_location": storage,
                "effective_date": date.today(),
            }
        ],
    )
    await server.call("model.stock.move.do", [move])


async def sales(server: TrytonServer) -> list[dict[str, Any]]:
    """All sales with number, state, total and notes, in the order in which they were made."""
    rows: list[dict[str, Any]] = await server.call(
        "model.sale.point.sale.search_read",
        [],
        0,
        None,
        [["id", "ASC"]],
        ["number", "state", "total", "date"],
    )
    notes = await server.call("model.ir.note.search_read", [], 0, None, None, ["resource", "message"])
    for row in rows:
        resource = f"sale.point.sale,{row['id']}"
        row["notes"] = [note["message"] for note in notes if note["resource"] == resource]
    return rows


async def open_shop(port: int) -> None:
    """A few goods, so that there is something to see."""
    goods = [Goods(code, name, Decimal(price), (f"40000000{code[1:]:0>5}",)) for code, name, price in FIRST]
    async with Tryton(Session(f"http://127.0.0.1:{port}", DATABASE, "admin", PASSWORD)) as tryton:
        made = await add_goods(tryton, goods)
    print(f"{len(made)} products are in Tryton: {', '.join(made)}")


if __name__ == "__main__":
    asyncio.run(open_shop(int(sys.argv[1])))
