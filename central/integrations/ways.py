"""What a `[[deliver]]` makes of a document, compiled: a filter, a mapping, one record or one for each part. Pure.

Invariant: the same document and codes give the same record; what it is sent as is stored before it is sent first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import orjson

from central.catalog.record_kinds import is_own
from central.connectors.base import Connector, Idempotency
from central.integrations.definition import Definition, Deliver
from central.mapping.compile import compile_fields
from central.mapping.conditions import Condition
from central.mapping.documents import document_traits
from central.mapping.errors import FieldError
from central.mapping.grouping import Split
from central.mapping.lookups import LookUp
from central.mapping.make import Mapping_
from shared.errors import BadInput

_POSITION = re.compile(r"\[\d+\]")


@dataclass(frozen=True)
class Way:
    """One `[[deliver]]`. `mapping` is None where documents go as they were sealed."""

    deliver: Deliver
    condition: Condition | None
    mapping: Mapping_ | None
    split: Split | None

    def has_effect(self, document: Mapping[str, Any]) -> bool:
        """Whether this document is for the other system at all.

        Raises:
            MappingErrors: the filter cannot be told.
        """
        if (entity := self.deliver.entity) and not _in_scope(entity, self.deliver.scope, document["payload"]):
            return False
        statuses = self.deliver.statuses
        if statuses and document["payload"].get("status") not in statuses:
            return False
        return self.condition is None or self.condition.holds(document)

    def look_ups(self, document: Mapping[str, Any]) -> set[LookUp]:
        """The codes that the records need."""
        assert self.mapping is not None
        return {asked for part in self._parts(document) for asked in self.mapping.look_ups(part)}

    def records(self, document: Mapping[str, Any], codes: Mapping[LookUp, str]) -> list[dict[str, Any]]:
        """What is sent of the document; none where it is split and has no part.

        Raises:
            MappingErrors: with every field that could not be made.
        """
        assert self.mapping is not None
        return [self.mapping.apply(part, codes) for part in self._parts(document)]

    def _parts(self, document: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        return [document] if self.split is None else self.split.parts(document)


def _in_scope(entity: str, wanted: str | None, payload: Mapping[str, Any]) -> bool:
    """Whether a row of the catalog stands where it is asked for."""
    if wanted is not None:
        return bool(payload["scope"] == wanted)
    return is_own(entity, payload["scope"], payload["row"])


def compile_ways(definition: Definition, kind: type[Connector]) -> dict[str, Way]:
    """The ways of a definition by their effects.

    Raises:
        BadInput: as `compile_way`.
    """
    return {deliver.name: compile_way(definition, deliver, kind) for deliver in definition.deliver}


def compile_way(definition: Definition, deliver: Deliver, kind: type[Connector]) -> Way:
    """One way of a definition.

    Raises:
        BadInput: a filter, a split or a mapping is wrong, or this centre or the connector cannot do what is asked.
    """
    if deliver.group is not None and deliver.target is None:
        raise BadInput(
            "a group is a record of its own", hint="name its `target` and what its `fields` are made of"
        )
    if deliver.group is not None and not kind.idempotency.probes:
        raise BadInput(
            f"{kind.title} cannot be asked what it has, so documents cannot be sent in groups",
            hint="after a restore of the centre nobody could tell which documents a group over there holds",
        )
    if deliver.split and kind.idempotency is Idempotency.AT_LEAST_ONCE:
        raise BadInput(f"{kind.title} cannot be asked what it has, so a document cannot be sent in parts")
    source = document_traits(
        deliver.document_kinds,
        effects=[one.name for one in definition.deliver],
        grouped=deliver.group is not None,
        split=deliver.split or "",
    )
    mapping = None
    if deliver.target is not None:
        declared = kind.targets.get(deliver.target)
        mapping = compile_fields(
            deliver.fields,
            maps=definition.maps,
            source=source,
            target=(declared.fields or None) if declared else None,
            system=definition.name,
        )
    return Way(
        deliver,
        Condition(deliver.filter, source) if deliver.filter else None,
        mapping,
        Split(deliver.split, source) if deliver.split else None,
    )


def reason_of(errors: Collection[FieldError]) -> str:
    """The root cause that a record shares with others: without positions, each only once."""
    told = sorted({_POSITION.sub("[]", str(error)) for error in errors})
    return "; ".join(told)[:200]


# ---- records as they are kept: exact, and the same when they are read again ----


def written_down(records: list[dict[str, Any]]) -> str:
    return orjson.dumps(records, default=_exact).decode()


def read_back(text: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(text, parse_float=Decimal)
    return found


def _exact(value: Any) -> orjson.Fragment:
    if not isinstance(value, Decimal):
        raise TypeError(f"{type(value).__name__} has no form in a record")
    digits = format(value, "f")
    # With a point, so that it is read as a Decimal again and not as a whole number.
    return orjson.Fragment(digits if "." in digits else f"{digits}.0")
