"""From a row as a source wrote it to a change in a scope: the entity's model checks it, and names key and scope.

Pure. What is published is the canonical form of what was understood, unknown fields included, so that the same row
written twice is no change, whatever the order of its fields.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import BaseModel, ValidationError, create_model

from shared.canonical import canonical
from shared.catalog.changes import Change
from shared.catalog.entities import ENTITIES, Entity
from shared.catalog.scopes import check_scope
from shared.errors import BadInput
from shared.protocol.problems import from_validation

ROW_MAX_BYTES = 1 << 20


def entity_named(name: str) -> Entity:
    entity = ENTITIES.get(name)
    if entity is None:
        raise BadInput(
            f'"{name}" is no entity of the catalog',
            hint=f"known are {', '.join(sorted(ENTITIES))}",
            code="unknown-entity",
        )
    return entity


@cache
def _key_model(entity: Entity) -> type[BaseModel]:
    fields = {name: entity.model.model_fields[name] for name in entity.key_fields}
    definitions: dict[str, Any] = {name: (field.annotation, field) for name, field in fields.items()}
    return create_model(f"{entity.model.__name__}Key", **definitions)


def read_key(entity: Entity, row: dict[str, Any]) -> str | None:
    """The key of a row that may be wrong otherwise, or None where even that cannot be told.

    A key is made of understood values (a quantity of "1.50" stands in it as "1.5"), so its fields alone are put
    through their model.
    """
    try:
        return entity.key(_key_model(entity).model_validate(row).model_dump(exclude_unset=True))
    except ValidationError:
        return None


def read_row(
    name: str, row: dict[str, Any], scope: str | None = None, *, deleted: bool = False
) -> tuple[str, Change]:
    """The scope and the change that a row means.

    Args:
        name: the entity.
        scope: where it goes, if not where the entity says.
        deleted: the row shall be gone; only its key fields (and those that name its scope) are looked at.
    Raises:
        BadInput: a field is missing or wrong; the message names it.
    """
    entity = entity_named(name)
    if deleted:
        key = read_key(entity, row)
        if key is None:
            raise BadInput(
                f"a deletion needs the key fields {', '.join(entity.key_fields)}", code="invalid-fields"
            )
        payload = None
    else:
        try:
            row = entity.model.model_validate(row).model_dump(exclude_unset=True)
        except ValidationError as error:
            raise from_validation(error, name) from None
        key = entity.key(row)
        payload = canonical(row)
        if len(payload) > ROW_MAX_BYTES:
            raise BadInput(
                f"{name} {key} has {len(payload)} bytes; at most {ROW_MAX_BYTES} are taken", code="too-large"
            )
    if "\0" in key:
        raise BadInput(f"the key of a {name} holds a NUL character", code="invalid-fields")
    return check_scope(scope) if scope else _own_scope(entity, row), Change(name, key, payload)


def _own_scope(entity: Entity, row: dict[str, Any]) -> str:
    try:
        return check_scope(entity.scope_of(row))
    except KeyError as error:
        raise BadInput(
            f"the field {error} says which scope the row belongs to, and it is missing", code="invalid-fields"
        ) from None
