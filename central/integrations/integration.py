"""An integration as the rest of the centre sees it: its definition as it holds now, and how it fares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from central.connectors.base import Finding
from central.db.database import AnyRow
from central.integrations.definition import Definition


@dataclass(frozen=True)
class Integration:
    """One connected system, by the version of its definition that holds."""

    integration_no: int
    name: str
    version: int
    definition: Definition
    enabled: bool
    from_ms: int
    paused_until_ms: int
    problem: str | None
    checked_ms: int | None = None
    findings: tuple[Finding, ...] = ()
    trigger_hash: bytes | None = None

    @property
    def connector(self) -> str:
        return self.definition.connector

    @property
    def settings(self) -> dict[str, Any]:
        return self.definition.settings

    @property
    def kinds(self) -> tuple[str, ...]:
        """The documents that it gets, none for one that only brings something in."""
        return tuple(dict.fromkeys(kind for kinds in self.effects().values() for kind in kinds))

    def effects(self) -> Mapping[str, Sequence[str]]:
        """effect -> the kinds of document that have it; of what is on."""
        return {one.name: tuple(one.document_kinds) for one in self.definition.deliver if one.enabled}

    def since_ms(self, effect: str) -> int:
        """From when on documents have this effect; of the catalog all that there is goes out."""
        is_catalog = any(one.entity for one in self.definition.deliver if one.name == effect)
        return 0 if is_catalog else self.from_ms

    def first_state(self, effect: str) -> str:
        """The state in which a delivery of this effect begins."""
        gathers = any(one.gathers for one in self.definition.deliver if one.name == effect)
        return "gathering" if gathers else "ready"


def from_row(row: AnyRow) -> Integration:
    return Integration(
        row.integration_no,
        row.name,
        row.version,
        Definition.model_validate_json(row.definition),
        row.enabled,
        row.from_ms,
        row.paused_until_ms,
        row.problem,
        row.checked_ms,
        tuple(Finding(**one) for one in orjson.loads(row.findings or "[]")),
        row.trigger_hash,
    )
