"""From the other system's record to a row of ours, as a pull declares it: filter, mapping, codes, owned fields. Pure.

Only what the source owns is written, over what the catalog has; a value that the source has not filled in clears
nothing unless the pull says so (B8).
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Any

import orjson

from central.catalog.rows import entity_named, read_key
from central.connectors.base import Source
from central.integrations.definition import Definition, Pull
from central.mapping.compile import compile_fields
from central.mapping.conditions import Condition
from central.mapping.lookups import LookUp
from shared.canonical import sha256
from shared.catalog.entities import Entity
from shared.errors import BadInput

ITEM_FIELDS = {"product": "code", "price": "product", "balance": "product"}
"""entity -> its field that holds an item's code, which may be a local one (S1)."""
CODED = {"product": "code", "customer": "code", "price": "product", "balance": "product"}
"""entity -> its field that records without a code leave empty (S5)."""
CUSTOM = "custom"
"""The field of a chain's own fields, each of which has its own source."""
Codes = Mapping[LookUp, str]


class Shaper:
    """One pull's way from record to row, compiled.

    Raises:
        BadInput: the filter or a field is wrong; all errors are named.
    """

    def __init__(self, definition: Definition, pull: Pull, source: Source) -> None:
        self.pull = pull
        self.source = source
        self.entity: Entity | None = entity_named(pull.entity) if pull.entity else None
        fields = source.fields or None
        self._condition = Condition(pull.filter, fields) if pull.filter else None
        self._mapping = compile_fields(
            _with_local_codes(pull), maps=definition.maps, source=fields, target=None, system=definition.name
        )
        custom = pull.fields.get(CUSTOM)
        self._customs = frozenset(custom if isinstance(custom, dict) else ())
        self.owned = frozenset(pull.fields if pull.owns is None else pull.owns)
        if self.entity is not None:
            self._check_fields(self.entity)
        self.shape = shape_of(definition, pull)

    def id_of(self, record: Mapping[str, Any]) -> str:
        """How the other system calls a record."""
        found = record.get(self.source.key)
        if found is None or found == "":
            raise BadInput(f"the record has no {self.source.key}")
        return str(found)

    def wants(self, record: Mapping[str, Any]) -> bool:
        return self._condition is None or self._condition.holds(record)

    def hash_of(self, record: Mapping[str, Any]) -> bytes:
        """Of all that a row is made from: as long as it is the same, so is the row."""
        return sha256(self.shape + orjson.dumps(record, default=str, option=orjson.OPT_SORT_KEYS))[:16]

    def look_ups(self, record: Mapping[str, Any]) -> Collection[LookUp]:
        """What the cross-reference must answer before `values` is called."""
        return self._mapping.look_ups(record)

    def values(self, record: Mapping[str, Any], codes: Codes) -> dict[str, Any] | None:
        """What the source says of a row; None: it has no code, and such records are not taken.

        Raises:
            BadInput: the record cannot be mapped; the message names its fields.
        """
        values = self._mapping.apply(record, codes)
        name = CODED.get(self.pull.entity or "")
        if name and not values.get(name):
            if not self.pull.without_code:
                return None
            values[name] = self.id_of(record)
        return values

    def place(self, values: dict[str, Any]) -> tuple[str | None, str] | None:
        """Scope (None: it cannot be told) and key of a row; None where not even the key can be told."""
        assert self.entity is not None
        key = read_key(self.entity, values)
        if key is None:
            return None
        if self.pull.scope is not None:
            return self.pull.scope, key
        try:
            return self.entity.scope_of(values), key
        except KeyError:
            return None, key

    def merged(self, values: Mapping[str, Any], current: Mapping[str, Any] | None) -> dict[str, Any]:
        """The row as it shall be: what the source owns over what the catalog has; a new row gets all that is said."""
        if current is None:
            return {name: value for name, value in values.items() if not _empty(value)}
        assert self.entity is not None
        row = dict(current)
        for name in self.owned:
            value = values.get(name)
            if name == CUSTOM and isinstance(value, Mapping):
                value = self._custom(row.get(CUSTOM) or {}, value)
            if not _empty(value):
                row[name] = value
            elif self.pull.empty_clears and name in row and name not in self.entity.key_fields:
                del row[name]
        return row

    def _custom(self, before: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
        """A chain's own fields as they shall be: those of other sources stay."""
        left = {
            name: value
            for name, value in before.items()
            if not self.pull.empty_clears or name not in self._customs
        }
        return left | {name: value for name, value in told.items() if not _empty(value)}

    def _check_fields(self, entity: Entity) -> None:
        known = entity.model.model_fields
        needed = [name for name in entity.key_fields if known[name].is_required()]
        missing = [name for name in needed if name not in self.pull.fields]
        if missing:
            raise BadInput(
                f'pull "{self.pull.name}": {entity.name} needs the field {missing[0]}, and nothing is mapped to it'
            )
        for name in [*self.pull.fields, *self.owned]:
            # A field that the model does not know is a custom one; one that is nearly known is a slip.
            near = difflib.get_close_matches(name, known, 1, 0.8) if name not in known else []
            if near:
                raise BadInput(
                    f'pull "{self.pull.name}": {entity.name} has no field "{name}"',
                    hint=f'did you mean "{near[0]}"?',
                )
            if name not in self.pull.fields:
                raise BadInput(f'pull "{self.pull.name}" owns "{name}", and nothing is mapped to it')


def shape_of(definition: Definition, pull: Pull) -> bytes:
    """A hash of all that a record is turned into a row by."""
    apart = {"enabled", "every", "cron", "on", "full_every", "overlap", "page"}
    what = [
        definition.connector,
        definition.settings,
        definition.maps,
        pull.model_dump(mode="json", exclude=apart),
    ]
    return sha256(orjson.dumps(what, default=str, option=orjson.OPT_SORT_KEYS))


def _with_local_codes(pull: Pull) -> dict[str, Any]:
    """Where the records bear an outlet's own codes of items, ours are looked up in the cross-reference."""
    field = ITEM_FIELDS.get(pull.entity or "")
    spec = pull.fields.get(field or "")
    if pull.codes != "local" or field is None or not isinstance(spec, str):
        return pull.fields
    return pull.fields | {field: {"ref": "item", "value": spec, "outlet": pull.outlet}}


def _empty(value: Any) -> bool:
    return value is None or value in ("", [], {})
