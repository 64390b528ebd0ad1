"""What the demonstration does, step by step, over real processes.

1 a centre and three stations start; 2 a real store's products and prices come in through the drop folder; 3 its real
baskets are sold through the stations' local APIs; 4 midway the line is cut, selling goes on, HQ changes 500 prices,
one agent is killed and starts again; 5 the line comes back; 6 everything is compared.
"""

from __future__ import annotations

import asyncio
import csv
import io
import time
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tests.demo import balance, facts
from tests.demo.data import Basket, Product, StoreData, deal
from tests.demo.facts import Tally
from tests.demo.screen import Tell
from tests.support.chain import PRICE_LIST, STORE, Chain, Station

CURRENCY = "USD"
CHANGED_PRICES = 500
CHANGES = "prices-changed.csv"
CUT_AT, KILL_AT, RESTORE_AT = 0.35, 0.5, 0.7
"""Shares of the baskets sold when the line is cut, when one agent is killed, and when the line is back."""


@dataclass
class Outcome:
    """All that the end of the demonstration shows."""

    balance: balance.Balance
    sold: Tally
    digests_equal: dict[str, bool]
    findings: dict[str, list[Any]]
    prices_live: str
    figures: dict[str, float]

    @property
    def holds(self) -> bool:
        return self.balance.holds and all(self.digests_equal.values()) and not any(self.findings.values())


class Story:
    """One run of the demonstration on a running chain."""

    def __init__(self, chain: Chain, data: StoreData, progress: Tell) -> None:
        self.chain, self.data, self.progress = chain, data, progress
        self.tally = Tally()
        self.figures: dict[str, float] = {}
        self.products = {product.code: product for product in data.products}
        self.total = len(data.baskets)
        self.done = 0
        self.news = asyncio.Condition()

    async def run(self) -> Outcome:
        await self.load_catalog()
        dealt = list(deal(self.data.baskets, len(self.chain.stations)))
        baskets = list(zip(self.chain.stations, dealt, strict=True))
        sellers = [asyncio.create_task(self.sell(station, own)) for station, own in baskets]
        trouble = asyncio.create_task(self.trouble())
        start = time.monotonic()
        await asyncio.gather(*sellers, trouble)
        self.figures["selling_s"] = time.monotonic() - start
        await self.catch_up()
        return await self.compare()

    # ---- the catalog ----

    async def load_catalog(self) -> None:
        """The store's products and prices come in as HQ's files."""
        start = time.monotonic()
        self.chain.drop_file("products.csv", product_file(self.data.products))
        prices = {price.product: price.amount_minor for price in self.data.prices}
        self.chain.drop_file("prices.csv", price_file(prices))
        expected = len(self.data.products) + len(prices)

        async def loaded() -> bool:
            rows = [
                sum(scope["count"] for scope in await facts.scopes_of(station))
                for station in self.chain.stations
            ]
            self.progress("products and prices on the stations", min(rows), expected)
            return min(rows) >= expected

        await self.chain.until("the catalog is on every station", loaded)
        self.figures["catalog_s"] = time.monotonic() - start

    # ---- selling ----

    async def sell(self, station: Station, baskets: list[Basket]) -> None:
        for basket in baskets:
            submission = receipt(basket, self.products)
            status, answer = await station.sell(submission, key=f"basket-{basket.id}")
            if status not in (200, 201):
                raise AssertionError(f"{station.code} refused basket {basket.id}: {status} {answer}")
            self.tally.repeated += status == 200
            self.tally.note(station.code, answer, submission["payload"]["payments"])
            self.done += 1
            async with self.news:
                self.news.notify_all()
            if self.done % 20 == 0 or self.done == self.total:
                self.progress("baskets sold", self.done, self.total)

    async def reached(self, share: float) -> None:
        async with self.news:
            await self.news.wait_for(lambda: self.done >= share * self.total)

    async def trouble(self) -> None:
        """The line is cut, prices change, an agent dies, the line comes back."""
        await self.reached(CUT_AT)
        self.chain.cut_line()
        self.progress("line cut", 1, 1)
        changed = {price.product: price.amount_minor + 1 for price in self.data.prices[:CHANGED_PRICES]}
        self.chain.drop_file(CHANGES, price_file(changed))
        await self.reached(KILL_AT)
        await self.chain.stations[1].restart_after_kill()
        self.progress("agent killed and started again", 1, 1)
        await self.reached(RESTORE_AT)
        self.figures["backlog_documents"] = sum(
            [(await station.get("/v1/station"))["backlog"] for station in self.chain.stations]
        )
        self.chain.restore_line()
        self.progress("line restored", 1, 1)
        start = time.monotonic()
        for station in self.chain.stations:
            await station.sync()
        backlog = asyncio.create_task(self.chain.until("the backlog is sent", self.chain.backlog_is_empty))
        prices = asyncio.create_task(self.chain.until("the new prices are on every station", self.prices_fit))
        self.figures["backlog_s"] = await backlog
        self.figures["prices_s"] = await prices
        self.figures["recovery_s"] = time.monotonic() - start

    # ---- the end ----

    async def catch_up(self) -> None:
        start = time.monotonic()
        await self.chain.until("the backlog is sent", self.chain.backlog_is_empty)
        await self.chain.until("all is delivered", self.all_delivered)
        await self.chain.until("every station has HQ's catalog", self.digests_fit)
        self.figures["after_last_sale_s"] = time.monotonic() - start

    async def all_delivered(self) -> bool:
        lines = len(self.chain.delivered())
        self.progress("documents delivered", lines, self.total)
        return lines >= self.total

    async def prices_fit(self) -> bool:
        """Whether HQ's file was taken and is everywhere: before it is taken, all agree on the old prices."""
        taken = self.chain.drop / "done" / f"{CHANGES}.report.json"
        return taken.exists() and await self.digests_fit()

    async def digests_fit(self) -> bool:
        return all((await facts.digests_equal(self.chain)).values())

    async def compare(self) -> Outcome:
        delivered, times = balance.of_delivered(self.chain.delivered())
        rollout = await self.chain.admin("GET", f"/rollout?scope=pricelist/{PRICE_LIST}")
        return Outcome(
            balance.balance(
                self.tally.totals, await facts.stored(self.chain), delivered, self.tally.doc_ids, times
            ),
            self.tally,
            await facts.digests_equal(self.chain),
            await facts.findings(self.chain),
            f"{rollout['live']} of {rollout['stations']}",
            self.figures,
        )


