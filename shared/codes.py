"""Codes that a scanner reads or a person types: GTIN, weight and price barcodes, and card numbers to keep out.

A weight or price barcode is described by a pattern as the chain's scales print it: `28IIIIIWWWWWC` is the prefix 28,
five digits of item code, five of weight in grams and the check digit; `P` stands for price in minor units.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby

_CARD = re.compile(r"(?<![0-9])[2-6][0-9](?:[ -]?[0-9]){12,17}(?![0-9])")


def gtin_check_digit(body: str) -> int:
    """The GS1 mod-10 check digit for the digits before it (GS1 General Specifications, 7.9)."""
    total = sum(int(digit) * (3 if i % 2 == 0 else 1) for i, digit in enumerate(reversed(body)))
    return -total % 10


def is_gtin(code: str) -> bool:
    """Whether *code* is a GTIN-8, -12, -13 or -14 with a right check digit."""
    return (
        len(code) in (8, 12, 13, 14)
        and code.isascii()
        and code.isdigit()
        and gtin_check_digit(code[:-1]) == int(code[-1])
    )


def luhn_ok(digits: str) -> bool:
    """The check of card numbers (ISO/IEC 7812-1, annex B)."""
    total = 0
    for i, char in enumerate(reversed(digits)):
        digit = int(char)
        if i % 2:
            digit = digit * 2 - 9 if digit > 4 else digit * 2
        total += digit
    return total % 10 == 0


def mask_card_numbers(text: str) -> str:
    """Replace every card number in free text by its last four digits (I23)."""

    def mask(match: re.Match[str]) -> str:
        digits = re.sub(r"[ -]", "", match[0])
        return f"****{digits[-4:]}" if 14 <= len(digits) <= 19 and luhn_ok(digits) else match[0]

    return _CARD.sub(mask, text)


@dataclass(frozen=True, slots=True)
class MeasuredBarcode:
    """What a scale's label says: the item's short code with either a weight or a price."""

    item: str
    weight_g: int | None = None
    price_minor: int | None = None


def read_measured(barcode: str, patterns: list[str]) -> MeasuredBarcode | None:
    """Read a weight or price barcode by the first pattern that fits, or None.

    A pattern has the barcode's length; digits match themselves, `I` item, `W` weight in grams, `P` price in minor
    units, `V` a verifier that is not checked, `C` the GS1 check digit.
    """
    if not (barcode.isascii() and barcode.isdigit()):
        return None
    for pattern in patterns:
        if len(pattern) != len(barcode):
            continue
        parts: dict[str, str] = {}
        position = 0
        fits = True
        for mark, run in groupby(pattern, key=lambda c: "=" if c.isdigit() else c):
            width = len(list(run))
            piece = barcode[position : position + width]
            if mark == "=":
                fits = fits and piece == pattern[position : position + width]
            else:
                parts[mark] = parts.get(mark, "") + piece
            position += width
        if fits and "C" in parts:
            fits = gtin_check_digit(barcode[:-1]) == int(barcode[-1])
        if fits and "I" in parts:
            weight, price = parts.get("W"), parts.get("P")
            return MeasuredBarcode(parts["I"], int(weight) if weight else None, int(price) if price else None)
    return None
