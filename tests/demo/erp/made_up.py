"""Days of the same shape as the real ones, for machines where these are not there."""

from __future__ import annotations

import random
from dataclasses import replace
from decimal import Decimal

from tests.demo.erp.days import DAYS, SHOPS, Article, Days

NEW, GONE, PRICED, RENAMED = 0.02, 0.02, 0.08, 0.005
"""Shares of a shop's articles from one day to the next; the real ones are near these."""
_WORDS = ("חלב", "לחם", "גבינה", "קפה", "Tea", "Чай", "Ovos", "牛奶", "Käse", "Pão")


def make_days(count: int, seed: int = 1) -> Days:
    """Three days of *count* articles; the first shop drops out of the last one."""
    rng = random.Random(seed)
    codes = iter(range(7_290_000_000_000, 7_300_000_000_000))

    def article() -> Article:
        name = f"{rng.choice(_WORDS)} {rng.randint(1, 999)} {rng.choice(_WORDS)}"
        return Article(str(next(codes)), name, _price(rng), weighed=rng.random() < 0.05)

    def overnight(goods: dict[str, Article]) -> dict[str, Article]:
        result = {}
        for code, one in goods.items():
            if rng.random() < GONE:
                continue
            priced = replace(one, price=_price(rng)) if rng.random() < PRICED else one
            result[code] = replace(priced, name=f"{priced.name} *") if rng.random() < RENAMED else priced
        for new in [article() for _ in range(round(len(goods) * NEW))]:
            result[new.code] = new
        return result

    shops = [f"shop {number}" for number in range(1, SHOPS + 1)]
    today = {}
    for number, shop in enumerate(shops):
        made = [article() for _ in range(count // SHOPS + (number < count % SHOPS))]
        today[shop] = {one.code: one for one in made}
    days = [today]
    while len(days) < DAYS:
        today = {shop: overnight(goods) for shop, goods in today.items()}
        days.append(today)
    days[-1] = {shop: goods for shop, goods in today.items() if shop != shops[0]}
    return Days(f"made up (seed {seed})", days)


def _price(rng: random.Random) -> Decimal:
    return Decimal(rng.randint(50, 9_990)) / 100
