"""The centre put together: which parts there are, what each is given, and in which order they start and stop.

Nothing is decided here. Rule: parts know each other through `Centre` only where they must; tests build one with
`Centre.open` on a database of their own and need no sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import signal
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, Self

from aiohttp import web

from central.api.http import KeyIdentity, StationIdentity, mount
from central.api.stations import StationApi
from central.config import Config
from central.db import registry
from central.db.database import Database
from central.intake.accept import JournalIntake
from central.intake.apply import Applier
from central.intake.parked import Parked
from central.registry.enrolment import Enrolment
from central.registry.secrets import SECRET_BYTES, Session
from central.registry.sessions import Sessions
from shared.clock import Clock, SystemClock
from shared.errors import ConfigError, NotAuthenticated

logger = logging.getLogger(__name__)
STOP_GRACE_S = 5.0
"""Requests under way get so long to end when the server stops; long polls are cut at once."""


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
        self.sessions = Sessions(database, secret, centre_id)
        self.enrolment = Enrolment(database, centre_id)
        self.applier = Applier(database, clock, lambda kind: ())
        self.parked = Parked(database, lambda kind: ())
        self.intake = JournalIntake(database, self.applier.hand_over)

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
            return cls(config, database, clock or SystemClock(), bytes.fromhex(secret), centre_id)
        except BaseException:
            await database.close()
            raise

    async def close(self) -> None:
        await self.intake.close()
        await self.database.close()

    def services(self) -> Sequence[Service]:
        """What runs in the background as long as the server does."""
        return [self.applier]

    # ---- who calls (central.api.http.Authenticator) ----

    async def station(self, token: str) -> StationIdentity:
        return await self.sessions.authenticate(token)

    def session(self, token: str) -> Session:
        return self.sessions.session(token)

    async def key(self, key: str) -> KeyIdentity:
        raise NotAuthenticated("there are no API keys yet")


def make_app(centre: Centre) -> web.Application:
    """All doors of one node. Serve it with `auto_decompress=False`: bodies are bounded and checked by us."""
    app = web.Application()
    for api in (StationApi(centre),):
        mount(app, api, centre)
    return app


@contextlib.asynccontextmanager
async def running(centre: Centre):  # type: ignore[no-untyped-def]
    """Run the background services for the length of the block."""
    tasks = [asyncio.create_task(service.run(), name=type(service).__name__) for service in centre.services()]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


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
    """Run one node until SIGTERM or SIGINT."""
    centre = await Centre.open(config)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):  # Windows
            loop.add_signal_handler(name, stop.set)
    try:
        async with running(centre):
            runner, port = await listen(make_app(centre), config)
            _write_port(config.data_dir, port)
            logger.info(
                "centre_listening", extra={"host": config.host, "port": port, "tls": bool(config.tls_cert)}
            )
            try:
                await stop.wait()
            finally:
                await runner.cleanup()
    finally:
        await centre.close()


def _write_port(data_dir: Path, port: int) -> None:
    data_dir.mkdir(parents=True, exist_ok=True)
    (data_dir / "port").write_text(f"{port}\n", encoding="ascii")


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
