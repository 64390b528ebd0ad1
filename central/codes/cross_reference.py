"""Answer a page of look-ups in one query, and learn from what other systems tell.

Rule: nothing is guessed. A code of ours with several over there, none of them chosen, has no answer; what a system
tells against what is known changes nothing, it goes to the list of the doubled. A local code belongs to its outlet and
never stands in for a global one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import Literal, NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from central.db import codes as rows
from central.db.codes import Key
from central.db.database import Database
from central.mapping.lookups import LookUp


class Match(NamedTuple):
    """One of our codes and what a system calls it."""

    kind: str
    ours: str
    theirs: str
    outlet: str = ""


class Noted(NamedTuple):
    """What a page taught: so many codes are new; so many are said to be another one of ours than is known."""

    learned: int
    claimed: int


async def look_up(connection: AsyncConnection, asked: Collection[LookUp]) -> dict[LookUp, str]:
    """What each system calls codes of ours; a code without an answer is absent. Merged codes go by their survivor."""
    if not asked:
        return {}
    found: dict[LookUp, list[tuple[bool, str]]] = defaultdict(list)
    for kind, system, outlet, code, theirs, main in await rows.theirs_of(connection, _keys(asked)):
        found[LookUp(kind, system, code, outlet)].append((main, theirs))
    answers = {}
    for one, several in found.items():
        chosen = several if len(several) == 1 else [item for item in several if item[0]]
        if len(chosen) == 1:
            answers[one] = chosen[0][1]
    return answers


async def look_up_ours(connection: AsyncConnection, asked: Collection[LookUp]) -> dict[LookUp, str]:
    """Our codes for those of other systems; a code without an answer is absent."""
    if not asked:
        return {}
    found = await rows.ours_of(connection, _keys(asked))
    return {LookUp(key.kind, key.system, key.code, key.outlet): ours for key, ours in found.items()}


async def miss(
    database: Database, connection: AsyncConnection, asked: Collection[LookUp], *, way: Literal["in", "out"]
) -> None:
    """Put what had no answer on the list of the unmatched.

    Args:
        way: `out` for a code of ours that a system lacks (a delivery), `in` for one of theirs (a pull).
    """
    keys = _keys(asked)
    if way == "out":
        await rows.hold(connection, merging=False)
        merged = await rows.survivors(connection, {(key.kind, key.code) for key in keys})
        keys = [key._replace(code=merged.get((key.kind, key.code), key.code)) for key in keys]
    now_ms = await database.now_ms(connection)
    await rows.ask(database, connection, [(key, way, "") for key in sorted(set(keys))], now_ms)


async def note(
    database: Database, connection: AsyncConnection, system: str, matches: Collection[Match], *, by: str
) -> Noted:
    """Learn what a system tells of its codes: read from it, or written back by it.

    Args:
        by: who says so, e.g. `pull products`.
    """
    if not matches:
        return Noted(0, 0)
    await rows.hold(connection, merging=False)
    merged = await rows.survivors(connection, {(one.kind, one.ours) for one in matches})
    told: dict[Key, set[str]] = defaultdict(set)
    for one in matches:
        ours = merged.get((one.kind, one.ours), one.ours)
        told[Key(one.kind, system, one.outlet, one.theirs)].add(ours)
    known = await rows.ours_of(connection, told)
    # A page that names two of ours for one code decides nothing by its order: both are listed.
    new = {key: min(ours) for key, ours in told.items() if key not in known and len(ours) == 1}
    claims = [
        (key, "in", one)
        for key, several in sorted(told.items())
        if key not in new
        for one in sorted(several - {known.get(key)})
    ]
    now_ms = await database.now_ms(connection)
    await rows.learn(database, connection, new, by, now_ms)
    await rows.ask(database, connection, claims, now_ms)
    await rows.answer(connection, new, claims=False)
    return Noted(len(new), len(claims))


def _keys(asked: Collection[LookUp]) -> list[Key]:
    return sorted({Key(one.kind, one.system, one.outlet, one.code) for one in asked})
