"""SQL of the cross-reference. Every function works inside the caller's transaction.

A page of look-ups travels as one JSON parameter, so it is one query however long it is, on both databases.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from sqlalchemy import (
    Text,
    and_,
    bindparam,
    case,
    cast,
    delete,
    false,
    func,
    literal,
    literal_column,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from central.db.database import AnyRow, Database
from central.db.tables.codes import code_matches, code_merges, code_questions, code_tries, unclear_parties

_UNMATCHED = code_questions.c.claim == ""


_MERGES_LOCK = 0x636F6465  # advisory, on PostgreSQL; SQLite has one writer


class Key(NamedTuple):
    """A code in one system, or the question for it."""

    kind: str
    system: str
    outlet: str
    code: str


def _asked(connection: AsyncConnection, keys: Collection[Key]) -> Any:
    """*keys* as a table with the columns of a `Key`."""
    sent = literal(orjson.dumps([list(key) for key in keys]).decode(), Text)
    if connection.dialect.name == "sqlite":
        values = func.json_each(sent).table_valued("value")
    else:
        values = func.jsonb_array_elements(cast(sent, JSONB)).table_valued("value")
    columns = [
        values.c.value.op("->>")(literal_column(str(place))).label(name)
        for place, name in enumerate(Key._fields)
    ]
    return select(*columns).cte("asked")


async def hold(connection: AsyncConnection, *, merging: bool) -> None:
    """Until the transaction ends no code is merged away, or, *merging*, nobody stores codes: none gets lost between."""
    if connection.dialect.name != "sqlite":
        lock = func.pg_advisory_xact_lock if merging else func.pg_advisory_xact_lock_shared
        await connection.execute(select(lock(_MERGES_LOCK)))


async def theirs_of(connection: AsyncConnection, keys: Collection[Key]) -> Sequence[AnyRow]:
    """For each code of ours, all that a system calls it: rows of kind, system, outlet, code, theirs, main."""
    asked = _asked(connection, keys)
    found = code_matches.c
    survivor = func.coalesce(code_merges.c.survivor, asked.c.code)
    rows = asked.outerjoin(
        code_merges, and_(code_merges.c.kind == asked.c.kind, code_merges.c.gone == asked.c.code)
    ).join(
        code_matches,
        and_(
            found.kind == asked.c.kind,
            found.ours == survivor,
            found.system == asked.c.system,
            found.outlet == asked.c.outlet,
        ),
    )
    return (
        await connection.execute(
            select(*(asked.c[name] for name in Key._fields), found.theirs, found.main).select_from(rows)
        )
    ).all()


async def ours_of(connection: AsyncConnection, keys: Collection[Key]) -> dict[Key, str]:
    """Our code for each code of theirs that is known."""
    asked = _asked(connection, keys)
    found = code_matches.c
    rows = asked.join(
        code_matches,
        and_(
            found.kind == asked.c.kind,
            found.system == asked.c.system,
            found.outlet == asked.c.outlet,
            found.theirs == asked.c.code,
        ),
    ).outerjoin(code_merges, and_(code_merges.c.kind == found.kind, code_merges.c.gone == found.ours))
    ours = func.coalesce(code_merges.c.survivor, found.ours)
    columns = [asked.c[name] for name in Key._fields]
    return {
        Key(*row[:4]): row[4] for row in await connection.execute(select(*columns, ours).select_from(rows))
    }


async def survivors(
    connection: AsyncConnection, codes: Collection[tuple[str, str]]
) -> dict[tuple[str, str], str]:
    """(kind, code of ours) -> what it was merged into, for those that were."""
    asked = _asked(connection, [Key(kind, "", "", code) for kind, code in codes])
    rows = asked.join(
        code_merges, and_(code_merges.c.kind == asked.c.kind, code_merges.c.gone == asked.c.code)
    )
    found = select(asked.c.kind, asked.c.code, code_merges.c.survivor).select_from(rows)
    return {(row[0], row[1]): row[2] for row in await connection.execute(found)}


async def learn(
    database: Database, connection: AsyncConnection, pairs: Mapping[Key, str], by: str, at_ms: int
) -> None:
    """Store codes of theirs that nobody else stored meanwhile: key of theirs -> ours."""
    if pairs:
        await connection.execute(
            database.insert(code_matches).on_conflict_do_nothing(),
            [{**_row(key, ours, by, at_ms), "main": False} for key, ours in pairs.items()],
        )


async def put(
    database: Database, connection: AsyncConnection, pairs: Mapping[Key, str], by: str, at_ms: int
) -> None:
    """Let codes of theirs mean those of ours, and be the ones that are sent; of several for one of ours, none is."""
    if not pairs:
        return
    places = Counter((key.kind, key.system, key.outlet, ours) for key, ours in pairs.items())
    sent = [
        {"a_kind": kind, "a_system": system, "a_outlet": outlet, "a_ours": ours}
        for (kind, system, outlet, ours), count in places.items()
        if count == 1
    ]
    if sent:
        found = code_matches.c
        same = and_(*(found[name] == bindparam(f"a_{name}") for name in ("kind", "system", "outlet", "ours")))
        await connection.execute(update(code_matches).where(same).values(main=False), sent)
    statement = database.insert(code_matches)
    new = statement.excluded
    kept = case((new.main, true()), (code_matches.c.ours == new.ours, code_matches.c.main), else_=false())
    await connection.execute(
        statement.on_conflict_do_update(
            index_elements=["kind", "system", "outlet", "theirs"],
            set_={"ours": new.ours, "main": kept, "by": new.by, "at_ms": new.at_ms},
        ),
        [
            {
                **_row(key, ours, by, at_ms),
                "main": places[key.kind, key.system, key.outlet, ours] == 1,
            }
            for key, ours in pairs.items()
        ],
    )


async def ask(
    database: Database, connection: AsyncConnection, questions: Collection[tuple[Key, str, str]], at_ms: int
) -> None:
    """Put (key, way, claim) on the lists, or count that it was met again."""
    if not questions:
        return
    statement = database.insert(code_questions)
    statement = statement.on_conflict_do_update(
        index_elements=["kind", "system", "outlet", "way", "code", "claim"],
        set_={"seen": code_questions.c.seen + 1, "last_ms": statement.excluded.last_ms},
    )
    await connection.execute(
        statement,
        [
            {
                **key._asdict(),
                "way": way,
                "claim": claim,
                "seen": 1,
                "first_ms": at_ms,
                "last_ms": at_ms,
            }
            for key, way, claim in sorted(questions)
        ],
    )


async def answer(connection: AsyncConnection, pairs: Mapping[Key, str], *, claims: bool) -> None:
    """Take what is matched now off the lists of the unmatched and unclear, and with *claims* the claims on it too."""
    if not pairs:
        return
    out = [Key(key.kind, key.system, key.outlet, ours) for key, ours in pairs.items()]
    for way, keys in (("in", list(pairs)), ("out", out)):
        asked = _asked(connection, keys)
        of = code_questions.c
        here = (
            select(literal_column("1"))
            .select_from(asked)
            .where(*(asked.c[name] == of[name] for name in Key._fields))
            .exists()
        )
        await connection.execute(
            delete(code_questions).where(of.way == way, here, true() if claims else _UNMATCHED)
        )
    parties = [key for key in out if key.kind == "party" and not key.outlet]
    if parties:
        asked = _asked(connection, parties)
        of = unclear_parties.c
        same = and_(asked.c.system == of.system, asked.c.code == of.party)
        known = select(literal_column("1")).select_from(asked).where(same).exists()
        await connection.execute(delete(unclear_parties).where(of.decision.is_(None), known))


async def merge(
    database: Database, connection: AsyncConnection, kind: str, gone: str, survivor: str, by: str, at_ms: int
) -> int:
    """Move all codes of *gone* to *survivor*, and remember the way; returns how many were moved.

    What is sent for the survivor stays what it was.
    """
    found = code_matches.c
    kept = code_matches.alias("kept")
    sole = (
        select(kept.c.system, kept.c.outlet)
        .where(kept.c.kind == kind, kept.c.ours == survivor)
        .group_by(kept.c.system, kept.c.outlet)
        .having(func.count() == 1)
        .subquery()
    )
    of_survivor = and_(found.kind == kind, found.ours == survivor)
    alone = select(sole.c.system).where(sole.c.system == found.system, sole.c.outlet == found.outlet)
    await connection.execute(update(code_matches).where(of_survivor, alone.exists()).values(main=True))
    main = select(kept.c.match_no).where(
        kept.c.kind == kind,
        kept.c.ours == survivor,
        kept.c.main,
        kept.c.system == found.system,
        kept.c.outlet == found.outlet,
    )
    of_gone = and_(found.kind == kind, found.ours == gone)
    await connection.execute(update(code_matches).where(of_gone, main.exists()).values(main=False))
    moved = await connection.execute(update(code_matches).where(of_gone).values(ours=survivor))
    await connection.execute(
        update(code_merges)
        .where(code_merges.c.kind == kind, code_merges.c.survivor == gone)
        .values(survivor=survivor)
    )
    await connection.execute(
        database.insert(code_merges)
        .values(kind=kind, gone=gone, survivor=survivor, by=by, at_ms=at_ms)
        .on_conflict_do_nothing()
    )
    # The two are one now: nobody claims one of them against the other, and only the survivor is asked for.
    of = code_questions.c
    settled = or_(and_(of.way == "out", of.code == gone), of.claim == gone, of.claim == survivor)
    await connection.execute(delete(code_questions).where(of.kind == kind, settled))
    if kind == "party":
        asked = unclear_parties.c
        await connection.execute(delete(unclear_parties).where(asked.party == gone, asked.decision.is_(None)))
    return moved.rowcount


async def list_matches(
    connection: AsyncConnection,
    *,
    after: int,
    limit: int,
    kind: str | None = None,
    system: str | None = None,
    ours: str | None = None,
    theirs: str | None = None,
) -> Sequence[AnyRow]:
    """Pairs in the order in which they were learned."""
    statement = select(code_matches).where(code_matches.c.match_no > after)
    for name, value in (("kind", kind), ("system", system), ("ours", ours), ("theirs", theirs)):
        if value is not None:
            statement = statement.where(code_matches.c[name] == value)
    return (await connection.execute(statement.order_by(code_matches.c.match_no).limit(limit))).all()


async def list_unmatched(
    connection: AsyncConnection, *, after: int, limit: int, kind: str | None, system: str | None
) -> Sequence[AnyRow]:
    """Codes that were looked up in vain, oldest first, with `why` and `next_ms` where a search was in vain too."""
    of, tried = code_questions.c, code_tries.c
    searched = and_(
        of.way == "out",
        of.outlet == "",
        tried.system == of.system,
        tried.kind == of.kind,
        tried.code == of.code,
    )
    statement = select(code_questions, tried.why, tried.next_ms).outerjoin(code_tries, searched)
    statement = statement.where(_UNMATCHED, of.question_no > after)
    for name, value in (("kind", kind), ("system", system)):
        if value is not None:
            statement = statement.where(of[name] == value)
    return (await connection.execute(statement.order_by(of.question_no).limit(limit))).all()


async def list_claims(
    connection: AsyncConnection, *, limit: int, kind: str | None, system: str | None
) -> Sequence[AnyRow]:
    """Codes of theirs that are said to be another one of ours: rows of kind, system, outlet, theirs, ours, claim."""
    of, found = code_questions.c, code_matches.c
    rows = code_questions.outerjoin(
        code_matches,
        and_(
            found.kind == of.kind,
            found.system == of.system,
            found.outlet == of.outlet,
            found.theirs == of.code,
        ),
    )
    statement = select(of.kind, of.system, of.outlet, of.code, found.ours, of.claim).select_from(rows)
    statement = statement.where(of.claim != "", of.claim != func.coalesce(found.ours, ""))
    for name, value in (("kind", kind), ("system", system)):
        if value is not None:
            statement = statement.where(of[name] == value)
    return (await connection.execute(statement.order_by(of.question_no).limit(limit))).all()


async def list_doubled(
    connection: AsyncConnection, *, limit: int, kind: str | None, system: str | None
) -> Sequence[AnyRow]:
    """Codes of ours with several of theirs, none of which is the one to send: kind, system, outlet, ours, theirs."""
    found = code_matches.c
    place = (found.kind, found.ours, found.system, found.outlet)
    groups = select(*place).group_by(*place)
    groups = groups.having(func.count() > 1, func.sum(case((found.main, 1), else_=0)) != 1)
    for column, value in ((found.kind, kind), (found.system, system)):
        if value is not None:
            groups = groups.where(column == value)
    several = groups.order_by(*place).limit(limit).subquery()
    rows = code_matches.join(several, and_(*(several.c[column.name] == column for column in place)))
    statement = select(*place, found.theirs).select_from(rows).order_by(*place, found.theirs)
    return (await connection.execute(statement)).all()


def _row(key: Key, ours: str, by: str, at_ms: int) -> dict[str, Any]:
    return {
        "kind": key.kind,
        "system": key.system,
        "outlet": key.outlet,
        "theirs": key.code,
        "ours": ours,
        "by": by,
        "at_ms": at_ms,
    }
