"""Field types that all documents and catalog entities use; each carries its bounds and its unit."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from shared.clock import from_rfc3339
from shared.errors import BadInput
from shared.money import AMOUNT_MAX_MINOR
from shared.quantity import from_micro, to_micro


class Record(BaseModel):
    """A model that keeps fields it does not know: a newer till's fields travel through an older agent unchanged."""

    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True)


# As tills write nearly all quantities: canonical already, so there is nothing to reckon.
_PLAIN_QUANTITY = re.compile(r"-?[1-9]\d{0,7}(\.\d{0,5}[1-9])?|-?0\.\d{0,5}[1-9]|0", re.ASCII)


def _quantity(value: Any) -> str:
    if isinstance(value, str) and _PLAIN_QUANTITY.fullmatch(value):
        return value
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError('a quantity is an integer or a decimal string such as "0.350", never a float')
    try:
        return from_micro(to_micro(value))
    except BadInput as error:
        raise ValueError(str(error)) from None


def _time(value: str) -> str:
    from_rfc3339(value)
    return value


def _custom(values: dict[str, Any]) -> dict[str, Any]:
    for name, value in values.items():
        if not 1 <= len(name) <= CUSTOM_NAME_MAX:
            raise ValueError(
                f'the name "{name[:CUSTOM_NAME_MAX]}" must have 1 to {CUSTOM_NAME_MAX} characters'
            )
        listed = value if isinstance(value, list) else [value]
        if len(listed) > CUSTOM_LIST_MAX:
            raise ValueError(f'"{name}" has more than {CUSTOM_LIST_MAX} values')
        for one in listed:
            if not isinstance(one, str | int):
                raise ValueError(f'"{name}" must be text, a whole number, true or false, or a list of them')
            if isinstance(one, str) and len(one) > CUSTOM_TEXT_MAX:
                raise ValueError(f'"{name}" has more than {CUSTOM_TEXT_MAX} characters')
            if isinstance(one, int) and abs(one) > CUSTOM_NUMBER_MAX:
                raise ValueError(f'"{name}" is beyond {CUSTOM_NUMBER_MAX}; write it as text')
    return values


CUSTOM_MAX = 100
"""Custom fields of one row."""
CUSTOM_NAME_MAX, CUSTOM_TEXT_MAX, CUSTOM_LIST_MAX = 100, 4_000, 100
CUSTOM_NUMBER_MAX = 2**53 - 1
"""What every reader of JSON keeps exactly."""

Minor = Annotated[int, Field(strict=True, ge=-AMOUNT_MAX_MINOR, le=AMOUNT_MAX_MINOR)]
"""Money in minor units of the document's currency."""

Quantity = Annotated[str, BeforeValidator(_quantity)]
"""Decimal string with at most six places; negative for goods that come back."""

Time = Annotated[str, Field(max_length=40), AfterValidator(_time)]
"""RFC 3339 with an offset."""

BusinessDate = Annotated[str, Field(pattern=r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$")]
"""The store's own day, as the till set it; never derived from UTC."""

Code = Annotated[str, Field(min_length=1, max_length=100)]
Name = Annotated[str, Field(max_length=500)]
Text = Annotated[str, Field(max_length=4_000)]
CurrencyCode = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
CountryCode = Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
"""ISO 3166, or EU for an EU VAT number that names its country itself."""
BasisPoints = Annotated[int, Field(strict=True, ge=0, le=100_000)]
"""A rate: 2000 is 20 %."""
DocId = Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
Custom = Annotated[dict[str, Any], Field(max_length=CUSTOM_MAX), AfterValidator(_custom)]
"""Fields of a chain's own: text, whole numbers, true or false, or lists of them; amounts as decimal text."""
