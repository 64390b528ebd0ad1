"""HQ's people at Tryton: they enter each day's goods and prices, and look what has been sold. Past the connector.

What stands here goes over Tryton's JSON-RPC as its administrator, so that nothing the demo compares has gone through
the product twice.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from central.connectors.base import Exchange, TargetRejects
from central.connectors.tryton.rpc import Tryton
from tests.demo import balance
from tests.demo.erp.days import Article, Change
from tests.demo.screen import Tell
from tests.support.tryton import TrytonServer
from tests.support.tryton_shop import Goods, add_goods

CURRENCY = {"name": "New Shekel", "code": "ILS", "numeric_code": "376", "symbol": "₪"}
TAX = Decimal("0.2")
"""Of the company that the tests' Tryton has; contained in the prices."""
BATCH = 200
WARNINGS_MAX = 200
ADMIN = 1
PRODUCT, TEMPLATE, SALE = "model.product.product", "model.product.template", "model.sale.point.sale"
_KINDS = {"Cash": "CASH", "Card": "CARD"}
UNITS = {False: "u", True: "kg"}


@dataclass
class Sold:
    """What Tryton has of ours, by document; `drafts` have no effect, neither in the books nor in the stock."""

    totals: balance.Totals = field(default_factory=dict)
    times: Counter[str] = field(default_factory=Counter)
    numbers: dict[str, str] = field(default_factory=dict)
    drafts: int = 0
    strangers: int = 0
    """Sales that took effect and bear no document of ours."""


class Office:
    def __init__(self, server: TrytonServer, tell: Tell) -> None:
        self._server = server
        self._session = server.session()
        self._tell = tell

    async def open_books(self) -> None:
        """The company keeps its books in the currency of the shelves, and weighs to the gram as scales do."""
        ids = await self._server.call("model.currency.currency.search", [["code", "=", "EUR"]], 0, 1, None)
        await self._server.call("model.currency.currency.write", ids, CURRENCY)
        weighed = [["symbol", "=", UNITS[True]]]
        ids = await self._server.call("model.product.uom.search", weighed, 0, 1, None)
        await self._server.call("model.product.uom.write", ids, {"digits": 3, "rounding": 0.001})

    async def enter(self, change: Change, day: int) -> None:
        """Enter what a day changes."""
        what = f"day {day}: entered in Tryton"
        changed = change.changed()
        total = len(change.new) + len(changed)
        for start in range(0, len(change.new), BATCH):
            part = change.new[start : start + BATCH]
            made = [
                Goods(one.code, one.name, one.price, (one.code,), unit=UNITS[one.weighed]) for one in part
            ]
            await add_goods(self._server, made)
            self._tell(what, start + len(part), total)
        async with self._server.calls(self._session) as tryton:
            for start in range(0, len(changed), BATCH):
                await self._write(tryton, changed[start : start + BATCH])
                self._tell(what, len(change.new) + min(start + BATCH, len(changed)), total)

    async def shelf(self) -> dict[str, Article]:
        """All goods as Tryton has them."""
        names = ["code", "active", "gross_price_used", "template.name", "template.default_uom.symbol"]
        found = {}
        async with self._server.calls(self._session) as tryton:
            for row in await tryton.call(f"{PRODUCT}.search_read", [], 0, None, None, names):
                template = row["template."]
                found[row["code"]] = Article(
                    row["code"],
                    template["name"],
                    row["gross_price_used"].quantize(Decimal("0.01")),
                    template["default_uom."]["symbol"] == UNITS[True],
                    row["active"],
                )
        return found

    async def sold(self, stations: Mapping[str, str]) -> Sold:
        """All sales of Tryton's point of sale; *stations* says which station made each document."""
        result = Sold()
        async with self._server.calls(self._session) as tryton:
            names = ["state", "number", "payments.amount", "payments.method.name"]
            rows = await tryton.call(f"{SALE}.search_read", [], 0, None, [["id", "ASC"]], names)
            # Tryton searches notes only among records that are named.
            ours = [["resource", "in", [f"sale.point.sale,{row['id']}" for row in rows]]]
            notes = await tryton.call(
                "model.ir.note.search_read", ours, 0, None, None, ["message", "resource"]
            )
        documents = {note["resource"]: _doc_id(note["message"]) for note in notes}
        for row in rows:
            doc_id = documents.get(f"sale.point.sale,{row['id']}", "")
            if row["state"] in ("open", "cancelled"):
                result.drafts += 1
            elif doc_id not in stations:
                result.strangers += 1
            else:
                result.times[doc_id] += 1
                result.numbers[doc_id] = row["number"]
                for payment in row["payments."]:
                    kind = _KINDS[payment["method."]["name"]]
                    balance.add(result.totals, stations[doc_id], kind, int(payment["amount"] * 100))
        return result

    async def _write(self, tryton: Tryton, articles: Sequence[Article]) -> None:
        """Prices, names and activity of articles that are there already, in one call for each sort of record."""
        codes = [one.code for one in articles]
        rows = await tryton.call(
            f"{PRODUCT}.search_read", [["code", "in", codes]], 0, None, None, ["code", "template", "active"]
        )
        by_code: dict[str, Any] = {row["code"]: row for row in rows}
        templates: list[Any] = []
        products: list[Any] = []
        for one in articles:
            row = by_code[one.code]
            net = (one.price / (1 + TAX)).quantize(Decimal("0.0001"))
            templates += [[row["template"]], {"name": one.name, "gross_price": one.price, "list_price": net}]
            if row["active"] != one.active:
                products += [[row["id"]], {"active": one.active}]
        await tryton.call(f"{TEMPLATE}.write", *templates)
        if products:
            await self._confirmed(f"{PRODUCT}.write", *products)

    async def _confirmed(self, method: str, *params: Any) -> None:
        """Call and confirm each warning, as a person does in Tryton's client: of what is gone there may be stock."""
        told: list[Exchange] = []
        async with self._server.calls(self._session, told.append) as tryton:
            for _ in range(WARNINGS_MAX):
                try:
                    await tryton.call(method, *params)
                    return
                except TargetRejects as error:
                    said = json.loads(told[-1].answer.partition(" ")[2])["error"]
                    if said[0] != "UserWarning":
                        raise
                    name = said[1][0]
                    last = error
                await tryton.call("model.res.user.warning.create", [{"user": ADMIN, "name": name}])
        raise last


def _doc_id(message: str) -> str:
    """Of a note "number integration:doc_id:effect"."""
    return message.rpartition(" ")[2].split(":")[1] if message.count(":") == 2 else ""
