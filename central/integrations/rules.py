"""What a `[[match]]` says, compiled: who or what a code of ours is, and what its record over there is made of. Pure.

A row that is mapped always has `code`, also where no entity of the catalog tells more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from central.codes.desk import Fields
from central.codes.parties import Party
from central.connectors.base import Connector, Trait
from central.integrations.definition import Definition, Matching
from central.mapping.compile import compile_fields
from central.mapping.lookups import LookUp
from central.mapping.make import Mapping_
from central.mapping.names import traits_of
from shared.catalog.entities import ENTITIES
from shared.errors import BadInput

DICTIONARY = "dictionary"
"""The entity whose rows are entries of many lists; a `[[match]]` means the list that is called like its kind."""


@dataclass(frozen=True)
class Rule:
    """One `[[match]]`. `value` makes only the field by which a reference value is found."""

    matching: Matching
    value: Mapping_
    record: Mapping_

    @property
    def fields(self) -> Fields:
        """Of a party's target."""
        one = self.matching
        assert one.tax_id is not None
        return Fields(one.target, one.tax_id, one.branch, one.origin)

    def key(self, code: str) -> str:
        """Of the entity's row."""
        entity = ENTITIES[self.matching.entity or ""]
        return entity.key({"dictionary": self.matching.kind, "code": code})

    def value_of(self, row: Mapping[str, Any], codes: Mapping[LookUp, str]) -> str:
        """What a reference value is found by.

        Raises:
            BadInput: the row does not say.
        """
        assert self.matching.field is not None
        made = self.value.apply(row, codes).get(self.matching.field)
        if made is None or made == "":
            raise BadInput(f"{self.matching.kind} {row['code']} has nothing that it could be found by")
        return str(made)


def party_of(code: str, row: Mapping[str, Any]) -> Party:
    """Whom a row of the catalog tells of."""
    told = {name: str(row.get(name) or "") for name in ("tax_id", "tax_branch", "country", "name")}
    return Party(code, told["tax_id"], told["tax_branch"], told["country"], told["name"])


def compile_rules(definition: Definition, kind: type[Connector]) -> dict[str, Rule]:
    """The `[[match]]`es of a definition by their kinds.

    Raises:
        BadInput: as `compile_rule`.
    """
    return {one.kind: compile_rule(definition, one, kind) for one in definition.match}


def compile_rule(definition: Definition, matching: Matching, kind: type[Connector]) -> Rule:
    """One `[[match]]`.

    Raises:
        BadInput: the entity has no rows of codes, or a field is wrong; all errors are named.
    """
    entity = ENTITIES.get(matching.entity) if matching.entity is not None else None
    if matching.entity is not None and (entity is None or entity.key_fields not in _CODED):
        known = ", ".join(name for name, one in ENTITIES.items() if one.key_fields in _CODED)
        raise BadInput(
            f'"{matching.entity}" is no entity of the catalog that has a row for each code',
            hint=f"such are {known}",
            code="invalid-fields",
        )
    if matching.kind == "party" and entity is not None and "tax_id" not in entity.model.model_fields:
        raise BadInput(
            f"rows of {entity.name} bear no tax id", hint="parties are customers", code="invalid-fields"
        )
    declared = kind.targets.get(matching.target)

    def compiled(fields: Mapping[str, Any], target: Mapping[str, Trait] | None) -> Mapping_:
        return compile_fields(
            fields,
            maps=definition.maps,
            source=traits_of(entity.model) if entity else {"code": Trait(required=True)},
            target=target,
            system=definition.name,
        )

    found_by = {matching.field: matching.fields.get(matching.field, "{{code}}")} if matching.field else {}
    fields = matching.fields or found_by
    return Rule(
        matching,
        compiled(found_by, None),
        compiled(fields, (declared.fields or None) if declared and matching.create else None),
    )


_CODED = (("code",), ("dictionary", "code"))
