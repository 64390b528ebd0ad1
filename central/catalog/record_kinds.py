"""Rows of the catalog as documents: what HQ changed, in the form in which it goes out to other systems. Pure.

Each entity has a kind of its own (`customer_record`), so that integrations ask for what they want as they do for sales.
Only the centre makes them: no till and no foreign system can hand one in.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from shared.catalog.entities import ENTITIES

_SUFFIX = "_record"
OWN_DESK = "@catalog"
"""Whose documents these are: a desk of the centre's own. No source and no station can have its code, for its "@"."""
Change = Literal["new", "changed", "deleted"]


class CatalogRecord(BaseModel):
    """The payload. `row` is the newest one; of a deleted row it is what it was before."""

    entity: str
    scope: str
    key: str
    change: Change
    row: dict[str, Any]


def record_kind(entity: str) -> str:
    """The kind of document that rows of an entity become."""
    return entity + _SUFFIX


RECORD_KINDS: dict[str, str] = {record_kind(entity): entity for entity in ENTITIES}
"""kind -> entity"""


def is_own(entity: str, scope: str, row: dict[str, Any]) -> bool:
    """Whether a row stands in the scope that its entity has by itself, and overrides nothing there."""
    try:
        return ENTITIES[entity].scope_of(row) == scope
    except KeyError:
        return False


def families(entity: str) -> list[str]:
    """The scopes in which rows of an entity stand by themselves: a name, or what names begin with (`pricelist/`)."""
    found = set()
    for row in ({}, {"price_list": "", "store": ""}):
        try:
            found.add(ENTITIES[entity].scope_of(dict.fromkeys(row, "*")))
        except KeyError:
            continue
    return sorted(scope.removesuffix("*") for scope in found)
