"""Values as records hold them: text, exact numbers, dates, lists and tables; and how one becomes another.

Numbers are int or Decimal. A float is refused wherever it would be reckoned with or written, because it no longer is
what the other system said.
"""

from __future__ import annotations

import decimal
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from central.mapping.errors import Fault, shown
from central.mapping.work import CHARS_PER_STEP, Work

DIGITS_MAX = 40
"""Before and after the point: far above any money or quantity, far below what makes a number slow."""
DEPTH_MAX = 50
"""Of lists and tables that are passed on as they are."""
EXACT = decimal.Context(
    prec=4 * DIGITS_MAX, traps=[decimal.Inexact, decimal.InvalidOperation, decimal.DivisionByZero]
)


def _bounded(number: Decimal, value: Any) -> Decimal:
    if not number.is_finite():
        raise Fault(f'"{shown(value)}" is no number', value)
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)  # only NaN and infinity have a letter
    if number.adjusted() >= DIGITS_MAX or exponent < -DIGITS_MAX:
        if number:
            raise Fault(f"the number {shown(value)} has more than {DIGITS_MAX} digits", value)
        return Decimal(0)
    return number


def number_of(value: Any) -> Decimal:
    """The exact number that a value is or, as text with a dot, writes."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        if isinstance(value, float):
            raise Fault(
                "the source gave an inexact number (float); its connector must read it as text", value
            )
        raise Fault(f'"{shown(value)}" is no number', value)
    if isinstance(value, str):
        text = value.strip()
        if len(text) > 4 * DIGITS_MAX or "_" in text:
            raise Fault(f'"{shown(value)}" is no number', value)
        try:
            return _bounded(Decimal(text), value)
        except decimal.InvalidOperation:
            raise Fault(f'"{shown(value)}" is no number; write it with a dot: 12.50', value) from None
    if isinstance(value, int) and value.bit_length() > 3 * DIGITS_MAX:
        raise Fault(f"the number {shown(value)} has more than {DIGITS_MAX} digits", value)
    return _bounded(Decimal(value), value)


def whole_of(value: Any) -> int:
    number = number_of(value)
    if number != number.to_integral_value():
        raise Fault(f'"{shown(value)}" is no whole number', value)
    return int(number)


def text_of(value: Any) -> str:
    """A value inside a text: numbers as they are written, without an exponent; nothing where there is none."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | Decimal):
        return format(number_of(value), "f")
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, float):
        number_of(value)
    raise Fault(f"{shown(value)} cannot stand inside a text; choose a part of it, or use join", value)


def copy_of(value: Any, work: Work, depth: int = 0) -> Any:
    """Lists and tables are copied: what is made of a record never shares a part that somebody may change."""
    if isinstance(value, Mapping):
        _may_be(depth, value)
        work.spend(1 + len(value))
        return {key: copy_of(part, work, depth + 1) for key, part in value.items()}
    if isinstance(value, list | tuple):
        _may_be(depth, value)
        work.spend(1 + len(value))
        return [copy_of(part, work, depth + 1) for part in value]
    if isinstance(value, str):
        work.spend(len(value) // CHARS_PER_STEP)
    return value


def _may_be(depth: int, value: Any) -> None:
    if depth >= DEPTH_MAX:
        raise Fault(f"lists and tables nest deeper than {DEPTH_MAX}", value)
