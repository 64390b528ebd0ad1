"""What another system lacks (a legal form, an industry, a currency, a party) is made there once, whoever asks.

One row per (system, target, value) is claimed before the call, so of all nodes and tasks one makes it. The system is
searched before each making: after a lost answer, or the death of the node that made it, it is found, not made again.
Invariant: a claim outlives the calls that are made under it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from central.connectors.base import NoAnswer, TargetAway, Written
from central.db import parties as rows
from central.db import pulls
from central.db.database import Database
from shared.errors import BadInput

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
        others: Collection[str] = (),
    ) -> str:
        """The id over there of the record whose *field* is *value*, made if there is none.

        Args:
            record: what is made; only *field* when None.
            key: what it is remembered under; *value* when None.
            others: ids of records that bear the value too and are known to be something else.
        Raises:
            BadInput: several records bear the value.
            TargetAway: somebody else is making it; ask again.
        """
        place = (system.name, target, value if key is None else key)
        async with self._database.read() as connection:
            known = await rows.reference(connection, place)
        if known is not None:
            return known
        holder = secrets.token_hex(8)
        lease_ms = round((2 * system.timeout_s + CLAIM_REST_S) * 1000)
        if not await self._database.run(
            lambda connection: rows.claim(self._database, connection, place, holder, lease_ms)
        ):
            raise TargetAway(
                f'{target} "{value}" is being made in {system.name} by another node', retry_after_s=1
            )
        try:
            theirs, made = await self._found_or_made(
                system, target, field, value, {field: value} if record is None else record, others
            )
        except (NoAnswer, TimeoutError):
            raise  # it may come to be yet: nobody looks before the claim is over
        except BaseException:
            await self._database.run(lambda connection: rows.release(connection, place, holder))
            raise

        async def work(connection: AsyncConnection) -> None:
            await rows.there(connection, place, holder, theirs, made=made)
            number = await rows.integration_no(connection, system.name) if made else None
            if number is not None:  # so that it can be taken back (B11)
                now_ms = await self._database.now_ms(connection)
                why = "reference value" if key is None else "party"
                await pulls.note_created(self._database, connection, number, target, [theirs], why, now_ms)

        await self._database.run(work)
        return theirs

    async def _found_or_made(
        self,
        system: Records,
        target: str,
        field: str,
        value: str,
        record: Mapping[str, Any],
        others: Collection[str],
    ) -> tuple[str, bool]:
        async with asyncio.timeout(system.timeout_s):
            found = (await system.find(target, field, [value])).get(value, ())
        left = [one for one in found if one not in others]
        if len(left) > 1:
            raise BadInput(
                f'{len(left)} records of {target} in {system.name} have {field} "{value}": {", ".join(left[:5])}',
                hint="delete all but one over there, and try again",
            )
        if left:
            return left[0], False
        async with asyncio.timeout(system.timeout_s):
            return (await system.create(target, record)).id, True
