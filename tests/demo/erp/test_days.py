"""The days of the demo with an ERP: same shape real or made up, and what is missing drops nothing."""

from __future__ import annotations

import gzip
from decimal import Decimal
from pathlib import Path

import pytest

from tests.demo.erp.days import Article, Days, after, difference, load_days, read_day, shop_of
from tests.demo.erp.made_up import make_days

MILK = Article("1", "Milk", Decimal("5.00"))
TEA = Article("2", "Tea", Decimal("9.90"))
BREAD = Article("3", "Bread", Decimal("3.00"))
SHOPS = {"1": "A", "2": "A", "3": "B"}


def shelf(*articles: Article) -> dict[str, Article]:
    return {one.code: one for one in articles}


def test_a_shop_that_is_missing_drops_nothing():
    """Its goods stay as they stood, prices too; only a shop that is there says that something is gone."""
    before = shelf(MILK, TEA, BREAD)
    change = difference(before, {"B": shelf(BREAD)}, SHOPS)
    assert change.missing == {"A": 2}
    assert not [*change.new, *change.changed()]
    assert after(before, change) == before


def test_what_a_day_changes_is_told_by_sort():
    """New, another price, another name, gone; what is gone stays known and is not active."""
    dearer = Article("1", "Milk", Decimal("5.50"))
    renamed = Article("3", "Rye bread", Decimal("3.00"))
    change = difference(shelf(MILK, BREAD), {"A": shelf(dearer, TEA), "B": shelf(renamed)}, SHOPS)
    assert (change.new, change.priced, change.renamed, change.gone) == ([TEA], [dearer], [renamed], [])
    gone = difference(shelf(MILK, TEA), {"A": shelf(MILK)}, SHOPS)
    there = after(shelf(MILK, TEA), gone)
    assert (there["2"].active, there["1"]) == (False, MILK)
    back = difference(there, {"A": shelf(MILK, TEA)}, SHOPS)
    assert back.back == [TEA]
    assert after(there, back) == shelf(MILK, TEA)


def fit_for_the_demo(days: Days, count: int) -> None:
    shops = shop_of(days)
    stands: dict[str, Article] = {}
    changes = []
    for day in days.days:
        change = difference(stands, day, shops)
        stands = after(stands, change)
        changes.append(change)
    first, second, third = changes
    assert len(first.new) == count
    assert second.priced
    assert second.gone
    assert not second.missing
    assert third.priced
    assert len(third.missing) == 1
    assert all(one.name and one.price > 0 and one.code.isdigit() for one in stands.values())


def test_made_up_days_have_the_shape_and_are_the_same_each_time():
    """Every sort of difference, and a shop that drops out of the last day."""
    fit_for_the_demo(make_days(300), 300)
    assert make_days(300) == make_days(300)


def test_the_real_days_have_it_too():
    """2,000 articles of three shops, their real differences, and the shop that is missing in the last file."""
    days = load_days(2_000)
    if days is None:
        pytest.skip("the shelf prices are not on this machine")
    fit_for_the_demo(days, 2_000)


def test_days_that_are_not_there_are_none(tmp_path: Path):
    """The demo then makes its own up."""
    assert load_days(10, tmp_path) is None
    assert load_days(10, tmp_path / "missing") is None


def test_rows_that_cannot_be_sold_are_left_out(tmp_path: Path):
    """No name, no price, no code; signs that no screen shows are taken out of names."""
    file = tmp_path / "day.csv.gz"
    rows = [
        "7,1,Milk\u200f  3%,5.9,0",
        "7,2,,5.9,0",
        "7,3,Tea,0,0",
        "7,4,Tea,,0",
        "7,x,Tea,1,0",
        "7,5,Meat,60,1",
    ]
    text = "\n".join(["רשת,מזהה חנות,ברקוד,שם מוצר,מחיר (₪),שקיל", *[f"A,{row}" for row in rows]])
    file.write_bytes(gzip.compress(("\ufeff" + text).encode()))
    assert read_day(file) == {
        "A 7": {
            "1": Article("1", "Milk 3%", Decimal("5.90")),
            "5": Article("5", "Meat", Decimal("60.00"), weighed=True),
        }
    }