# ---- files and documents ----


def product_file(products: list[Product]) -> str:
    out = io.StringIO()
    out.write("#counterflow entity=product mode=complete scope=base\n")
    writer = csv.writer(out)
    writer.writerow(["code", "name", "group", "unit"])
    writer.writerows([product.code, product.name, product.group, product.unit] for product in products)
    return out.getvalue()


def price_file(prices: dict[str, int]) -> str:
    out = io.StringIO()
    out.write(f"#counterflow entity=price mode=changes scope=pricelist/{PRICE_LIST}\n")
    writer = csv.writer(out)
    writer.writerow(["price_list", "product", "amount_minor", "currency"])
    writer.writerows([PRICE_LIST, product, amount, CURRENCY] for product, amount in prices.items())
    return out.getvalue()


def receipt(basket: Basket, products: dict[str, Product]) -> dict[str, Any]:
    """The basket as POS software hands it in; amounts are the data's."""
    lines = []
    for n, line in enumerate(basket.lines, 1):
        product = products[line.product]
        quantity = Decimal(line.quantity) / product.quantity_scale
        lines.append(
            {
                "n": n,
                "product": line.product,
                "name": product.name,
                "unit": product.unit,
                "quantity": f"{quantity:f}",
                "price_minor": line.unit_price_minor,
                "discount_minor": line.discount_minor,
                "amount_minor": line.amount_minor,
            }
        )
    total = sum(line.amount_minor for line in basket.lines)
    return {
        "kind": "sale",
        "payload": {
            "currency": CURRENCY,
            "customer": str(basket.customer),
            "closed_at": basket.time.isoformat(),
            "lines": lines,
            "payments": [{"n": 1, "type": basket.payment_type, "amount_minor": total}],
            "total_minor": total,
            "discount_minor": sum(line.discount_minor for line in basket.lines),
        },
    }


__all__ = ["CURRENCY", "STORE", "Outcome", "Story"]
