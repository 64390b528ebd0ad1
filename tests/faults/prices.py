"""Prices that HQ drops, and the wait until every station has them."""

from __future__ import annotations

from tests.support.chain import PRICE_LIST, Chain


def price_file(version: int, rows: int = 5) -> str:
    """A set of changes; every version has other prices for the same products."""
    head = [
        f"#counterflow entity=price mode=changes scope=pricelist/{PRICE_LIST}",
        "price_list,product,amount_minor,currency",
    ]
    lines = [f"{PRICE_LIST},A{number},{version * 10 + 1},EUR" for number in range(rows)]
    return "\n".join([*head, *lines, ""])


async def load_prices(chain: Chain, version: int, rows: int) -> None:
    """Publish prices and wait until they are on every station."""
    before = (await chain.scopes()).get(f"pricelist/{PRICE_LIST}", {"head": 0})["head"]
    chain.drop_file(f"load-{version}.csv", price_file(version, rows))

    async def published() -> bool:
        return (await chain.scopes()).get(f"pricelist/{PRICE_LIST}", {"head": 0})["head"] > before

    await chain.until("the prices are published", published)
    await chain.until("the prices are on every station", chain.catalogs_agree)
