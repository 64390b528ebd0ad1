"""SQL of what deliveries wait for and a `[[match]]` looks for. Every function works inside the caller's transaction.

Only codes that hold everywhere are looked for: a local one belongs to an outlet, and no search could tell its meaning.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, and_, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from central.db.database import Database
from central.db.tables.catalog import scope_rows, scopes
from central.db.tables.codes import code_merges, code_tries
from central.db.tables.deliveries import delivery_waits


class Wanted(NamedTuple):
    """A code of ours, merges followed, that some delivery waits for; how often it was looked for, and why in vain."""

    kind: str
    code: str
    tries: int
    next_ms: int


_WAITS = delivery_waits.c
_CODE = func.coalesce(code_merges.c.survivor, _WAITS.code)


def _waited(system: str, kinds: Collection[str]) -> ColumnElement[bool]:
    return and_(_WAITS.system == system, _WAITS.kind.in_(kinds), _WAITS.outlet == "")


async def wanted(
    connection: AsyncConnection, system: str, kinds: Collection[str], limit: int
) -> Sequence[Wanted]:
    """What is waited for, that which is due first at the front."""
    tries, next_ms = func.coalesce(code_tries.c.tries, 0), func.coalesce(code_tries.c.next_ms, 0)
    rows = delivery_waits.outerjoin(
        code_merges, and_(code_merges.c.kind == _WAITS.kind, code_merges.c.gone == _WAITS.code)
    ).outerjoin(
        code_tries,
        and_(code_tries.c.system == system, code_tries.c.kind == _WAITS.kind, code_tries.c.code == _CODE),
    )
    found = await connection.execute(
        select(_WAITS.kind, _CODE, tries, next_ms)
        .select_from(rows)
        .where(_waited(system, kinds))
        .group_by(_WAITS.kind, _CODE, tries, next_ms)
        .order_by(next_ms, func.min(_WAITS.since_ms), _WAITS.kind, _CODE)
        .limit(limit)
    )
    return [Wanted(*row) for row in found]


async def put(
    database: Database, connection: AsyncConnection, system: str, one: Wanted, next_ms: int, why: str
) -> None:
    """It was looked for in vain, and is again at *next_ms*."""
    values = {"tries": one.tries + 1, "next_ms": next_ms, "why": why}
    await connection.execute(
        database.insert(code_tries)
        .values(system=system, kind=one.kind, code=one.code, **values)
        .on_conflict_do_update(index_elements=["system", "kind", "code"], set_=values)
    )


async def forget(connection: AsyncConnection, system: str, kind: str, codes: Collection[str]) -> None:
    """They are there, or shall be looked for at once."""
    of = code_tries.c
    await connection.execute(
        delete(code_tries).where(of.system == system, of.kind == kind, of.code.in_(codes))
    )


async def look_now(connection: AsyncConnection, system: str | None) -> None:
    """Let everything (of one system) be looked for at once; how often it was tried is forgotten."""
    statement = update(code_tries).values(next_ms=0, tries=0)
    await connection.execute(statement if system is None else statement.where(code_tries.c.system == system))


async def aliases(connection: AsyncConnection, kind: str, code: str) -> list[str]:
    """The code and all that were merged into it."""
    gone = await connection.execute(
        select(code_merges.c.gone).where(code_merges.c.kind == kind, code_merges.c.survivor == code)
    )
    return [code, *gone.scalars()]


async def live_rows(connection: AsyncConnection, entity: str, key: str) -> dict[str, bytes]:
    """scope -> payload of an entity's row, wherever in the catalog it stands."""
    of = scope_rows.c
    found = await connection.execute(
        select(scopes.c.scope, of.payload)
        .join(scopes, scopes.c.scope_no == of.scope_no)
        .where(of.entity == entity, of.key == key, of.version.is_not(None))
    )
    return {row[0]: row[1] for row in found}


async def waiting(connection: AsyncConnection, system: str, kind: str, code: str) -> int:
    """How many deliveries wait for a code."""
    statement = select(func.count()).select_from(delivery_waits)
    codes = await aliases(connection, kind, code)
    found = await connection.execute(statement.where(_waited(system, [kind]), _WAITS.code.in_(codes)))
    return int(found.scalar_one())
