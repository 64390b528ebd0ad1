"""What another system lacks (a legal form, an industry, a currency, a party) is made there once, whoever asks.

One row per (system, target, value) is claimed before the call, so of all nodes and tasks one makes it. The system is
searched before each making: after a lost answer, or the death of the node that made it, it is found, not made again.
Invariant: a claim outlives the calls that are made under it, and no record is asked for without one.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from central.connectors.base import NoAnswer, TargetAway, TargetDenies, Written
from central.db import parties as rows
from central.db import pulls
from central.db.database import Database
from shared.errors import BadInput


class BeingMade(TargetAway):
    """Somebody else is making it at this moment, or did when the answer was lost: ask again."""


CLAIM_REST_S = 10.0
"""How much longer than both calls a claim holds."""


class Records(Protocol):
    """What of a connector is used here."""

    @property
    def name(self) -> str: ...

    @property
    def timeout_s(self) -> float: ...

    async def find(
        self, target: str, field_name: str, values: Collection[str]
    ) -> Mapping[str, Sequence[str]]: ...

    async def create(self, target: str, record: Mapping[str, Any]) -> Written: ...


class Once:
    """Makes what is missing in other systems."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def id_of(
        self,
        system: Records,
        target: str,
        field: str,
        value: str,
        record: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        spellings: Collection[str] = (),
        others: Collection[str] = (),
    ) -> str:
        """The id over there of the record whose *field* is *value*, made if there is none.

        Args:
            record: what is made; only *field* when None.
            key: what it is remembered under; *value* when None.
            spellings: of *value*, that the system may have instead.
            others: ids of records that bear the value too and are known to be something else.
        Raises:
            BadInput: several records bear the value.
            BeingMade: somebody else is making it; ask again.
        """
        place = (system.name, target, value if key is None else key)
        async with self._database.read() as connection:
            known = await rows.reference(connection, place)
        if known is not None:
            return known
        holder = secrets.token_hex(8)
        lease_ms = _lease_ms(system)
        if not await self._database.run(
            lambda connection: rows.claim(self._database, connection, place, holder, lease_ms)
        ):
            raise BeingMade(
                f'{target} "{value}" is being made in {system.name} by another node', retry_after_s=1
            )
        wanted = {field: value} if record is None else record
        try:
            theirs = await self._found(system, target, field, [value, *spellings], others)
        except BaseException:
            await self._database.run(lambda connection: rows.release(connection, place, holder))
            raise
        if theirs is None:
            theirs = await self._made(system, target, wanted, place, holder)

        async def work(connection: AsyncConnection) -> None:
            # After a lost answer it is found; it was made by us all the same.
            if await rows.there(connection, place, holder, theirs):
                await self._note(
                    connection, system.name, target, theirs, "reference value" if key is None else "party"
                )

        await self._database.run(work)
        return theirs

    async def recall(self, system: Records, target: str, key: str, theirs: str) -> None:
        """A search has found it: if it was asked for here and the answer was lost, it is known as ours from now on."""

        async def work(connection: AsyncConnection) -> None:
            if await rows.recall(connection, (system.name, target, key), theirs):
                await self._note(connection, system.name, target, theirs, "the answer was lost")

        await self._database.run(work)

    async def _note(
        self, connection: AsyncConnection, system: str, target: str, theirs: str, why: str
    ) -> None:
        """We made it: so that it can be taken back (B11)."""
        number = await rows.integration_no(connection, system)
        if number is not None:
            now_ms = await self._database.now_ms(connection)
            await pulls.note_created(self._database, connection, number, target, [theirs], why, now_ms)

    async def _found(
        self, system: Records, target: str, field: str, values: Sequence[str], others: Collection[str]
    ) -> str | None:
        async with asyncio.timeout(system.timeout_s):
            found = await system.find(target, field, list(dict.fromkeys(values)))
        left = sorted({one for several in found.values() for one in several}.difference(others))
        if len(left) > 1:
            raise BadInput(
                f'{len(left)} records of {target} in {system.name} have {field} "{values[0]}": {", ".join(left[:5])}',
                hint="delete all but one over there, and try again",
            )
        return left[0] if left else None

    async def _made(
        self,
        system: Records,
        target: str,
        record: Mapping[str, Any],
        place: tuple[str, str, str],
        holder: str,
    ) -> str:
        """Make it, after the database knows that we do."""
        lease_ms = _lease_ms(system)
        if not await self._database.run(
            lambda connection: rows.begin(self._database, connection, place, holder, lease_ms)
        ):
            raise BeingMade(f"{target} is being made in {system.name} by another node", retry_after_s=1)
        try:
            async with asyncio.timeout(system.timeout_s):
                return (await system.create(target, record)).id
        except (NoAnswer, TimeoutError):
            raise  # it may come to be yet: nobody looks before the claim is over
        except (TargetAway, TargetDenies, BadInput):
            await self._database.run(lambda connection: rows.give_up(connection, place, holder))
            raise


def _lease_ms(system: Records) -> int:
    return round((2 * system.timeout_s + CLAIM_REST_S) * 1000)
