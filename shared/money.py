"""Money is a whole number of minor units (kopeck, tiyin, fen, cent); never a float.

Names end in `_minor`. Returns are negative. How many decimals a currency has is only needed where people or ERPs
write amounts with a point; there it is passed in as the exponent (ISO 4217: EUR 2, JPY 0, KWD 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

from shared.errors import BadInput

AMOUNT_MAX_MINOR = 10**15
"""No single amount is larger: sums of a million of them still fit 64 bits."""

# ISO 4217 minor units that are not 2, for the currencies that shops meet.
_EXPONENTS = {
    "JPY": 0,
    "KRW": 0,
    "VND": 0,
    "CLP": 0,
    "PYG": 0,
    "ISK": 0,
    "KWD": 3,
    "BHD": 3,
    "OMR": 3,
    "TND": 3,
    "JOD": 3,
}


class NothingToAllocate(BadInput):
    code = "nothing-to-allocate"


def exponent_of(currency: str) -> int:
    """Decimals of a currency code, 2 unless ISO 4217 says otherwise."""
    return _EXPONENTS.get(currency, 2)


def allocate(total_minor: int, weights: Sequence[int]) -> list[int]:
    """Split *total_minor* in proportion to *weights* and lose no minor unit.

    Args:
        total_minor: whole minor units; negative for a return.
        weights: one int >= 0 per line, at least one above 0.
    Returns:
        one amount per line, in order; they sum to *total_minor* exactly.
    Raises:
        NothingToAllocate: every weight is 0, or one is negative.
    """
    weight_sum = sum(weights)
    if weight_sum <= 0 or min(weights) < 0:
        raise NothingToAllocate(
            f"cannot split {total_minor} by the weights {list(weights)}: they must be >= 0 and not all 0"
        )
    sign = -1 if total_minor < 0 else 1
    magnitude = abs(total_minor)
    shares = [magnitude * weight // weight_sum for weight in weights]
    # Largest remainder first, ties to the earlier line: till and centre must agree to the kopeck.
    by_remainder = sorted(range(len(weights)), key=lambda i: (-(magnitude * weights[i] % weight_sum), i))
    for i in by_remainder[: magnitude - sum(shares)]:
        shares[i] += 1
    return [sign * share for share in shares]


def parse_amount(text: str, exponent: int = 2) -> int:
    """Minor units of an amount written with a point: `"12.50"` is 1250.

    Raises:
        BadInput: not a number, or more decimals than the currency has.
    """
    try:
        scaled = Decimal(text.strip()).scaleb(exponent)
    except InvalidOperation:
        raise BadInput(f'amount "{text}" is not a number', hint='write it with a dot: "12.50"') from None
    if not scaled.is_finite() or scaled != scaled.to_integral_value():
        raise BadInput(f'amount "{text}" has more than {exponent} decimals', hint="round it in the source")
    minor = int(scaled)
    if abs(minor) > AMOUNT_MAX_MINOR:
        raise BadInput(f'amount "{text}" is too large')
    return minor


def format_amount(minor: int, exponent: int = 2) -> str:
    """`1250` as `"12.50"`; the exact inverse of `parse_amount`."""
    return f"{Decimal(minor).scaleb(-exponent):.{exponent}f}"


def vat_included(amount_minor: int, rate_bp: int) -> int:
    """The tax inside a gross amount; *rate_bp* in basis points (2000 is 20 %), half away from zero."""
    numerator, denominator = abs(amount_minor) * rate_bp, 10_000 + rate_bp
    tax = (2 * numerator + denominator) // (2 * denominator)
    return tax if amount_minor >= 0 else -tax
