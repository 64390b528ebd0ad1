"""The feed: the same catalog for any HTTP client, without an agent.

A consumer belongs to a store and groups as a station does. It asks for an entity after an opaque cursor and gets the
rows as they are for it now, the strongest scope's row where several hold one key, or an empty list. It keeps the
cursor itself or confirms it here. Invariant: a cursor that cannot be continued never loses a row: the feed starts
again from nothing and says so (`reset`).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncConnection

from central.catalog.rows import entity_named
from central.db import catalog, station_scopes
from central.db import feed as db
from central.db.catalog import ScopeState
from central.db.database import Database
from shared.canonical import canonical, parse
from shared.catalog.scopes import Membership, scopes_of
from shared.errors import BadInput, NotFound

LIMIT_MAX = 5_000
PAGE_MAX_BYTES = 4 << 20
"""Of payloads in one page; one row is always taken."""
START = "start"
"""In place of a cursor: from nothing, whatever the centre has kept."""


class FeedItem(BaseModel):
    """A row as it is for the consumer now. `data` is absent when it is deleted."""

    key: str
    deleted: bool
    version: str | None = Field(None, description="changes exactly when data does")
    scope: str | None = Field(None, description="the scope that it comes from")
    data: dict[str, Any] | None = None


class FeedPage(BaseModel):
    """`reset`: forget what you have of this entity, the list begins anew. `more`: ask again at once."""

    entity: str
    items: list[FeedItem]
    cursor: str
    more: bool
    reset: bool


class Rejected(BaseModel):
    """A row that the consumer could not take."""

    key: str = Field(max_length=1_000)
    reason: str = Field(max_length=1_000)


class Confirm(BaseModel):
    """What a consumer applied."""

    consumer: str | None = Field(None, max_length=100)
    cursor: str = Field(max_length=100_000)
    rejected: list[Rejected] = Field(default_factory=list, max_length=1_000)


class Confirmed(BaseModel):
    entity: str
    consumer: str
    confirmed_ms: int


Position = dict[str, tuple[str, int]]
"""Scope -> (gen, seq): everything up to there was handed out."""


@dataclass(frozen=True, slots=True)
class _Step:
    """A key that changed, and where the consumer stands once it has it."""

    scope: str
    seq: int
    key: str
    first: bool  # nothing of this scope was handed out before: what is deleted there is no news


class Feed:
    """Answers consumers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, consumer: str, entity: str, cursor: str | None, limit: int) -> dict[str, Any]:
        """The next rows of an entity, as the body of a `FeedPage`.

        Args:
            cursor: from the page before, `start`, or None for the one that the consumer confirmed last.
        Raises:
            NotFound: there is no such consumer.
            BadInput: no such entity, or a cursor that is not ours.
        """
        entity_named(entity)
        async with self._database.read() as connection:
            names = await self._scopes(connection, consumer)
            if cursor is None:
                cursor = await db.kept_cursor(connection, consumer, entity)
            position = read_cursor(cursor, entity) if cursor and cursor != START else {}
            offers = await station_scopes.scope_offers(self._database, connection, names)
            states = [offers[name][0] for name in names if name in offers]
            reset = not continues(position, states)
            if reset:
                position = {}
            steps, reached, more = await self._steps(connection, entity, states, position, limit)
            items, taken = await self._items(connection, entity, states, steps)
        if taken < len(steps):
            # Cut short by bytes: the consumer stands behind the last row that it got.
            reached, more = position_after(position, steps[:taken], states), True
        return {
            "entity": entity,
            "items": items,
            "cursor": write_cursor(entity, reached),
            "more": more,
            "reset": reset,
        }

    async def confirm(self, consumer: str, entity: str, confirmed: Confirm) -> Confirmed:
        """Keep a consumer's cursor, and what it rejected."""
        entity_named(entity)
        read_cursor(confirmed.cursor, entity)
        rejected = canonical([one.model_dump() for one in confirmed.rejected]).decode()

        async def work(connection: AsyncConnection) -> Confirmed:
            await self._scopes(connection, consumer)
            at_ms = await self._database.now_ms(connection)
            await db.keep_cursor(
                self._database, connection, consumer, entity, confirmed.cursor, rejected, at_ms
            )
            return Confirmed(entity=entity, consumer=consumer, confirmed_ms=at_ms)

        return await self._database.run(work)

    async def _scopes(self, connection: AsyncConnection, consumer: str) -> list[str]:
        member = await db.consumer(connection, consumer)
        if member is None:
            raise NotFound(
                f'there is no consumer "{consumer}"',
                hint="counterflow-central consumers add",
                code="unknown-consumer",
            )
        return consumer_scopes(member)

    async def _steps(
        self,
        connection: AsyncConnection,
        entity: str,
        states: Sequence[ScopeState],
        position: Position,
        limit: int,
    ) -> tuple[list[_Step], Position, bool]:
        """What changed after a position, scope by scope, up to *limit* rows; and the position behind it."""
        steps: list[_Step] = []
        reached = dict(position)
        for state in states:
            room = limit - len(steps)
            if room <= 0:
                return steps, reached, True
            after = position[state.scope][1] if state.scope in position else 0
            found = await db.changed(connection, state.scope_no, entity, after, room + 1)
            steps += [_Step(state.scope, seq, key, first=after == 0) for seq, key in found[:room]]
            if len(found) > room:
                return steps, reached | {state.scope: (state.gen.hex(), found[room - 1][0])}, True
            reached[state.scope] = (state.gen.hex(), state.head)
        return steps, reached, False

    async def _items(
        self, connection: AsyncConnection, entity: str, states: Sequence[ScopeState], steps: Sequence[_Step]
    ) -> tuple[list[dict[str, Any]], int]:
        """The rows of the changed keys as they count for the consumer, and how many steps fit into a page."""
        keys = list(dict.fromkeys(step.key for step in steps))
        if not keys:
            return [], len(steps)
        rank = {state.scope_no: place for place, state in enumerate(states)}
        best: dict[str, db.LiveRow] = {}
        for row in await db.live_rows(self._database, connection, list(rank), entity, keys):
            if row.key not in best or rank[row.scope_no] < rank[best[row.key].scope_no]:
                best[row.key] = row
        taken = fitting(steps, {key: row.bytes for key, row in best.items()})
        chosen: dict[str, bool] = {}
        for step in steps[:taken]:
            chosen[step.key] = chosen.get(step.key, True) and step.first
        payloads: dict[str, bytes] = {}
        for state in states:
            own = [key for key in chosen if key in best and best[key].scope_no == state.scope_no]
            if own:
                payloads |= await catalog.live_payloads(
                    self._database, connection, state.scope_no, entity, own
                )
        items: list[dict[str, Any]] = []
        for key, first in chosen.items():
            if key in best:
                row = best[key]
                scope = states[rank[row.scope_no]].scope
                data = orjson.Fragment(payloads[key])
                items.append(
                    {"key": key, "deleted": False, "version": row.version.hex(), "scope": scope, "data": data}
                )
            elif not first:
                items.append({"key": key, "deleted": True})
        return items, taken


