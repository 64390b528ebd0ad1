"""What a dropped list says of itself, and what contradicts itself in that."""

from __future__ import annotations

import re
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from central.connectors.base import ListAbout
from shared.catalog.entities import ENTITIES
from shared.catalog.scopes import check_scope
from shared.errors import BadInput
from shared.protocol.problems import from_validation

_WORD = re.compile(r'(\w+)=("[^"]*"|\S+)')


class ListHeader(BaseModel):
    """What stands in a list's first line. `delimiter`, `encoding`, `decimal` and `currency` are for CSV."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    entity: str
    scope: str | None = None
    mode: Literal["changes", "complete"] = "changes"
    on_error: Literal["skip", "stop"] = "skip"
    absence: Literal["keep", "delete", "zero", "ended"] | None = None
    allow_empty: bool = False
    delimiter: str = ","
    encoding: str = "utf-8"
    decimal: Literal[".", ","] = "."
    currency: str | None = None

    def checked(self, where: str) -> ListHeader:
        """Itself, or `BadInput` with what contradicts itself in it."""
        if self.entity not in ENTITIES:
            raise BadInput(
                f'{where}: "{self.entity}" is no entity of the catalog',
                hint=f"known are {', '.join(sorted(ENTITIES))}",
            )
        if self.scope is not None:
            check_scope(self.scope)
        elif self.mode == "complete":
            raise BadInput(
                f"{where}: a complete list must say for which scope",
                hint="add scope=base, scope=pricelist/P, scope=store/S …",
            )
        fields = ENTITIES[self.entity].model.model_fields
        needed = {"zero": "quantity", "ended": "valid_until"}.get(self.absence or "")
        if needed and needed not in fields:
            raise BadInput(f"{where}: absence={self.absence} is not for {self.entity}, which has no {needed}")
        if len(self.delimiter) != 1 and self.delimiter != r"\t":
            raise BadInput(f'{where}: delimiter "{self.delimiter}" must be one character (or \\t)')
        try:
            wide = len("\n".encode(self.encoding)) != 1
        except (LookupError, UnicodeError):
            wide = True
        if wide:
            raise BadInput(
                f'{where}: encoding "{self.encoding}" is not known, or has more than one byte for a line feed',
                hint="save the file as UTF-8",
            )
        return self

    def about(self) -> ListAbout:
        return ListAbout(self.entity, self.scope, self.mode, self.on_error, self.absence, self.allow_empty)


def from_fields(fields: Any, where: str) -> ListHeader:
    if not isinstance(fields, dict):
        raise BadInput(f"{where}: what describes the list must be an object")
    try:
        return ListHeader.model_validate(fields).checked(where)
    except ValidationError as error:
        raise from_validation(error, where) from None


def from_csv_line(first: str, where: str) -> ListHeader | None:
    marker, _, words = first.partition(" ")
    if marker != "#counterflow":
        return None
    rest = _WORD.sub("", words).strip()
    if rest:
        raise BadInput(f'{where}, line 1: "{rest}" is not of the form name=value')
    return from_fields({name: value.strip('"') for name, value in _WORD.findall(words)}, f"{where}, line 1")


def from_ndjson_line(first: str, where: str) -> ListHeader | None:
    try:
        value = orjson.loads(first)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(value, dict) or "counterflow" not in value:
        return None
    return from_fields(value["counterflow"], f"{where}, line 1")
