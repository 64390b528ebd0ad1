"""The key of a row that is wrong otherwise: what keeps a bad row of a complete list from counting as absent.

A key is made of validated values (a quantity of "1.50" stands in it as "1.5"), so the key fields alone are put
through their model.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import BaseModel, ValidationError, create_model

from shared.catalog.entities import ENTITIES


@cache
def _key_model(entity: str) -> type[BaseModel]:
    known = ENTITIES[entity]
    fields = {name: known.model.model_fields[name] for name in known.key_fields}
    definitions: dict[str, Any] = {name: (field.annotation, field) for name, field in fields.items()}
    return create_model(f"{known.model.__name__}Key", **definitions)


def key_fields_of(entity: str, row: dict[str, Any]) -> dict[str, Any] | None:
    """The row's key fields in their normal form, or None where one is missing or wrong."""
    try:
        return _key_model(entity).model_validate(row).model_dump(exclude_unset=True)
    except ValidationError:
        return None


def key_of(entity: str, row: dict[str, Any]) -> str | None:
    """The key that the row has in the catalog, if that can be told."""
    fields = key_fields_of(entity, row)
    return None if fields is None else ENTITIES[entity].key(fields)
