"""Find a party in another system, make it, or ask HQ; what HQ decided is remembered.

The order: what the cross-reference knows, what HQ decided, what the system has (`parties.match`). Whatever comes out
of it stands in the cross-reference from then on, so the system is asked once for each party.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy.ext.asyncio import AsyncConnection

from central import audit
from central.codes.cross_reference import Match, look_up, note
from central.codes.once import Once, Records
from central.codes.parties import Create, Found, Party, Unclear, Use, branch_of, match, tax_id_of
from central.db import codes
from central.db import parties as rows
from central.db.codes import Key
from central.db.database import Database
from central.integrations.mapping.lookups import LookUp
from shared.errors import BadInput, NotFound


@dataclass(frozen=True, slots=True)
class Fields:
    """How a system calls what parties are found by; None: it has no such field."""

    target: str
    tax_id: str
    branch: str | None = None
    origin: str | None = None


@dataclass(frozen=True, slots=True)
class Ignored:
    """HQ decided that this party is not for this system."""


class PartyDesk:
    """Parties of all systems."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._once = Once(database)

    async def resolve(
        self, system: Records, fields: Fields, party: Party, record: Mapping[str, Any]
    ) -> Use | Unclear | Ignored:
        """The party's record in a system, made from *record* where it has none; `Unclear` waits for HQ.

        Raises:
            TargetAway: another node is making it; ask again.
        """
        asked = LookUp("party", system.name, party.code)
        async with self._database.read() as connection:
            known = (await look_up(connection, [asked])).get(asked)
            decided = await rows.decision(connection, system.name, party.code)
        if known is not None:
            return Use(known)
        answer: Use | Create | Unclear
        if decided is not None and decided.decision == "ignore":
            return Ignored()
        if decided is not None:
            others = decided.candidates
            answer = Create()
        else:
            found = await self._found(system, fields, party)
            others = tuple(one.id for one in found)
            answer = match(party, found)
        if isinstance(answer, Create):
            key = f"party {party.code}" if decided is not None else _natural_key(party)
            answer = Use(await self._made(system, fields, party, record, key, others))
        if isinstance(answer, Unclear):
            await self._ask(system.name, party, answer)
            return answer
        theirs = answer.id

        async def work(connection: AsyncConnection) -> None:
            learned = [Match("party", party.code, theirs)]
            await note(self._database, connection, system.name, learned, by="match by tax id")

        await self._database.run(work)
        return answer

    async def decide(
        self,
        system: str,
        party: str,
        decided: Literal["use", "create", "ignore"],
        chosen: str | None,
        *,
        who: str,
    ) -> None:
        """HQ's word on an unclear party: use this record, make one, or leave it out.

        Raises:
            BadInput: use without a record, or a record without use.
            NotFound: nobody asked about this party.
        """
        if (decided == "use") != bool(chosen):
            raise BadInput('"use" needs the id of the record, and only "use" has one')

        async def work(connection: AsyncConnection) -> None:
            now_ms = await self._database.now_ms(connection)
            if not await rows.decide(connection, (system, party), decided, chosen, who, now_ms):
                raise NotFound(
                    f'no party "{party}" is unclear in {system}',
                    hint="`counterflow-central parties unclear` shows them",
                )
            if chosen is not None:
                pairs = {Key("party", system, "", chosen): party}
                await codes.put(self._database, connection, pairs, who, now_ms)
                await codes.answer(connection, pairs, claims=True)
            detail = {"system": system, "party": party, "decision": decided, "id": chosen}
            await audit.record(connection, now_ms, who, "parties.decide", detail)

        await self._database.run(work)

    async def _found(self, system: Records, fields: Fields, party: Party) -> list[Found]:
        """All records that bear its code or its tax id; none where neither can be searched for."""
        found: dict[str, Found] = {}
        for one in await self._ids(system, fields.target, fields.origin, [party.code]):
            found[one] = Found(one, origin=party.code)
        try:
            tax_id = tax_id_of(party.tax_id, party.country)
            branch = branch_of(party.branch)
        except BadInput:
            return list(found.values())
        # The system may have it as it was typed there, or as ours was typed here.
        spellings = list(dict.fromkeys([tax_id, party.tax_id, party.tax_id.strip()]))
        same = await self._ids(system, fields.target, fields.tax_id, spellings)
        ours = await self._ids(system, fields.target, fields.branch, [branch] if branch else [])
        for one in same:
            known = branch if one in ours else "" if fields.branch is None else None
            found[one] = Found(one, tax_id, known, found[one].origin if one in found else "")
        return list(found.values())

    async def _ids(self, system: Records, target: str, field: str | None, values: Sequence[str]) -> list[str]:
        if field is None or not values:
            return []
        found = await system.find(target, field, values)
        return sorted({one for several in found.values() for one in several})

    async def _made(
        self,
        system: Records,
        fields: Fields,
        party: Party,
        record: Mapping[str, Any],
        key: str,
        others: Sequence[str],
    ) -> str:
        """Made once, whoever asks: found again by our code where the system keeps it, else by its tax id."""
        if fields.origin is not None:
            field, value = fields.origin, party.code
        else:
            field, value = fields.tax_id, str(record.get(fields.tax_id) or party.tax_id)
        if not value:
            raise BadInput(
                f'party "{party.code}" cannot be made safely in {system.name}: nothing tells it from others',
                hint="give it a tax id, or name the field that keeps our code over there",
            )
        return await self._once.id_of(system, fields.target, field, value, record, key=key, others=others)

    async def _ask(self, system: str, party: Party, unclear: Unclear) -> None:
        async def work(connection: AsyncConnection) -> None:
            seen = {"name": party.name, "tax_id": party.tax_id, "why": unclear.why}
            now_ms = await self._database.now_ms(connection)
            key = (system, party.code)
            await rows.put_unclear(self._database, connection, key, seen, unclear.candidates, now_ms)

        await self._database.run(work)


def _natural_key(party: Party) -> str:
    """Two of ours with one tax id and branch are one over there."""
    return f"{tax_id_of(party.tax_id, party.country)}/{branch_of(party.branch)}"
