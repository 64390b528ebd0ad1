"""Quantities are exact decimals with at most six places, kept as whole millionths.

On the wire a quantity is a decimal string (`"1.25"`, canonical without trailing zeros) or a JSON integer; in tables
it is the integer `quantity_micro`, so that a sum in SQL is exact.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from shared.errors import BadInput

MICRO = 1_000_000
QUANTITY_MAX = 10**9


def to_micro(value: int | str) -> int:
    """Millionths of a quantity as it stands on the wire.

    Raises:
        BadInput: not a decimal number, more than six places, or out of bounds.
    """
    if isinstance(value, int):
        if abs(value) > QUANTITY_MAX:
            raise BadInput(f"quantity {value} is too large")
        return value * MICRO
    try:
        number = Decimal(value)
    except (InvalidOperation, TypeError, ValueError):
        raise BadInput(f'quantity "{value}" is not a number', hint='write it with a dot: "0.350"') from None
    if not number.is_finite() or abs(number) > QUANTITY_MAX:
        raise BadInput(f'quantity "{value}" is out of bounds')
    scaled = number.scaleb(6)
    if scaled != scaled.to_integral_value():
        raise BadInput(f'quantity "{value}" has more than six decimals')
    return int(scaled)


def from_micro(micro: int) -> str:
    """The canonical decimal string of whole millionths."""
    whole, part = divmod(abs(micro), MICRO)
    text = f"{whole}.{part:06d}".rstrip("0").rstrip(".") if part else str(whole)
    return f"-{text}" if micro < 0 else text
