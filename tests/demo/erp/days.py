"""Three days of real shelves for the demo with an ERP: what stood in three shops, and what is another from day to day.

The data's (../shared/data/il_prices_*, shelf prices that Israeli chains publish): shops, barcodes, names, prices, what
is weighed, and what came, went and got another price overnight. Nothing of it is copied into the repository; where it
is not there, `made_up.py` makes days of the same shape.
Chosen: of the shops that are there every day the two with the most changed prices, and of those that are missing on
the last day the one with the most; of their goods first what differs between the days, up to half, then by hash.
Left out: goods without name or price, and goods that another chosen shop has brought already: a code is sold once.

Rule: a shop that is missing in a day's file says nothing about its goods; only a shop that is there can drop one.
Invariant: same files and count, same days.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path

from tests.support.processes import ROOT

FOLDER = ROOT.parent / "shared" / "data"
PATTERN = "il_prices_*.csv.gz"
DAYS, SHOPS = 3, 3
NEW_SHARE = 20
"""On each later day one new article for so many of the first day."""
_CHAIN, _SHOP, _CODE, _NAME, _PRICE, _WEIGHED = "רשת", "מזהה חנות", "ברקוד", "שם מוצר", "מחיר (₪)", "שקיל"


@dataclass(frozen=True, slots=True)
class Article:
    """Something on a shelf. `price` is with tax, for a piece or a kilogram."""

    code: str
    name: str
    price: Decimal
    weighed: bool = False
    active: bool = True


Goods = Mapping[str, Article]
"""code -> article"""
Day = Mapping[str, Goods]
"""shop -> its goods; a shop that is missing dropped out of the day's file"""


@dataclass(frozen=True, slots=True)
class Change:
    """What HQ enters on a morning."""

    new: Sequence[Article] = ()
    priced: Sequence[Article] = ()
    renamed: Sequence[Article] = ()
    gone: Sequence[Article] = ()
    back: Sequence[Article] = ()
    missing: Mapping[str, int] = field(default_factory=dict)
    """Shops that dropped out of the file, and how many of their articles stay as they are."""

    def changed(self) -> list[Article]:
        """Articles that are there already and become another, each once, as they are afterwards."""
        both = {one.code: one for one in (*self.priced, *self.renamed, *self.gone, *self.back)}
        return list(both.values())


@dataclass(frozen=True, slots=True)
class Days:
    origin: str
    days: Sequence[Day]

    @property
    def shops(self) -> list[str]:
        return sorted({shop for day in self.days for shop in day})


def shop_of(days: Days) -> dict[str, str]:
    """Which shop brings each code."""
    return {code: shop for day in days.days for shop, goods in day.items() for code in goods}


def difference(shelf: Goods, day: Day, shops: Mapping[str, str]) -> Change:
    """What a day's file changes about all that stands on the shelf.

    Args:
        shops: which shop each code belongs to.
    """
    today = {code: one for goods in day.values() for code, one in goods.items()}
    before = {code: one for code, one in shelf.items() if shops[code] in day}
    both = [(before[code], one) for code, one in today.items() if code in before]
    missing: dict[str, int] = {}
    for code in shelf.keys() - before.keys():
        missing[shops[code]] = missing.get(shops[code], 0) + 1
    return Change(
        new=[one for code, one in today.items() if code not in before],
        priced=[now for then, now in both if then.price != now.price],
        renamed=[now for then, now in both if (then.name, then.weighed) != (now.name, now.weighed)],
        gone=[replace(one, active=False) for code, one in before.items() if code not in today and one.active],
        back=[now for then, now in both if not then.active],
        missing=missing,
    )


def after(shelf: Goods, change: Change) -> dict[str, Article]:
    """The shelf once a change is entered. What is gone is kept, and not sold any more."""
    return {**shelf, **{one.code: one for one in (*change.new, *change.changed())}}


def load_days(count: int, folder: Path = FOLDER) -> Days | None:
    """Three real days that begin with *count* articles; None where the files are not there."""
    files = sorted(folder.glob(PATTERN))[:DAYS] if folder.is_dir() else []
    if len(files) < DAYS:
        return None
    days = [read_day(file) for file in files]
    origin = "shelf prices of " + ", ".join(file.name[len("il_prices_") : -len(".csv.gz")] for file in files)
    return Days(origin, choose(days, count))


def read_day(file: Path) -> dict[str, dict[str, Article]]:
    """All usable rows of a day's file by shop."""
    shops: dict[str, dict[str, Article]] = {}
    with gzip.open(file, "rt", encoding="utf-8-sig", newline="") as text:
        for row in csv.DictReader(text):
            article = _article(row)
            if article is not None:
                shops.setdefault(f"{row[_CHAIN]} {row[_SHOP]}", {})[article.code] = article
    return shops


def _article(row: Mapping[str, str]) -> Article | None:
    name = " ".join("".join(sign if sign.isprintable() else " " for sign in row[_NAME]).split())
    try:
        price = Decimal(row[_PRICE]).quantize(Decimal("0.01"))
    except InvalidOperation:
        return None
    if not name or price <= 0 or not row[_CODE].isdigit():
        return None
    return Article(row[_CODE], name, price, weighed=row[_WEIGHED] == "1")


def choose(days: Sequence[Day], count: int) -> list[dict[str, dict[str, Article]]]:
    """The days cut down to three shops and *count* articles on the first day."""
    shops = _choose_shops(days)
    chosen: dict[str, str] = {}
    for number, shop in enumerate(shops):
        share = count // len(shops) + (number < count % len(shops))
        for code in _choose_goods([day.get(shop) for day in days], share, chosen.keys()):
            chosen[code] = shop
    return [
        {
            shop: {code: one for code, one in day[shop].items() if chosen.get(code) == shop}
            for shop in shops
            if shop in day
        }
        for day in days
    ]


def _choose_shops(days: Sequence[Day]) -> list[str]:
    *others, last = days
    there = [shop for shop in days[0] if all(shop in day for day in others)]
    ranked = sorted(there, key=lambda shop: (-_changed_prices([day.get(shop) for day in days]), shop))
    missing = [shop for shop in ranked if shop not in last][:1]
    return [*missing, *[shop for shop in ranked if shop in last][: SHOPS - len(missing)]]


def _changed_prices(days: Sequence[Goods | None]) -> int:
    there = [goods for goods in days if goods is not None]
    return sum(
        before[code].price != now[code].price
        for before, now in itertools.pairwise(there)
        for code in before.keys() & now.keys()
    )


def _choose_goods(days: Sequence[Goods | None], share: int, taken: Collection[str]) -> list[str]:
    """*share* codes of the first day and some that come later; what differs between the days comes first."""
    first, *later = [goods for goods in days if goods is not None]

    def differs(code: str) -> bool:
        return any(goods.get(code) != first[code] for goods in later)

    free = sorted((code for code in first if code not in taken), key=_hash)
    moved = [code for code in free if differs(code)][: share // 2]
    rest = set(moved)
    codes = [*moved, *[code for code in free if code not in rest and not differs(code)]][:share]
    known = {*first, *taken}
    for goods in later:
        new = sorted((code for code in goods if code not in known), key=_hash)[: share // NEW_SHARE]
        codes += new
        known.update(goods)
    return codes


def _hash(code: str) -> bytes:
    return hashlib.sha256(code.encode()).digest()
