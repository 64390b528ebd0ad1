"""Fields of our models as rows of a Markdown table: name, type in words, what it is when absent, meaning.

Pure: models in, text out. Types that all documents share (money, quantities, times) are called by one name each, and
`TYPES` says on the page what the name means.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from shared.documents import fields as shared_types

TYPES: dict[str, tuple[Any, str]] = {
    "code": (shared_types.Code, "text of 1 to 100 characters"),
    "name": (shared_types.Name, "text of at most 500 characters"),
    "text": (shared_types.Text, "text of at most 4,000 characters"),
    "money": (
        shared_types.Minor,
        "a whole number of minor units of the currency; negative for what comes back",
    ),
    "quantity": (
        shared_types.Quantity,
        'a decimal string with at most six places, such as `"0.350"`; never a float',
    ),
    "time": (shared_types.Time, "RFC 3339 with an offset, such as `2026-11-21T10:00:00+05:00`"),
    "date": (shared_types.BusinessDate, "`YYYY-MM-DD`, the store's own day"),
    "currency": (shared_types.CurrencyCode, "three capital letters, ISO 4217"),
    "country": (shared_types.CountryCode, "two capital letters, ISO 3166; EU for an EU VAT number"),
    "custom fields": (
        shared_types.Custom,
        "an object of at most 100 names, each with text, a whole number, true or false, or a list of them; an amount "
        "is written as text, never as a float",
    ),
    "rate": (shared_types.BasisPoints, "basis points: 2000 is 20 %"),
    "doc_id": (shared_types.DocId, "a UUID in lower case with hyphens"),
}
_PLAIN = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Any: "any JSON",
    Path: "path",
}


def table(model: type[BaseModel]) -> list[str]:
    """The model's fields as a Markdown table."""
    lines = ["| field | type | when absent | meaning |", "|---|---|---|---|"]
    hints = typing.get_type_hints(model, include_extras=True)
    for name, field in model.model_fields.items():
        meaning = cell(field.description or "")
        lines.append(f"| `{name}` | {cell(type_of(hints[name], field))} | {absent(field)} | {meaning} |")
    return lines


def type_of(hint: Any, field: FieldInfo | None = None) -> str:
    """A type in words, with its bounds."""
    for name, (known, _) in TYPES.items():
        if hint == known:
            return name
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return type_of(arguments[0], field)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(type_of(one, field) for one in arguments if one is not type(None))
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin is list:
        return f"list of {type_of(arguments[0])}{bounds(field)}"
    if origin is dict:
        return f"object of {type_of(arguments[1])}{bounds(field)}"
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return f"[{hint.__name__}](#{hint.__name__.lower()})"
    return f"{_PLAIN.get(hint, getattr(hint, '__name__', str(hint)))}{bounds(field)}"


def bounds(field: FieldInfo | None) -> str:
    """The limits that stand beside a field's type."""
    said = {type(limit).__name__: limit for limit in (field.metadata if field else ()) if not callable(limit)}
    parts = []
    if "Ge" in said and "Le" in said:
        parts.append(f"{said['Ge'].ge:,} to {said['Le'].le:,}")
    elif "Ge" in said:
        parts.append(f"at least {said['Ge'].ge:,}")
    elif "Le" in said:
        parts.append(f"at most {said['Le'].le:,}")
    if "MinLen" in said:
        parts.append(f"at least {said['MinLen'].min_length:,}")
    if "MaxLen" in said:
        parts.append(f"at most {said['MaxLen'].max_length:,}")
    return f" ({', '.join(parts)})" if parts else ""


def absent(field: FieldInfo) -> str:
    """What a field is when nobody gives it."""
    if field.is_required():
        return "**required**"
    if field.default_factory is not None:
        return "empty"
    if field.default is PydanticUndefined or field.default is None:
        return "nothing"
    if field.default == "":
        return "empty"
    return f"`{_json(field.default)}`"


def parts_of(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """The models inside a model, the nearest first; one that occurs twice comes twice."""
    for hint in typing.get_type_hints(model, include_extras=True).values():
        for inner in _models_in(hint):
            yield inner
            yield from parts_of(inner)


def _models_in(hint: Any) -> Iterator[type[BaseModel]]:
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        yield hint
    for argument in typing.get_args(hint):
        yield from _models_in(argument)


def cell(text: str) -> str:
    """Text that stands in one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def first_words(model: type[BaseModel]) -> str:
    """What the model's docstring says, as one paragraph; empty where it only has its parent's."""
    return " ".join((vars(model).get("__doc__") or "").split())


def types_section() -> list[str]:
    """The paragraph that explains the names of types."""
    return ["## Types", "", *(f"- **{name}**: {meaning}" for name, (_, meaning) in TYPES.items()), ""]


def _json(value: Any) -> str:
    return {True: "true", False: "false"}.get(value, str(value)) if isinstance(value, bool) else str(value)
