"""Choose what a till means: which price holds, what a scale's label says, which words a name is found by.

Pure: the candidates come in, the choice goes out, so that the till's page, the local API and promotions agree.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from shared.clock import from_rfc3339
from shared.errors import BadInput
from shared.quantity import MICRO, from_micro, to_micro

SEARCH_WORDS_MAX = 10
_WORD = re.compile(r"[^\W_]+")
# Scripts written without spaces: each character is a word of its own.
_UNSPACED = re.compile("([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff])")


@dataclass(frozen=True, slots=True)
class Row:
    """A catalog row as look-ups return it; `rank` is its scope's, the lowest wins."""

    scope: str
    rank: int
    key: str
    version: bytes
    payload: dict[str, Any]


def strongest(rows: Iterable[Row]) -> list[Row]:
    """One row per key: that of the scope that wins; in the order in which the keys first came."""
    best: dict[str, Row] = {}
    for row in rows:
        held = best.get(row.key)
        if held is None or row.rank < held.rank:
            best[row.key] = row
    return list(best.values())


def choose_price(
    rows: Iterable[Row],
    at_ms: int,
    *,
    variant: str | None = None,
    pack: str | None = None,
    quantity_micro: int = MICRO,
    price_list: str | None = None,
) -> Row | None:
    """The price that holds at *at_ms*, or None.

    The narrowest wins (variant and pack, one of them, the product alone), then the stronger scope, then the larger
    minimum quantity that is reached, then the later `valid_from`.

    Args:
        rows: the price rows of one product, from all scopes, also those that do not hold now.
        price_list: only this list counts (a customer's own); all lists of the station when not given.
    """

    def holds(price: dict[str, Any]) -> bool:
        start, end, least = price.get("valid_from"), price.get("valid_until"), price.get("min_quantity")
        return (
            (not price.get("variant") or price["variant"] == variant)
            and (not price.get("pack") or price["pack"] == pack)
            and (price_list is None or price["price_list"] == price_list)
            and (start is None or from_rfc3339(start) <= at_ms)
            and (end is None or at_ms < from_rfc3339(end))
            and (least is None or to_micro(least) <= quantity_micro)
        )

    def strength(row: Row) -> tuple[int, int, int, int, str]:
        price = row.payload
        narrow = (2 if price.get("pack") else 0) + (1 if price.get("variant") else 0)
        least = to_micro(price["min_quantity"]) if price.get("min_quantity") is not None else -1
        start = from_rfc3339(price["valid_from"]) if price.get("valid_from") else -1
        return narrow, -row.rank, least, start, row.key

    # A stronger scope's row replaces the weaker one of the same key, whether or not it holds now.
    fitting = [row for row in strongest(rows) if holds(row.payload)]
    return max(fitting, key=strength, default=None)


def label_quantity(amount_minor: int, price_minor: int) -> str | None:
    """The quantity behind a price label, to the gram (three decimals); None when the price is not above 0.

    The label's amount is what the customer pays; the quantity only says what to take off the stock.
    """
    if price_minor <= 0:
        return None
    milli = (2 * amount_minor * 1_000 + price_minor) // (2 * price_minor)
    return from_micro(milli * 1_000)


def weight_quantity(weight_g: int) -> str:
    """A label's weight in kilograms."""
    return from_micro(weight_g * 1_000)


def measured_codes(item: str) -> list[str]:
    """The spellings under which a label's item code may stand in the catalog: as printed, and without leading zeros."""
    return list(dict.fromkeys([item, item.lstrip("0") or "0"]))


def barcode_patterns(settings: Sequence[Row]) -> list[str]:
    """The patterns of weight and price barcodes from the setting `barcodes`; none when there is no such setting."""
    for row in strongest(settings):
        value = row.payload.get("value")
        patterns = value.get("patterns") if isinstance(value, dict) else None
        if isinstance(patterns, list):
            return [pattern for pattern in patterns if isinstance(pattern, str)]
    return []


def searchable(name: str) -> str:
    """A name as the name index takes it: one spelling of each letter, unspaced scripts letter by letter."""
    return _UNSPACED.sub(r" \1 ", unicodedata.normalize("NFC", name))


def search_expression(text: str) -> str:
    """What the name index is asked for *text*: every word of it begins some word of the name.

    Raises:
        BadInput: there is no word in it.
    """
    words = _WORD.findall(searchable(text))[:SEARCH_WORDS_MAX]
    if not words:
        raise BadInput(
            f'there is nothing to look for in "{text}"', hint="give at least one letter or digit of the name"
        )
    return " ".join(f'"{word}"*' for word in words)
