"""Rows of the catalog that other systems shall get become documents of the centre's own desk, as they change.

From there everything is as with a sale: applied, delivered, repaired, found in lists. What goes out is the newest row:
changes between two looks count once. Invariants: the position is stored after the documents that it covers; going
through the same rows again says nothing new, so a death in between, or two nodes at once, does no harm.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from central.catalog.record_kinds import OWN_DESK, CatalogRecord, Change, families, is_own, record_kind
from central.db import catalog, feed, leases
from central.db import catalog_records as rows
from central.db.catalog import ScopeState
from central.db.database import Database
from central.intake.duplicates import Policy
from central.intake.foreign import TAKEN_TOGETHER_MAX, ForeignDocuments
from central.intake.submitted import Request, Submitted
from central.integrations.registry import Integrations
from shared.canonical import canonical, parse_object, sha256
from shared.clock import Clock
from shared.errors import CounterflowError
from shared.faultpoints import reach

LOOK_S = 1.0
LEASE_S = 60.0
NUMBER_MAX = 100
_POLICY = Policy(duplicate="update", key=["scope", "key"])
logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Position:
    """How far an entity is said: scope -> generation, seq, and whether what is gone has yet to be looked for."""

    scopes: dict[str, tuple[str, int, bool]] = field(default_factory=dict)
    named: list[str] = field(default_factory=list)

    def of(self, state: ScopeState) -> tuple[int, bool]:
        """The seq to go on from, and whether rows may be gone that no change tells of."""
        gen, seq, is_whole = self.scopes.get(state.scope, ("", 0, True))
        if gen != state.gen.hex() or seq > state.head:
            return 0, True
        return seq, is_whole or 0 < seq < state.floor

    def is_at(self, state: ScopeState) -> bool:
        return self.scopes.get(state.scope) == (state.gen.hex(), state.head, False)

    def cover(self, named: Collection[str]) -> None:
        """Scopes that are asked for by name from now on are gone through from their beginning."""
        for scope in set(named) - set(self.named):
            self.scopes.pop(scope, None)
        self.named = sorted(named)

    def written(self) -> str:
        return json.dumps({"scopes": self.scopes, "named": self.named})


def read_position(text: str | None) -> Position:
    if text is None:
        return Position()
    found = json.loads(text)
    return Position({scope: (at[0], at[1], at[2]) for scope, at in found["scopes"].items()}, found["named"])


class CatalogRecords:
    """Follows the entities that an integration delivers."""

    def __init__(
        self,
        database: Database,
        integrations: Integrations,
        door: ForeignDocuments,
        clock: Clock,
        *,
        node: str,
    ) -> None:
        self._database = database
        self._integrations = integrations
        self._door = door
        self._clock = clock
        self._node = "the only one" if database.is_sqlite else node

    async def run(self) -> None:
        """Say what changed, for ever; errors are told and waited out."""
        while True:
            for entity, named in self.wanted().items():
                try:
                    while await self.step(entity, named):
                        pass
                except Exception:
                    logger.exception("catalog_not_followed", extra={"entity": entity})
            await self._clock.sleep(LOOK_S)

    def wanted(self) -> dict[str, set[str]]:
        """Entity -> scopes that are asked for by name, of all that is delivered."""
        found: dict[str, set[str]] = {}
        for one in self._integrations.enabled():
            for deliver in one.definition.deliver:
                if deliver.enabled and deliver.entity:
                    found.setdefault(deliver.entity, set()).update({deliver.scope} if deliver.scope else ())
        return found

    async def step(self, entity: str, named: Collection[str]) -> bool:
        """Make documents of some rows that changed; whether there was anything to do."""
        async with self._database.read() as connection:
            position = read_position(await rows.position(connection, entity))
            position.cover(named)
            found = await rows.states(connection, families(entity), named)
        state = next((one for one in found if not position.is_at(one)), None)
        if state is None:
            return False
        if not await leases.take(self._database, f"catalog/{entity}", self._node, LEASE_S):
            return False
        async with self._database.read() as connection:
            # Read again under the lease: another node may have gone on meanwhile.
            position = read_position(await rows.position(connection, entity))
            position.cover(named)
            said, reached = await self._changes(connection, entity, state, position, named)
        refused = await self._say(said)
        reach("catalog_records.before_position")
        position.scopes[state.scope] = reached

        async def keep(connection: AsyncConnection) -> None:
            await rows.keep_position(self._database, connection, entity, position.written())

        await self._database.run(keep)
        if refused:
            logger.warning("catalog_rows_not_said", extra={"entity": entity, "why": refused[:10]})
        return True

    async def _changes(
        self,
        connection: AsyncConnection,
        entity: str,
        state: ScopeState,
        position: Position,
        named: Collection[str],
    ) -> tuple[list[CatalogRecord], tuple[str, int, bool]]:
        """What is to be said of a scope, and the place that is reached with it."""
        after, is_whole = position.of(state)
        changed = await feed.changed(connection, state.scope_no, entity, after, TAKEN_TOGETHER_MAX)
        gone: list[str] = []
        gen = state.gen.hex()
        if len(changed) == TAKEN_TOGETHER_MAX:
            reached = gen, changed[-1][0], is_whole
        else:
            reached = gen, state.head, False
            if is_whole:
                gone = await self._gone(connection, entity, state)
                if len(gone) + len(changed) > TAKEN_TOGETHER_MAX:
                    gone, reached = gone[: TAKEN_TOGETHER_MAX - len(changed)], (gen, state.head, True)
        keys = [key for _, key in changed] + gone
        kind, number = record_kind(entity), state.scope_no
        before = await rows.said(self._database, connection, kind, state.scope, keys)
        live = await catalog.live_payloads(self._database, connection, number, entity, keys)
        is_named = state.scope in named
        records = (
            record_of(entity, state.scope, key, _object(live.get(key)), _object(before.get(key)), is_named)
            for key in dict.fromkeys(keys)
        )
        return [record for record in records if record is not None], reached

    async def _gone(self, connection: AsyncConnection, entity: str, state: ScopeState) -> list[str]:
        """Rows that were said and are not there any more, whatever became of their tombstones."""
        said = await rows.said_keys(connection, record_kind(entity), state.scope)
        live = await catalog.live_versions(self._database, connection, state.scope_no, entity)
        dead = sorted(said - live.keys())
        known = await rows.said(self._database, connection, record_kind(entity), state.scope, dead)
        return [key for key in dead if (_object(known.get(key)) or {}).get("change") != "deleted"]

    async def _say(self, records: Sequence[CatalogRecord]) -> list[str]:
        """Hand them in together; returns why some were refused."""
        if not records:
            return []
        answers = await self._door.take_all([request_of(record) for record in records])
        return [str(answer) for answer in answers if isinstance(answer, CounterflowError)]


def record_of(
    entity: str,
    scope: str,
    key: str,
    row: dict[str, Any] | None,
    before: Mapping[str, Any] | None,
    is_named: bool,
) -> CatalogRecord | None:
    """What is to be said of a row, if anything. Pure.

    Args:
        row: as it is now; None: it is not there.
        before: the payload of the newest document about it.
        is_named: the scope is asked for by name, so that also rows which override others go out.
    """
    was_there = before is not None and before["change"] != "deleted"
    change: Change
    if row is not None and (is_named or is_own(entity, scope, row)):
        if was_there and before is not None and before["row"] == row:
            return None
        change = "changed" if was_there else "new"
        return CatalogRecord(entity=entity, scope=scope, key=key, change=change, row=row)
    if before is None or not was_there:
        return None
    return CatalogRecord(entity=entity, scope=scope, key=key, change="deleted", row=before["row"])


def request_of(record: CatalogRecord) -> Request:
    """The document that says it. Its number is the row's key, or a part of it and a hash where that is too long."""
    number = record.key
    if not 0 < len(number) <= NUMBER_MAX:
        number = f"{number[:60]}~{sha256(canonical(number)).hex()[:32]}"
    submitted = Submitted(kind=record_kind(record.entity), number=number, payload=record.model_dump())
    return Request(OWN_DESK, "", submitted, policy=_POLICY)


def _object(payload: bytes | None) -> dict[str, Any] | None:
    return None if payload is None else parse_object(payload)
