"""SQL of unclear parties and of what is made once elsewhere. Every function works inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import orjson
from sqlalchemy import and_, delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from central.db.database import AnyRow, Database
from central.db.tables.codes import code_matches, reference_values, unclear_parties
from central.db.tables.integrations import integrations


class Decided(NamedTuple):
    """What HQ decided about a party: use, create or ignore; for use which record; and what else it could have been."""

    decision: str
    chosen: str | None
    candidates: tuple[str, ...]


async def decision(
    connection: AsyncConnection, system: str, party: str, *, lock: bool = False
) -> Decided | None:
    """HQ's word on a party, if there is one; with *lock* none is said before the transaction ends."""
    of = unclear_parties.c
    statement = select(of.decision, of.chosen, of.candidates).where(of.system == system, of.party == party)
    row = (await connection.execute(statement.with_for_update() if lock else statement)).first()
    if row is None or row[0] is None:
        return None
    return Decided(str(row[0]), row[1], tuple(orjson.loads(row[2])))


async def list_unclear(
    connection: AsyncConnection, *, after: int, limit: int, system: str | None, open_only: bool
) -> Sequence[AnyRow]:
    """Unclear parties, oldest first."""
    of = unclear_parties.c
    statement = select(unclear_parties).where(of.unclear_no > after)
    if system is not None:
        statement = statement.where(of.system == system)
    if open_only:
        statement = statement.where(of.decision.is_(None))
    return (await connection.execute(statement.order_by(of.unclear_no).limit(limit))).all()


async def put_unclear(
    database: Database,
    connection: AsyncConnection,
    key: tuple[str, str],
    seen: dict[str, str],
    candidates: Sequence[str],
    at_ms: int,
) -> None:
    """List a party, or say anew what is unclear about it. *key* is system and party, *seen* its name, tax_id, why."""
    values = {**seen, "candidates": orjson.dumps(list(candidates)).decode(), "last_ms": at_ms}
    # What is unclear again waits for a new word: the old one was about something else.
    anew = {"decision": None, "chosen": None, "by": None, "decided_ms": None}
    await connection.execute(
        database.insert(unclear_parties)
        .values(system=key[0], party=key[1], first_ms=at_ms, **values)
        .on_conflict_do_update(index_elements=["system", "party"], set_=values | anew)
    )


async def decide(
    connection: AsyncConnection,
    key: tuple[str, str],
    decided: str,
    chosen: str | None,
    who: str,
    at_ms: int,
) -> bool:
    """Remember what HQ decided; False where nobody asked about the party."""
    of = unclear_parties.c
    found = await connection.execute(
        update(unclear_parties)
        .where(of.system == key[0], of.party == key[1])
        .values(decision=decided, chosen=chosen, by=who, decided_ms=at_ms)
    )
    return bool(found.rowcount)


# ---- what is made once ----


async def reference(connection: AsyncConnection, key: tuple[str, str, str]) -> str | None:
    """The id over there of (system, target, value), None where it is not known or is being made."""
    found = await connection.execute(select(reference_values.c.theirs).where(_is(key)))
    return found.scalar_one_or_none()


async def claim(
    database: Database, connection: AsyncConnection, key: tuple[str, str, str], holder: str, lease_ms: int
) -> bool:
    """Whether *holder* alone may make it now; others wait until it is there or the lease is over."""
    now_ms = await database.now_ms(connection)
    of = reference_values.c
    values = {"holder": holder, "until_ms": now_ms + lease_ms}
    statement = (
        database.insert(reference_values)
        .values(system=key[0], target=key[1], value=key[2], theirs=None, made=False, **values)
        .on_conflict_do_update(
            index_elements=["system", "target", "value"],
            set_=values,
            where=and_(of.theirs.is_(None), or_(of.until_ms <= now_ms, of.holder == holder)),
        )
        .returning(of.holder)
    )
    return (await connection.execute(statement)).first() is not None


async def begin(
    database: Database, connection: AsyncConnection, key: tuple[str, str, str], holder: str, lease_ms: int
) -> bool:
    """It is asked for now: from here on it is ours if it is found; False where the claim is another's by now."""
    of = reference_values.c
    until_ms = await database.now_ms(connection) + lease_ms
    result = await connection.execute(
        update(reference_values)
        .where(_is(key), of.holder == holder, of.theirs.is_(None))
        .values(made=True, until_ms=until_ms)
    )
    return result.rowcount == 1


async def give_up(connection: AsyncConnection, key: tuple[str, str, str], holder: str) -> None:
    """It was refused, so what may be found later is not ours; others may try at once."""
    of = reference_values.c
    await connection.execute(
        update(reference_values)
        .where(_is(key), of.holder == holder, of.theirs.is_(None))
        .values(made=False, until_ms=0)
    )


async def there(connection: AsyncConnection, key: tuple[str, str, str], holder: str, theirs: str) -> bool:
    """It is there now, with this id; returns whether we made it (and nobody noted that before)."""
    of = reference_values.c
    found = await connection.execute(
        update(reference_values)
        .where(_is(key), of.holder == holder, of.theirs.is_(None))
        .values(theirs=theirs, until_ms=0)
        .returning(of.made)
    )
    return bool(found.scalar_one_or_none())


async def recall(connection: AsyncConnection, key: tuple[str, str, str], theirs: str) -> bool:
    """It was found by a search: whether we had asked for it, and never heard of it."""
    of = reference_values.c
    found = await connection.execute(
        update(reference_values)
        .where(_is(key), of.theirs.is_(None), of.made)
        .values(theirs=theirs, until_ms=0)
        .returning(of.theirs)
    )
    return found.first() is not None


async def release(connection: AsyncConnection, key: tuple[str, str, str], holder: str) -> None:
    """Let somebody else try at once."""
    of = reference_values.c
    await connection.execute(
        update(reference_values).where(_is(key), of.holder == holder, of.theirs.is_(None)).values(until_ms=0)
    )


async def forget(
    connection: AsyncConnection, system: str, target: str, kinds: Collection[str], ids: Sequence[str]
) -> None:
    """These records are gone over there: what was made is made anew when it is needed, and no code goes by them.

    Args:
        kinds: of codes, that records of this target bear.
    """
    of, codes = reference_values.c, code_matches.c
    await connection.execute(
        delete(code_matches).where(
            codes.kind.in_(kinds), codes.system == system, codes.outlet == "", codes.theirs.in_(ids)
        )
    )
    await connection.execute(
        delete(reference_values).where(of.system == system, of.target == target, of.theirs.in_(ids))
    )


async def integration_no(connection: AsyncConnection, name: str) -> int | None:
    """The number of the integration that a system is."""
    found = await connection.execute(select(integrations.c.integration_no).where(integrations.c.name == name))
    return found.scalar_one_or_none()


async def list_references(
    connection: AsyncConnection, *, limit: int, system: str | None, target: str | None
) -> Sequence[AnyRow]:
    """What is known of reference values, by system, target and value."""
    of = reference_values.c
    statement = select(reference_values)
    for column, value in ((of.system, system), (of.target, target)):
        if value is not None:
            statement = statement.where(column == value)
    return (await connection.execute(statement.order_by(of.system, of.target, of.value).limit(limit))).all()


def _is(key: tuple[str, str, str]) -> Any:
    of = reference_values.c
    return and_(of.system == key[0], of.target == key[1], of.value == key[2])
