"""The cells of a row of text (CSV, Excel, XML) as the JSON values that the entity's model wants.

They know text only: whole numbers, yes and no, lists and amounts with a point are told by the model's field of that
name. An empty cell is an absent field. `amount` for a field `amount_minor` is money with a point.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin

import orjson
from pydantic import BaseModel

from shared.errors import BadInput
from shared.money import exponent_of, parse_amount

LIST_SEPARATOR = "|"
_MINOR = "_minor"
_BOOLS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


class CellError(Exception):
    """A cell that cannot be read; `values` are those of the row that could be."""

    def __init__(self, why: str, values: dict[str, Any]) -> None:
        super().__init__(why)
        self.why = why
        self.values = values


def read_cells(
    cells: dict[str, Any], model: type[BaseModel], decimal: str, currency: str | None
) -> dict[str, Any]:
    """The values of a row.

    Raises:
        CellError: naming the first column that is wrong.
    """
    values: dict[str, Any] = {}
    why = ""
    readers = _readers(model)
    for column, cell in cells.items():
        if not isinstance(cell, str):
            values[column] = cell  # what stands inside an element of XML
            continue
        text = cell.strip()
        if not text:
            continue
        reader = readers.get(column)
        try:
            if reader is not None:
                values[column] = reader(
                    text.replace(",", ".") if decimal == "," and column == "quantity" else text
                )
            elif column + _MINOR in readers:
                amount = text.replace(decimal, ".")
                unit = str(cells.get("currency", "")).strip() or currency
                if unit is None:
                    raise BadInput(
                        "an amount needs a currency",
                        hint="add a column currency, or currency=EUR in the first line",
                    )
                values[column + _MINOR] = parse_amount(amount, exponent_of(unit))
            else:
                values[column] = text
        except BadInput as error:
            why = why or f"{column}: {error}"
    if currency and "currency" in readers:
        values.setdefault("currency", currency)
    if why:
        raise CellError(why, values)
    return values


def _whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise BadInput(f'"{text}" is not a whole number') from None


def _yes_or_no(text: str) -> bool:
    value = _BOOLS.get(text.lower())
    if value is None:
        raise BadInput(f'"{text}" is neither yes nor no')
    return value


def _json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadInput(f"not valid JSON: {error}") from None


def _list(text: str) -> Any:
    return (
        _json(text)
        if text.startswith("[")
        else [part.strip() for part in text.split(LIST_SEPARATOR) if part.strip()]
    )


def _anything(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


@cache
def _readers(model: type[BaseModel]) -> dict[str, Callable[[str], Any]]:
    return {name: _reader(field.annotation) for name, field in model.model_fields.items()}


def _reader(annotation: Any) -> Callable[[str], Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _reader(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return _reader(next(part for part in get_args(annotation) if part is not type(None)))
    kind = origin or annotation
    if kind is Any:
        return _anything
    if kind is bool:
        return _yes_or_no
    if kind is int:
        return _whole_number
    if kind is list:
        return _list
    if kind is dict:
        return _json
    return str