def consumer_scopes(member: Membership) -> list[str]:
    """A consumer's scopes, strongest first: a station's, without one of its own."""
    return [name for name in scopes_of(member) if not name.startswith("station/")]


def continues(position: Position, states: Sequence[ScopeState]) -> bool:
    """Whether a cursor's position can be gone on from in these scopes."""
    current = {state.scope: state for state in states}
    for scope, (gen, seq) in position.items():
        state = current.get(scope)
        if state is None or gen != state.gen.hex() or seq > state.head or 0 < seq < state.floor:
            return False
    return True


def fitting(steps: Sequence[_Step], sizes: dict[str, int]) -> int:
    """How many of *steps* fit into a page; at least one."""
    total = 0
    for index, step in enumerate(steps):
        total += sizes.get(step.key, 0)
        if total > PAGE_MAX_BYTES and index:
            return index
    return len(steps)


def position_after(position: Position, steps: Sequence[_Step], states: Sequence[ScopeState]) -> Position:
    """Where a consumer stands that got just these steps: scopes before the last step's are done."""
    last = steps[-1]
    reached = dict(position)
    for state in states:
        if state.scope == last.scope:
            return reached | {state.scope: (state.gen.hex(), last.seq)}
        reached[state.scope] = (state.gen.hex(), state.head)
    return reached


def write_cursor(entity: str, position: Position) -> str:
    return base64.urlsafe_b64encode(canonical([entity, position])).decode().rstrip("=")


def read_cursor(cursor: str, entity: str) -> Position:
    """The inverse of `write_cursor`; `BadInput` for what this feed never gave."""
    wrong = BadInput(
        "the cursor is not one that this feed gave", hint='send it as it came, or "start"', code="bad-cursor"
    )
    try:
        of, scopes = parse(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
        position = {str(scope): (str(gen), int(seq)) for scope, (gen, seq) in scopes.items()}
    except (BadInput, binascii.Error, ValueError, TypeError, AttributeError):
        raise wrong from None
    if of != entity:
        raise BadInput(f'this cursor is of the feed of "{of}", not of "{entity}"', code="bad-cursor")
    return position
