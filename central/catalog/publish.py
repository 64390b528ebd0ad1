"""Publishing: what a source says becomes the next seqs of a scope's log, in one transaction.

The scopes' rows are locked in sorted order, only what really changed is written (`shared.catalog.changes`), and head,
count and digest move with it. Invariants: seqs rise in commit order (I11); a publication that changes nothing writes
nothing; the cost does not depend on how many stations there are (I15).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncConnection

from central.db import catalog
from central.db.catalog import ScopeState
from central.db.database import Database
from shared.canonical import canonical, parse_object
from shared.catalog.changes import Change, Differences, RowChange, differences
from shared.catalog.entities import ENTITIES
from shared.catalog.scopes import check_scope
from shared.clock import from_rfc3339, rfc3339
from shared.digest import Digest
from shared.faultpoints import reach

GEN_BYTES = 16
IN_A_THREAD_FROM = 2_000  # rows: hashing more of them would keep the event loop from other stations

Absence = Literal["keep", "delete", "zero", "ended"]
Listener = Callable[[Collection[str]], None]
Note = Callable[[AsyncConnection, ScopeState, Sequence[RowChange]], Awaitable[None]]
"""Told of what a scope is about to get, in the publication's own transaction and before it is written."""


@dataclass(frozen=True, slots=True)
class Complete:
    """A list was complete for one entity in one scope: what the scope has beyond *keys* is absent.

    `absence` is what that means; the entity's own rule when None.
    """

    scope: str
    entity: str
    keys: Collection[str]
    absence: Absence | None = None


@dataclass(frozen=True, slots=True)
class PublishResult:
    """The seqs that a scope got; `seq_from` is above `seq_to` when nothing had changed.

    `absent` rows were missing in a list that is complete, and were treated by its rule.
    """

    seq_from: int
    seq_to: int
    written: int
    absent: int = 0


Rows = dict[tuple[str, str], bytes | None]
"""(entity, key) -> payload, None to delete."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What to write into a scope that stands at `head`. Heads never go back, so the same head means the same rows."""

    head: int
    found: Differences
    absent: int


