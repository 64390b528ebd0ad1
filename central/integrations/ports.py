"""What pulls work with, as the centre has it: cross-reference, door for documents, rate budget."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy.ext.asyncio import AsyncConnection

from central import codes
from central.db.database import Database
from central.intake.foreign import ForeignDocuments
from central.integrations.budgets import Budgets
from central.integrations.documents import PulledDocuments
from central.integrations.integration import Integration
from central.integrations.pull_run import Ports
from central.integrations.taking import PublishPort
from central.mapping.lookups import LookUp
from shared.clock import Clock


class OurCodes:
    """Their codes in, ours out; what nobody knows goes on the list of the unmatched."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def look_up(self, connection: AsyncConnection, wanted: Collection[LookUp]) -> Mapping[LookUp, str]:
        return await codes.look_up_ours(connection, wanted)

    async def miss(self, wanted: Collection[LookUp]) -> None:
        async def work(connection: AsyncConnection) -> None:
            await codes.miss(self._database, connection, wanted, way="in")

        await self._database.run(work)

    async def learn(self, system: str, kind: str, pairs: Collection[tuple[str, str]], by: str) -> None:
        matches = [codes.Match(kind, ours, theirs) for ours, theirs in pairs]

        async def work(connection: AsyncConnection) -> None:
            await codes.note(self._database, connection, system, matches, by=by)

        await self._database.run(work)


class Paced:
    """Reads share the credential's budget with deliveries and with other nodes."""

    def __init__(self, budgets: Budgets, clock: Clock) -> None:
        self._budgets = budgets
        self._clock = clock

    async def __call__(self, integration: Integration) -> None:
        while wait_s := await self._budgets.spend(integration.definition.budget, 1):
            await self._clock.sleep(wait_s)


def ports_of(database: Database, publisher: PublishPort, foreign: ForeignDocuments, clock: Clock) -> Ports:
    """The centre's own."""
    return Ports(
        database, publisher, OurCodes(database), PulledDocuments(foreign), Paced(Budgets(database), clock)
    )
