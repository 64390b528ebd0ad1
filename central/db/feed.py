"""Consumers of the feed: who they are, what changed for them, and the cursors that the centre keeps for them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from central.db.catalog import one_of
from central.db.database import Database
from central.db.tables.catalog import consumer_cursors, consumers, scope_rows
from central.db.tables.registry import groups, stores
from shared.canonical import parse
from shared.catalog.scopes import Membership


@dataclass(frozen=True, slots=True)
class LiveRow:
    """A live row of one scope, without its payload."""

    scope_no: int
    key: str
    version: bytes
    bytes: int


async def consumer(connection: AsyncConnection, name: str) -> Membership | None:
    """Where a consumer belongs, as if it were a station; None when nobody has that name."""
    query = (
        select(stores.c.code, stores.c.price_list, consumers.c.groups)
        .join(stores)
        .where(consumers.c.consumer == name)
    )
    row = (await connection.execute(query)).first()
    if row is None:
        return None
    named = select(groups.c.code, groups.c.priority, groups.c.price_list).where(
        groups.c.code.in_(parse(row[2]))
    )
    belongs = tuple((group[0], group[1], group[2]) for group in await connection.execute(named))
    return Membership("", row[0], row[1], belongs)


async def changed(
    connection: AsyncConnection, scope_no: int, entity: str, after: int, limit: int
) -> list[tuple[int, str]]:
    """(seq, key) of an entity's rows that changed after a seq, in seq order."""
    query = (
        select(scope_rows.c.seq, scope_rows.c.key)
        .where(scope_rows.c.scope_no == scope_no, scope_rows.c.seq > after, scope_rows.c.entity == entity)
        .order_by(scope_rows.c.seq)
        .limit(limit)
    )
    return [(row[0], row[1]) for row in await connection.execute(query)]


async def live_rows(
    database: Database,
    connection: AsyncConnection,
    scope_nos: Collection[int],
    entity: str,
    keys: Sequence[str],
) -> list[LiveRow]:
    """The live rows of these keys in any of the scopes."""
    query = select(
        scope_rows.c.scope_no, scope_rows.c.key, scope_rows.c.version, func.length(scope_rows.c.payload)
    ).where(
        and_(
            scope_rows.c.scope_no.in_(scope_nos),
            scope_rows.c.entity == entity,
            scope_rows.c.version.is_not(None),
        ),
        one_of(database, scope_rows.c.key, keys),
    )
    return [LiveRow(*row) for row in await connection.execute(query)]


async def kept_cursor(connection: AsyncConnection, name: str, entity: str) -> str | None:
    """What the consumer confirmed last."""
    query = select(consumer_cursors.c.cursor).where(
        consumer_cursors.c.consumer == name, consumer_cursors.c.entity == entity
    )
    return (await connection.execute(query)).scalar_one_or_none()


async def keep_cursor(
    database: Database,
    connection: AsyncConnection,
    name: str,
    entity: str,
    cursor: str,
    rejected: str,
    at_ms: int,
) -> None:
    """Remember what a consumer applied, and which rows it rejected (JSON)."""
    values = {"cursor": cursor, "confirmed_ms": at_ms, "rejected": rejected}
    statement = database.insert(consumer_cursors).values(consumer=name, entity=entity, **values)
    keys = [consumer_cursors.c.consumer, consumer_cursors.c.entity]
    await connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=values))
