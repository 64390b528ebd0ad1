"""A node as a whole: it owns its database, refuses what it cannot work on, and stops when it is told to."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import aiohttp
import pytest

from central.config import Config
from central.db import schema
from central.db.owner import owned
from central.server import listen, make_app, serve
from shared.errors import Busy, ConfigError
from tests.support.centre import enrolled, open_centre


async def test_node_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    """A started node writes its port, answers ready, and ends at SIGTERM."""
    if sys.platform == "win32":
        pytest.skip("no SIGTERM on Windows")
    config = Config(data_dir=tmp_path, port=0)
    await schema.migrate(config.url)
    node = asyncio.create_task(serve(config))
    port = tmp_path / "port"
    async with asyncio.timeout(20):
        while not (port.exists() or node.done()):  # noqa: ASYNC110 -- the file is what a starter looks at
            await asyncio.sleep(0)
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"http://127.0.0.1:{int(port.read_text())}/readyz") as answer,
        ):
            assert answer.status == 200
        os.kill(os.getpid(), signal.SIGTERM)
        await node


async def test_a_node_that_stops_answers_the_stations_that_wait(tmp_path: Path) -> None:
    """A wait for news ends with "nothing new" when the node stops, instead of being cut off after the grace time."""
    config = Config(data_dir=tmp_path, port=0)
    async with open_centre(config.url, tmp_path) as centre, aiohttp.ClientSession() as http:
        runner, port = await listen(make_app(centre), config)
        headers = {"Authorization": f"Bearer {(await enrolled(centre)).token}"}
        url = f"http://127.0.0.1:{port}/v1"
        async with http.get(f"{url}/manifest", headers=headers) as manifest:
            seen = manifest.headers["ETag"]
        waiting = asyncio.create_task(http.get(f"{url}/wait", params={"seen": seen}, headers=headers))
        while not centre.catalog.wakeups.waiting:  # noqa: ASYNC110 -- the request is on its way
            await asyncio.sleep(0)
        await runner.cleanup()
        assert (await waiting).status == 204


async def test_second_process_on_a_database_is_refused(tmp_path: Path) -> None:
    """The one that has the database is named; once it is gone, the next may start."""
    url = Config(data_dir=tmp_path).url
    with owned(url), pytest.raises(Busy, match=str(os.getpid())), owned(url):
        pass
    with owned(url):
        pass


async def test_node_refuses_a_database_of_another_schema(tmp_path: Path) -> None:
    """An empty database is not migrated by a start; the message says what to run."""
    with pytest.raises(ConfigError, match="none"):
        await serve(Config(data_dir=tmp_path, port=0))


async def test_certificate_that_is_of_no_use_is_told(tmp_path: Path) -> None:
    """A node that cannot speak TLS does not speak plain HTTP in its place."""
    wrong = tmp_path / "cert.pem"
    wrong.write_text("no certificate")
    config = Config(data_dir=tmp_path, port=0, tls_cert=wrong, tls_key=wrong)
    await schema.migrate(config.url)
    with pytest.raises(ConfigError, match="cannot be used"):
        await serve(config)
