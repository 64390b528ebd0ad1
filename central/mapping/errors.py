"""What can be wrong with a record, field by field, in words that a person can act on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shared.errors import BadInput

ERRORS_MAX = 100
"""Of one record or one definition; the rest is counted only by being left out."""
_SHOWN_MAX = 80


@dataclass(frozen=True, slots=True)
class FieldError:
    """`field` is the target's field, e.g. `lines[3].product`; `value` is what could not be used."""

    field: str
    what: str
    value: Any = None

    def __str__(self) -> str:
        return f"{self.field}: {self.what}" if self.field else self.what


class MappingErrors(BadInput):
    """A record that cannot be mapped; all its errors at once, so that it is repaired in one go."""

    code = "unmapped-record"

    def __init__(self, errors: Sequence[FieldError]) -> None:
        self.errors = tuple(errors)
        super().__init__(
            "; ".join(str(error) for error in errors[:5]) + ("; …" if len(errors) > 5 else ""),
            errors=[
                {"field": error.field, "what": error.what, "value": shown(error.value)}
                for error in self.errors
            ],
        )


class Fault(Exception):
    """Why one field cannot be made; the table that it stands in turns this into a `FieldError`."""

    def __init__(self, what: str, value: Any = None) -> None:
        super().__init__(what)
        self.what = what
        self.value = value


class TooMuch(Exception):
    """The record is more work than one record may be; nothing of it is mapped. `field` grows on the way out."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what
        self.field = ""

    def under(self, name: str) -> None:
        self.field = joined(name, self.field)


def joined(name: str, rest: str) -> str:
    """A field's name with what it stands in: `lines` and `[3].product`, `buyer` and `code`."""
    if not rest:
        return name
    return name + rest if rest.startswith("[") else f"{name}.{rest}"


def shown(value: Any) -> str:
    """A value as an error shows it: cut, since a record may hold anything."""
    if isinstance(value, str):
        return value if len(value) <= _SHOWN_MAX else value[:_SHOWN_MAX] + "…"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return f"a table of {len(value)} fields"
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 256:
        return f"a whole number of {value.bit_length()} bits"
    text = str(value)
    return text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "…"
