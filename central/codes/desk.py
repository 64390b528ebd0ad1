"""Find a party in another system, make it, or ask HQ; what HQ decided is remembered.

The order: what the cross-reference knows, what HQ decided, what the system has (`parties.match`). Whatever comes out
of it stands in the cross-reference from then on, so the system is asked once for each party.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy.ext.asyncio import AsyncConnection

from central import audit
from central.codes.cross_reference import Match, look_up, look_up_ours, note
from central.codes.once import Once, Records
from central.codes.parties import (
    Create,
    Found,
    Party,
    Unclear,
    Use,
    branch_of,
    match,
    spellings_of,
    tax_id_of,
)
from central.codes.waking import not_for, send_again, wake_known
from central.db import code_tries, codes
from central.db import parties as rows
from central.db.codes import Key
from central.db.database import Database
from central.mapping.lookups import LookUp
from shared.errors import BadInput, Conflict, NotFound

Make = Callable[[], Awaitable[Mapping[str, Any]]]
"""What a party's record is made of; asked only once it is sure that one is made."""


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
        self, system: Records, fields: Fields, party: Party, make: Make | None
    ) -> Use | Unclear | Ignored:
        """The party's record in a system; `Unclear` waits for HQ.

        Args:
            make: what its record is, where it has none; None: none is ever made.
        Raises:
            BadInput: it cannot be made as it is.
            BeingMade: somebody else is making it; ask again.
        """
        asked = LookUp("party", system.name, party.code)
        async with self._database.read() as connection:
            known = (await look_up(connection, [asked])).get(asked)
            decided = await rows.decision(connection, system.name, party.code)
        if known is not None:
            return Use(known)
        if decided is not None and decided.decision == "ignore":
            return Ignored()
        answer: Use | Create | Unclear
        if decided is not None and decided.decision == "create":
            others: tuple[str, ...] = decided.candidates
            answer, key = Create(), f"party {party.code}"
        else:
            # A record that HQ chose and that is its code no more was taken back or given to another party since.
            found = await self._found(system, fields, party)
            others = tuple(one.id for one in found)
            answer = match(party, found)
            key = _natural_key(party) if isinstance(answer, Create | Use) and party.tax_id.strip() else ""
            if isinstance(answer, Use) and key:
                await self._once.recall(system, fields.target, key, answer.id)
        if isinstance(answer, Create) and make is None:
            if decided is not None and decided.decision == "create":
                raise BadInput(
                    f'party "{party.code}" shall be made in {system.name}, and nothing says of what',
                    hint="give its [[match]] `create = true` and `fields`, or use a record that is there",
                )
            answer = Unclear("it is not there, and none is made", others)
        if isinstance(answer, Create):
            assert make is not None
            answer = Use(await self._made(system, fields, party, await make(), key, others))
        if isinstance(answer, Use):
            answer = await self._learned(asked, answer)
        if isinstance(answer, Unclear):
            await self._ask(system.name, party, answer)
        return answer

    async def _learned(self, asked: LookUp, answer: Use) -> Use | Unclear:
        """The record, known as this party's from now on, unless it is another one's already."""

        async def work(connection: AsyncConnection) -> Use | Unclear:
            learned = [Match("party", asked.code, answer.id)]
            await note(self._database, connection, asked.system, learned, by="match")
            known = (await look_up(connection, [asked])).get(asked)
            if known is not None:
                return Use(known)
            theirs = LookUp("party", asked.system, answer.id)
            owner = (await look_up_ours(connection, [theirs])).get(theirs)
            return Unclear(f"the record {answer.id} is our {owner} already", (answer.id,))

        return await self._database.run(work)

    async def decide(
        self,
        system: str,
        party: str,
        decided: Literal["use", "create", "ignore"],
        chosen: str | None,
        *,
        who: str,
    ) -> int:
        """HQ's word on an unclear party: use this record, make one, or leave it out.

        Returns:
            how many deliveries need it: with use they go now, else once the party is made, or parked.
        Raises:
            BadInput: use without a record, or a record without use.
            Conflict: the record is another party's already.
            NotFound: nobody asked about this party.
        """
        if (decided == "use") != bool(chosen):
            raise BadInput('"use" needs the id of the record, and only "use" has one')

        async def work(connection: AsyncConnection) -> int:
            now_ms = await self._database.now_ms(connection)
            if not await rows.decide(connection, (system, party), decided, chosen, who, now_ms):
                raise NotFound(
                    f'no party "{party}" is unclear in {system}',
                    hint="`counterflow-central parties unclear` shows them",
                )
            waiting = await code_tries.waiting(connection, system, "party", party)
            await code_tries.forget(connection, system, "party", [party])
            if decided != "ignore":
                reason = not_for(LookUp("party", system, party))
                told = f"{who} decided that {party} is for {system}"
                waiting += await send_again(self._database, connection, reason, told, now_ms)
            if chosen is not None:
                await _is_nobody_elses(connection, system, party, chosen)
                pairs = {Key("party", system, "", chosen): party}
                await codes.put(self._database, connection, pairs, who, now_ms)
                await codes.answer(connection, pairs, claims=True)
                await wake_known(self._database, connection, system)
            detail = {"system": system, "party": party, "decision": decided, "id": chosen}
            await audit.record(connection, now_ms, who, "parties.decide", detail)
            return waiting

        return await self._database.run(work)

    async def _found(self, system: Records, fields: Fields, party: Party) -> list[Found]:
        """All records that bear its code or its tax id; none where neither can be searched for."""
        found: dict[str, Found] = {}
        for one in await self._ids(system, fields.target, fields.origin, [party.code]):
            found[one] = Found(one, origin=party.code)
        try:
            spellings = spellings_of(party)
            branch = branch_of(party.branch)
        except BadInput:
            return list(found.values())
        tax_id = spellings[0]
        same = await self._ids(system, fields.target, fields.tax_id, spellings)
        ours = await self._ids(system, fields.target, fields.branch, [branch] if branch else [])
        for one in same:
            known = branch if one in ours else "" if fields.branch is None else None
            found[one] = Found(one, tax_id, known, found[one].origin if one in found else "")
        return list(found.values())

    async def _ids(self, system: Records, target: str, field: str | None, values: Sequence[str]) -> list[str]:
        if field is None or not values:
            return []
        async with asyncio.timeout(system.timeout_s):
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
            field, spellings = fields.origin, [party.code]
        else:
            field, spellings = fields.tax_id, spellings_of(party) if party.tax_id.strip() else []
        value = str(record.get(field) or "")
        if value not in spellings:
            raise BadInput(
                f'party "{party.code}" cannot be made safely in {system.name}: its record has "{value}" as {field}, '
                "so it would not be found again",
                hint="give it a tax id, or name the field that keeps our code over there",
            )
        return await self._once.id_of(
            system, fields.target, field, value, record, key=key, spellings=spellings, others=others
        )

    async def _ask(self, system: str, party: Party, unclear: Unclear) -> None:
        async def work(connection: AsyncConnection) -> None:
            seen = {"name": party.name, "tax_id": party.tax_id, "why": unclear.why}
            now_ms = await self._database.now_ms(connection)
            key = (system, party.code)
            await rows.put_unclear(self._database, connection, key, seen, unclear.candidates, now_ms)

        await self._database.run(work)


async def _is_nobody_elses(connection: AsyncConnection, system: str, party: str, chosen: str) -> None:
    theirs = LookUp("party", system, chosen)
    owner = (await look_up_ours(connection, [theirs])).get(theirs)
    if owner not in (None, party):
        raise Conflict(
            f"the record {chosen} in {system} is our {owner} already",
            hint=f"`crossref merge party {party} {owner}` if they are one; else choose another record",
        )


def _natural_key(party: Party) -> str:
    """Two of ours with one tax id and branch are one over there."""
    return f"{tax_id_of(party.tax_id, party.country)}/{branch_of(party.branch)}"
