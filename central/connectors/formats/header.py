"""What a dropped list says of itself, and what contradicts itself in that."""

from __future__ import annotations

import re
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from central.connectors.base import ListAbout
from central.connectors.formats.dialect import Dialect, Form
from shared.catalog.entities import ENTITIES
from shared.catalog.scopes import check_scope
from shared.errors import BadInput
from shared.protocol.problems import from_validation

_WORD = re.compile(r'(\w+)=("[^"]*"|\S+)')


_OF_THE_DIALECT = {"delimiter", "encoding", "decimal", "sheet", "record"}


class ListHeader(BaseModel):
    """What stands in a list's first line. What follows `allow_empty` says how the file is written."""

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
    sheet: str | None = None
    record: str = "row"

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
        try:
            self.dialect("csv")
        except ValidationError as error:
            raise from_validation(error, where) from None
        return self

    def dialect(self, form: Form) -> Dialect:
        return Dialect(form=form, **self.model_dump(include=_OF_THE_DIALECT))

    def about(self) -> ListAbout:
        return ListAbout(self.entity, self.scope, self.mode, self.on_error, self.absence, self.allow_empty)


def from_fields(fields: Any, where: str) -> ListHeader:
    if not isinstance(fields, dict):
        raise BadInput(f"{where}: what describes the list must be an object")
    try:
        return ListHeader.model_validate(fields).checked(where)
    except ValidationError as error:
        raise from_validation(error, where) from None


def from_line(first: str, where: str) -> ListHeader | None:
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
