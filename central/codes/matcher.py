"""Find what another system calls one of ours, as its `[[match]]` says: who it is, the search, and what is made.

A record that is made may need codes itself (a party its legal form): they are matched before it. Rule: whatever comes
out stands in the cross-reference before it is told, and a record over there is never two of ours.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from central.codes.cross_reference import Match, look_up, look_up_ours, miss, note
from central.codes.desk import Ignored, PartyDesk
from central.codes.once import Once, Records
from central.codes.parties import Unclear, Use
from central.db import code_tries as rows
from central.db import codes
from central.db.codes import Key
from central.db.database import Database
from central.integrations.rules import Rule, party_of
from central.mapping.lookups import LookUp
from shared.errors import BadInput

DEPTH_MAX = 5
"""Codes that need codes that need codes."""
OWN_SCOPE = "base"
Rules = Mapping[str, Rule]
"""The `[[match]]`es of a system by their kinds."""


class Matcher:
    """Matches codes in any system."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._parties = PartyDesk(database)
        self._once = Once(database)

    async def match(
        self, system: Records, rules: Rules, kind: str, code: str, above: tuple[str, ...] = ()
    ) -> Use | Unclear | Ignored:
        """What a system calls a code of ours; `Unclear` waits for HQ, which has it on its list.

        Args:
            code: merges followed.
            above: what it is needed for.
        Raises:
            BadInput: it cannot be told, and will not be before somebody changes something.
            BeingMade: somebody else is making it; ask again.
        """
        asked = LookUp(kind, system.name, code)
        async with self._database.read() as connection:
            known = (await look_up(connection, [asked])).get(asked)
            several = await codes.theirs_of(connection, [Key(kind, system.name, "", code)])
        if known is not None:
            return Use(known)
        if several:
            theirs = ", ".join(sorted(row.theirs for row in several)[:5])
            raise BadInput(
                f"{system.name} has several codes for {kind} {code}: {theirs}",
                hint="choose one with `crossref set`",
            )
        rule = rules[kind]
        row = await self._row(rule, code)
        above = (*above, f"{kind} {code}")

        async def make() -> Mapping[str, Any]:
            return await self._mapped(system, rules, rule, row, above)

        if kind == "party":
            may = make if rule.matching.create else None
            return await self._parties.resolve(system, rule.fields, party_of(code, row), may)
        value = rule.value_of(row, await self._codes(system, rules, rule.value.look_ups(row), above))
        found = await self._found(system, rule, value)
        if found is None and not rule.matching.create:
            raise BadInput(
                f'{system.name} has no {rule.matching.target} whose {rule.matching.field} is "{value}"',
                hint="make it over there, choose another with `crossref set`, or let its [[match]] create it",
            )
        if found is None:
            field = rule.matching.field or ""
            found = await self._once.id_of(system, rule.matching.target, field, value, await make())
        else:
            await self._once.recall(system, rule.matching.target, value, found)
        return await self._learned(asked, found)

    async def _row(self, rule: Rule, code: str) -> dict[str, Any]:
        """Who or what the code is, as the catalog tells it."""
        entity = rule.matching.entity
        if entity is None:
            return {"code": code}
        async with self._database.read() as connection:
            found = await rows.live_rows(connection, entity, rule.key(code))
        if not found:
            raise BadInput(
                f"there is no {entity} {code} in the catalog", hint="bring it in, or set its code by hand"
            )
        payloads = {found[OWN_SCOPE]} if OWN_SCOPE in found else set(found.values())
        if len(payloads) > 1:
            raise BadInput(
                f"{entity} {code} is not the same in {', '.join(sorted(found)[:5])}",
                hint="set its code by hand",
            )
        row: dict[str, Any] = json.loads(payloads.pop(), parse_float=Decimal)
        return row | {"code": code}

    async def _mapped(
        self, system: Records, rules: Rules, rule: Rule, row: Mapping[str, Any], above: tuple[str, ...]
    ) -> Mapping[str, Any]:
        return rule.record.apply(row, await self._codes(system, rules, rule.record.look_ups(row), above))

    async def _codes(
        self, system: Records, rules: Rules, asked: Collection[LookUp], above: tuple[str, ...]
    ) -> Mapping[LookUp, str]:
        """What the record needs itself, matched where it is not known."""
        if not asked:
            return {}
        async with self._database.read() as connection:
            known = await look_up(connection, asked)
        for one in sorted(set(asked) - known.keys()):
            if one.system != system.name or one.outlet or one.kind not in rules:
                continue
            if f"{one.kind} {one.code}" in above or len(above) >= DEPTH_MAX:
                raise BadInput(f"needs itself: {', '.join(above)}, {one.kind} {one.code}")
            async with self._database.read() as connection:
                merged = await codes.survivors(connection, {(one.kind, one.code)})
            await self.match(system, rules, one.kind, merged.get((one.kind, one.code), one.code), above)

        async def work(connection: AsyncConnection) -> Mapping[LookUp, str]:
            found = await look_up(connection, asked)
            await miss(self._database, connection, set(asked) - found.keys(), way="out")
            return found

        return await self._database.run(work)

    async def _found(self, system: Records, rule: Rule, value: str) -> str | None:
        one = rule.matching
        assert one.field is not None
        async with asyncio.timeout(system.timeout_s):
            found = sorted((await system.find(one.target, one.field, [value])).get(value, ()))
        if len(found) > 1:
            raise BadInput(
                f'{len(found)} records of {one.target} in {system.name} have {one.field} "{value}": '
                f"{', '.join(found[:5])}",
                hint="choose one with `crossref set`",
            )
        return found[0] if found else None

    async def _learned(self, asked: LookUp, theirs: str) -> Use:
        async def work(connection: AsyncConnection) -> str | None:
            learned = [Match(asked.kind, asked.code, theirs)]
            await note(self._database, connection, asked.system, learned, by="match")
            known = (await look_up(connection, [asked])).get(asked)
            if known is not None:
                return None
            question = LookUp(asked.kind, asked.system, theirs)
            return (await look_up_ours(connection, [question])).get(question)

        owner = await self._database.run(work)
        if owner is not None:
            raise BadInput(
                f"{theirs} in {asked.system} is our {asked.kind} {owner} already",
                hint=f"`crossref merge {asked.kind} {asked.code} {owner}` if they are one, else `crossref set`",
            )
        return Use(theirs)
