"""The centre put together: which parts there are, what each is given, and in which order they start and stop.

Nothing is decided here. Rule: parts know each other through `Centre` only where they must; tests build one with
`Centre.open` on a database of their own and need no sockets. A node works on one schema: it refuses to start on
another one, and answers 503 when the schema is changed under it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import signal
import ssl
from collections.abc import AsyncIterator, Sequence
from typing import Protocol, Self

from aiohttp import web

from central.api.admin import AdminApi
from central.api.catalog import CatalogApi
from central.api.documents import ForeignApi
from central.api.http import KeyIdentity, StationIdentity, mount, refuse_in_our_words
from central.api.stations import StationApi
from central.api.system import SystemApi
from central.api.triggers import TriggersApi
from central.catalog.room import CatalogRoom
from central.config import Config
from central.db import registry, schema
from central.db.database import Database
from central.db.owner import owned
from central.deliveries.desk import Desk
from central.deliveries.run import DeliveryRunner
from central.intake.accept import JournalIntake
from central.intake.answers import OldAnswers
from central.intake.apply import Applier
from central.intake.foreign import ForeignDocuments
from central.intake.held import HeldDocuments
from central.intake.numbers import DocNumbers
from central.intake.parked import Parked
from central.intake.safety import SafeByAge
from central.intake.sources import Sources
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
from central.tuning import tune
from shared.clock import Clock, SystemClock
from shared.errors import ConfigError

logger = logging.getLogger(__name__)
STOP_GRACE_S = 3.0
"""Requests under way get so long to end when the server stops; stations come again."""


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
        self.sources = Sources(database)
        self.old_answers = OldAnswers(database, clock)
        self.safety = SafeByAge(database, clock, config.safe_after_days)
        self.deliveries = DeliveryRunner(
            database, self.integrations, clock, node=self.node, wake=self.applier.applied
        )
        self.desk = Desk(database, self.integrations)
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
            self.deliveries,
            self.imports,
            self.pulls,
            self.checks,
            *self.watched,
            self.catalog,
        ]

    # ---- who calls (central.api.http.Authenticator) ----

    async def station(self, token: str) -> StationIdentity:
        return await self.sessions.authenticate(token)

    def session(self, token: str) -> Session:
        return self.sessions.session(token)

    async def key(self, key: str) -> KeyIdentity:
        return await self.keys.authenticate(key)


def make_app(centre: Centre) -> web.Application:
    """All doors of one node. Serve it with `auto_decompress=False`: bodies are bounded and checked by us."""
    app = web.Application(middlewares=[centre.metrics.middleware, refuse_in_our_words])
    apis = (
        StationApi(centre),
        ForeignApi(centre),
        TriggersApi(centre),
        CatalogApi(centre.catalog),
        AdminApi(centre),
        SystemApi(centre),
    )
    for api in apis:
        mount(app, api, centre)

    async def end_waits(_: web.Application) -> None:
        centre.catalog.wakeups.end_all()

    app.on_shutdown.append(end_waits)  # or stopping would take as long as requests may be under way
    return app


@contextlib.asynccontextmanager
async def running(centre: Centre) -> AsyncIterator[Sequence[asyncio.Task[None]]]:
    """Run the background services for the length of the block."""
    tasks = [asyncio.create_task(service.run(), name=type(service).__name__) for service in centre.services()]
    try:
        yield tasks
    finally:
        left = set(tasks)
        while left:
            for task in left:
                task.cancel()
            # Again if need be: a cancellation that meets a rollback may be used up by it.
            _, left = await asyncio.wait(left, timeout=STOP_GRACE_S)


async def listen(app: web.Application, config: Config) -> tuple[web.AppRunner, int]:
    """Open the door; returns the runner (to clean up) and the port."""
    runner = web.AppRunner(app, auto_decompress=False, access_log=None, shutdown_timeout=STOP_GRACE_S)
    await runner.setup()
    site = web.TCPSite(runner, config.host, config.port, ssl_context=_tls(config), backlog=1_024)
    try:
        await site.start()
    except OSError as error:
        await runner.cleanup()
        raise ConfigError(f"cannot listen on {config.host}:{config.port}: {error.strerror}") from None
    return runner, runner.addresses[0][1]


async def serve(config: Config) -> None:
    """Run one node until SIGTERM or SIGINT.

    Raises:
        Busy: another process owns the SQLite database.
        ConfigError: the database has another schema, the port is taken, the certificate is of no use.
        RuntimeError: a background service ended; nothing should go on without it.
    """
    config.data_dir.mkdir(parents=True, exist_ok=True)
    tune()
    with owned(config.url):
        await _check_schema(config)
        centre = await Centre.open(config)
        try:
            async with running(centre) as services:
                runner, port = await listen(make_app(centre), config)
                (config.data_dir / "port").write_text(f"{port}\n", encoding="ascii")
                logger.info(
                    "centre_listening",
                    extra={"host": config.host, "port": port, "tls": bool(config.tls_cert)},
                )
                try:
                    await _until_stopped(services)
                finally:
                    await runner.cleanup()
        finally:
            await centre.close()


async def _check_schema(config: Config) -> None:
    database = Database(config.url)
    try:
        async with database.read() as connection:
            found = await schema.current(connection)
    finally:
        await database.close()
    if found != schema.HEAD:
        raise ConfigError(
            f"the database has schema {found or '(none)'}, this version needs {schema.HEAD}",
            hint="run `counterflow-central migrate` (`init` for a new one)",
        )


async def _until_stopped(services: Sequence[asyncio.Task[None]]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):  # Windows
            loop.add_signal_handler(name, stop.set)
    asked = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait({asked, *services}, return_when=asyncio.FIRST_COMPLETED)
    if asked in done:
        return
    asked.cancel()
    ended = next(iter(done))
    raise RuntimeError(f"the service {ended.get_name()} ended") from ended.exception()


def _tls(config: Config) -> ssl.SSLContext | None:
    if config.tls_cert is None or config.tls_key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(config.tls_cert, config.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"the certificate {config.tls_cert} with the key {config.tls_key} cannot be used: {error}",
            hint="both must be PEM files and belong together",
        ) from None
    return context
