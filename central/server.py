"""One node as a process: the doors of a `Centre`, its background services, and in which order they start and stop.

A node works on one schema: it refuses to start on another one, and answers 503 when the schema is changed under it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import ssl
from collections.abc import AsyncIterator, Sequence

from aiohttp import web

from central.api.admin import AdminApi
from central.api.catalog import CatalogApi
from central.api.documents import ForeignApi
from central.api.http import mount, refuse_in_our_words
from central.api.stations import StationApi
from central.api.system import SystemApi
from central.api.triggers import TriggersApi
from central.centre import Centre
from central.config import Config
from central.db import schema
from central.db.database import Database
from central.db.owner import owned
from central.tuning import tune
from shared.errors import ConfigError

logger = logging.getLogger(__name__)
STOP_GRACE_S = 3.0
"""Requests under way get so long to end when the server stops; stations come again."""


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
