"""The centre put together: which parts there are, and what each is given.

Nothing is decided here. Rule: parts know each other through `Centre` only where they must; tests build one with
`Centre.open` on a database of their own and need no sockets. `server.py` opens its doors.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Protocol, Self

from central.catalog.room import CatalogRoom
from central.config import Config
from central.db import registry
from central.db.database import Database
from central.deliveries.desk import Desk
from central.deliveries.group_desk import GroupDesk
from central.deliveries.matching import Matches
from central.deliveries.run import DeliveryRunner
from central.identities import KeyIdentity, StationIdentity
from central.intake.accept import JournalIntake
from central.intake.answers import OldAnswers
from central.intake.apply import Applier
from central.intake.foreign import ForeignDocuments
from central.intake.held import HeldDocuments
from central.intake.numbers import DocNumbers
from central.intake.parked import Parked
from central.intake.safety import SafeByAge
from central.intake.sources import Sources
from central.integrations.catalog_records import CatalogRecords
from central.integrations.checks import Checks
from central.integrations.imports import FileImports
from central.integrations.ports import ports_of
from central.integrations.pulls import Pulls
from central.integrations.registry import Integrations
from central.integrations.triggers import Triggers
from central.integrations.versions import Versions
from central.integrations.watch import WatchedFolder
from central.keys import ApiKeys
from central.monitoring.metrics import Metrics
from central.registry.enrolment import Enrolment
from central.registry.secrets import SECRET_BYTES, Session
from central.registry.sessions import Sessions
from central.registry.stores import Registry
from shared.clock import Clock, SystemClock


class Service(Protocol):
    """A part that works on by itself until it is cancelled."""

    async def run(self) -> None: ...


class Centre:
    """All parts of one node. Built by `open`."""

    def __init__(
        self, config: Config, database: Database, clock: Clock, secret: bytes, centre_id: str
    ) -> None:
        self.config = config
        self.database = database
        self.clock = clock
        self.centre_id = centre_id
        self.node = secrets.token_hex(8)
        # who there is
        self.keys = ApiKeys(database)
        self.sessions = Sessions(database, secret, centre_id, config.minimum_agent)
        self.enrolment = Enrolment(database, centre_id)
        self.registry = Registry(database, self.enrolment)
        # documents: in, applied, out
        self.integrations = Integrations(database, clock)
        self.applier = Applier(database, clock, self.integrations.targets)
        self.parked = Parked(database, self.integrations.targets)
        self.held = HeldDocuments(database)
        numbers = DocNumbers()
        self.intake = JournalIntake(database, numbers, self.applier.hand_over)
        self.foreign = ForeignDocuments(database, numbers, centre_id, self.applier.hand_over)
        self.catalog_records = CatalogRecords(
            database, self.integrations, self.foreign, clock, node=self.node
        )
        self.sources = Sources(database)
        self.old_answers = OldAnswers(database, clock)
        self.safety = SafeByAge(database, clock, config.safe_after_days)
        self.deliveries = DeliveryRunner(
            database, self.integrations, clock, node=self.node, wake=self.applier.applied
        )
        self.matches = Matches(
            database,
            self.integrations,
            clock,
            self.deliveries.budgets,
            node=self.node,
            wake=self.deliveries.waits,
            found=self.applier.applied,
        )
        self.desk = Desk(database, self.integrations)
        self.group_desk = GroupDesk(database, self.integrations)
        # the catalog: in, published, down
        self.catalog = CatalogRoom(database, clock, config.data_dir, self.node)
        self.publisher = self.catalog.publisher
        self.rollouts = self.catalog.rollouts
        self.wakeups = self.catalog.wakeups
        self.ports = ports_of(database, self.publisher, self.foreign, clock)
        self.pulls = Pulls(self.ports, self.integrations, clock, node=self.node)
        self.versions = Versions(database, self.integrations)
        self.checks = Checks(database, self.integrations, clock, node=self.node)
        self.watched = (
            [WatchedFolder(config.integrations_dir, self.versions, clock)] if config.integrations_dir else []
        )
        self.triggers = Triggers(self.integrations, self.pulls, self.keys)
        self.imports = FileImports(database, self.integrations, self.publisher, clock, node=self.node)
        self.imports.listeners.append(self.pulls.list_taken)
        self.metrics = Metrics()

    @classmethod
    async def open(cls, config: Config, clock: Clock | None = None) -> Self:
        """Put the parts together on a database whose schema is there."""
        database = Database(config.url, pool_size=config.database_connections)
        try:
            async with database.write() as connection:
                secret = await registry.meta_value(
                    database, connection, "secret", secrets.token_hex(SECRET_BYTES)
                )
                centre_id = await registry.meta_value(database, connection, "centre", secrets.token_hex(16))
            centre = cls(config, database, clock or SystemClock(), bytes.fromhex(secret), centre_id)
            await centre.integrations.load()
        except BaseException:
            await database.close()
            raise
        return centre

    async def close(self) -> None:
        await self.intake.close()
        await self.database.close()

    def services(self) -> Sequence[Service]:
        """What runs in the background as long as the server does."""
        return [
            self.applier,
            self.safety,
            self.old_answers,
            self.integrations,
            self.catalog_records,
            self.deliveries,
            self.matches,
            self.imports,
            self.pulls,
            self.checks,
            *self.watched,
            self.catalog,
        ]

    def codes_changed(self) -> None:
        """HQ said what a code is, or decided about a party: what waited for it goes on at once."""
        self.applier.applied.set()
        self.matches.look_now()

    # ---- who calls (central.api.http.Authenticator) ----

    async def station(self, token: str) -> StationIdentity:
        return await self.sessions.authenticate(token)

    def session(self, token: str) -> Session:
        return self.sessions.session(token)

    async def key(self, key: str) -> KeyIdentity:
        return await self.keys.authenticate(key)