class Publisher:
    """The one way into the catalog."""

    def __init__(
        self, database: Database, *, random_bytes: Callable[[int], bytes] = secrets.token_bytes
    ) -> None:
        self._database = database
        self._random_bytes = random_bytes
        self.listeners: list[Listener] = []  # told which scopes moved, after the commit

    async def publish(
        self,
        changes: Mapping[str, Iterable[Change]],
        complete: Sequence[Complete] = (),
        *,
        note: Note | None = None,
    ) -> dict[str, PublishResult]:
        """Publish into all the named scopes at once, or into none of them.

        Args:
            changes: scope -> rows as they shall be; of several for one key the last counts.
            complete: lists that end with this publication.
            note: told of every scope's changes before they are written.
        """
        wanted: dict[str, Rows] = {}
        for scope, rows in changes.items():
            wanted[check_scope(scope)] = {(row.entity, row.key): row.payload for row in rows}
        for ended in complete:
            wanted.setdefault(check_scope(ended.scope), {})
        # A large list is compared before the scopes are locked: intake waits for no hashing.
        large = sum(map(len, wanted.values())) >= IN_A_THREAD_FROM
        prepared = await self._prepare(wanted, complete) if large else {}

        async def work(connection: AsyncConnection) -> dict[str, PublishResult]:
            states = await catalog.lock_scopes(self._database, connection, wanted, self._new_gen)
            now_ms = await self._database.now_ms(connection)
            results = {}
            for scope, state in states.items():
                plan = prepared.get(scope)
                if plan is None or plan.head != state.head:  # somebody published in between
                    plan = await self._plan(connection, state, wanted[scope], complete, now_ms)
                if note is not None and plan.found.rows:
                    await note(connection, state, plan.found.rows)
                results[scope] = await self._write(connection, state, plan, now_ms)
            reach("publish.before_commit")
            return results

        results = await self._database.run(work)
        self._tell([scope for scope, result in results.items() if result.written])
        return results

    async def new_gens(self, scopes: Collection[str] | None = None) -> None:
        """Draw a new generation for the scopes (all of them after a restore): stations take them anew."""

        async def work(connection: AsyncConnection) -> list[str]:
            names = list(scopes) if scopes is not None else await catalog.scope_names(connection)
            states = await catalog.lock_scopes(self._database, connection, names, self._new_gen)
            for state in states.values():
                await catalog.renew_gen(connection, state, self._new_gen())
            return names

        self._tell(await self._database.run(work))

    async def _prepare(self, wanted: Mapping[str, Rows], complete: Sequence[Complete]) -> dict[str, _Plan]:
        """Plan all scopes as they stand now; a plan holds for as long as its scope's head does not move."""
        async with self._database.read() as connection:
            now_ms = await self._database.now_ms(connection)
            plans = {}
            for scope, rows in wanted.items():
                state = await catalog.find_scope(connection, scope)
                plans[scope] = await self._plan(connection, state or _unborn(scope), rows, complete, now_ms)
            return plans

    async def _plan(
        self,
        connection: AsyncConnection,
        state: ScopeState,
        rows: Rows,
        complete: Sequence[Complete],
        now_ms: int,
    ) -> _Plan:
        """What of *rows*, and of the rows that complete lists lack, is a change in this scope."""
        absent: Rows = {}
        for ended in complete:
            if ended.scope == state.scope:
                absent |= await self._absent(connection, state, ended, now_ms)
        return _Plan(state.head, await self._differences(connection, state, absent | rows), len(absent))

    async def _absent(
        self, connection: AsyncConnection, state: ScopeState, ended: Complete, now_ms: int
    ) -> Rows:
        """What becomes of the rows that a complete list did not have."""
        rule = ended.absence or ENTITIES[ended.entity].absence
        if rule == "keep":
            return {}
        live = await catalog.live_versions(self._database, connection, state.scope_no, ended.entity)
        missing = sorted(live.keys() - set(ended.keys))
        if rule == "delete":
            return {(ended.entity, key): None for key in missing}
        payloads = await catalog.live_payloads(
            self._database, connection, state.scope_no, ended.entity, missing
        )
        end = without_stock if rule == "zero" else ended_at(now_ms)
        return {(ended.entity, key): end(payload) for key, payload in payloads.items()}

    async def _differences(self, connection: AsyncConnection, state: ScopeState, rows: Rows) -> Differences:
        # In key order: the station's tables and ours then grow at their ends.
        keys: dict[str, list[str]] = {}
        for entity, key in sorted(rows):
            keys.setdefault(entity, []).append(key)
        current: dict[tuple[str, str], bytes | None] = {}
        for entity, wanted in keys.items():
            live = await catalog.live_versions(self._database, connection, state.scope_no, entity, wanted)
            current |= {(entity, key): version for key, version in live.items()}
        ordered = {(entity, key): rows[entity, key] for entity, wanted in keys.items() for key in wanted}
        if len(ordered) < IN_A_THREAD_FROM:
            return differences(ordered, current)
        return await asyncio.to_thread(differences, ordered, current)

    async def _write(
        self, connection: AsyncConnection, state: ScopeState, plan: _Plan, now_ms: int
    ) -> PublishResult:
        """Write a plan's changes, and move the scope's head and digest with them."""
        found = plan.found
        if not found.rows:
            return PublishResult(state.head + 1, state.head, 0, plan.absent)
        head = state.head + len(found.rows)
        await catalog.write_rows(self._database, connection, state.scope_no, state.head + 1, found.rows)
        await catalog.move_head(connection, state, head, state.digest.shift(found.count, found.total))
        await catalog.note_publication(connection, state.scope_no, head, now_ms, len(found.rows))
        return PublishResult(state.head + 1, head, len(found.rows), plan.absent)

    def _new_gen(self) -> bytes:
        return self._random_bytes(GEN_BYTES)

    def _tell(self, scopes: Collection[str]) -> None:
        if scopes:
            for listener in self.listeners:
                listener(scopes)


def _unborn(scope: str) -> ScopeState:
    """A scope into which nothing was ever published."""
    return ScopeState(0, scope, b"", 0, Digest(), 0)


def without_stock(payload: bytes) -> bytes:
    """A balance that is in no list any more: nothing is left of it."""
    return canonical(parse_object(payload) | {"quantity": "0"})


def ended_at(now_ms: int) -> Callable[[bytes], bytes]:
    """How a promotion ends that is in no list any more: now, unless it has ended before."""

    def end(payload: bytes) -> bytes:
        row = parse_object(payload)
        until = row.get("valid_until")
        if until and from_rfc3339(until) <= now_ms:
            return payload
        return canonical(row | {"valid_until": rfc3339(now_ms)})

    return end
