"""One rate budget per credential, in the database: shared by all integrations that name it, and by all nodes.

Performs what `budget.py` computes. An integration without a budget is never held up here.
"""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from central.db import budgets as rows
from central.db.database import Database
from central.integrations import budget
from central.integrations.budget import Allowance, Bucket
from central.integrations.definition import Budget
from central.integrations.integration import Integration


class Budgets:
    """What is left of each credential."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def spend(self, wanted: Budget | None, calls: int) -> float:
        """Take *calls* of a credential; returns the seconds to wait where there are not so many (0: taken)."""
        if wanted is None:
            return 0.0
        allowance = _allowance(wanted)

        async def work(connection: AsyncConnection) -> float:
            now_ms = await self._database.now_ms(connection)
            row = await rows.lock(self._database, connection, wanted.credential, allowance.capacity_micro)
            if row.paused_until_ms > now_ms:
                return float(row.paused_until_ms - now_ms) / 1000
            bucket, wait_s = budget.spend(allowance, Bucket(row.calls_micro, row.at_ms), now_ms, calls)
            if not wait_s:
                await rows.put(connection, wanted.credential, *bucket)
            return wait_s

        return await self._database.run(work)

    async def settle(self, wanted: Budget | None, calls: int) -> None:
        """Tell how many more calls were made than were spent (below 0: fewer)."""
        if wanted is None or not calls:
            return
        allowance = _allowance(wanted)

        async def work(connection: AsyncConnection) -> None:
            now_ms = await self._database.now_ms(connection)
            row = await rows.lock(self._database, connection, wanted.credential, allowance.capacity_micro)
            bucket = budget.settle(allowance, Bucket(row.calls_micro, row.at_ms), now_ms, calls)
            await rows.put(connection, wanted.credential, *bucket)

        await self._database.run(work)

    async def rest(self, wanted: Budget | None, until_ms: int) -> None:
        """The other system told this credential to come back later: all who use it do."""
        if wanted is None:
            return
        allowance = _allowance(wanted)

        async def work(connection: AsyncConnection) -> None:
            await rows.lock(self._database, connection, wanted.credential, allowance.capacity_micro)
            await rows.pause(connection, wanted.credential, until_ms)

        await self._database.run(work)

    async def resume(self, wanted: Budget | None) -> None:
        """Somebody at HQ ends the rest."""
        if wanted is not None:
            async with self._database.write() as connection:
                await rows.resume(connection, wanted.credential)


def budget_of(one: Integration) -> Budget | None:
    """The budget that an integration works with, if it states one."""
    return one.definition.budget


def _allowance(wanted: Budget) -> Allowance:
    return Allowance(wanted.calls, wanted.per_s, wanted.leave)
