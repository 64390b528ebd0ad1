"""The centre dies while it takes a foreign system's document: sent again under its key, it is there once."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path

import aiohttp
import orjson
import pytest

from central.centre import Centre
from central.config import Config
from central.db import schema
from central.keys import Binding
from central.verify import verify
from tests.support.centre import count
from tests.support.foreign import OUTLET, SOURCE, add_outlet, submitted
from tests.support.processes import Process, free_port, python
from tests.support.template import Templates

DOCUMENTS = 8


async def post(url: str, key: str, number: str) -> tuple[int, bytes]:
    headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": number, "Accept-Encoding": "identity"}
    body = orjson.dumps(submitted(number))
    async with (
        aiohttp.ClientSession(auto_decompress=False) as http,
        http.post(f"{url}/v1/documents", data=body, headers=headers) as answer,
    ):
        return answer.status, await answer.read()


@pytest.mark.faults
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
@pytest.mark.parametrize("point", ["foreign.before_commit", "foreign.after_commit"])
async def test_killed_intake_takes_a_document_once(
    point: str, tmp_path: Path, processes: Callable[..., Process], templates: Templates
) -> None:
    """The answer that was lost is the answer to the repeated request, byte for byte."""
    config = Config(data_dir=tmp_path / "centre", port=free_port())
    config.data_dir.mkdir()
    await schema.migrate(config.url)
    centre = await Centre.open(config)
    await add_outlet(centre)
    await centre.sources.add(SOURCE, who="test")
    key = await centre.keys.create("shop", "documents", Binding(source=SOURCE, outlet=OUTLET), who="test")
    await centre.close()

    url = f"http://127.0.0.1:{config.port}"
    env = {"COUNTERFLOW_CENTRAL_DATA_DIR": str(config.data_dir), "COUNTERFLOW_CENTRAL_PORT": str(config.port)}
    process = processes("centre", python("-m", "central.cli", "run"), env=env, template=templates.centre)
    await process.wait_until_healthy(url)
    for n in range(DOCUMENTS):
        if n % 4 == 0:
            process.kill()
            process.env["COUNTERFLOW_FAULTPOINT"] = point
            process.start()
            await process.wait_until_healthy(url)
            with pytest.raises(aiohttp.ClientError):
                await post(url, key, str(n))
            assert await process.wait(deadline_s=30) == -signal.SIGKILL
            del process.env["COUNTERFLOW_FAULTPOINT"]
            process.start()
            await process.wait_until_healthy(url)
        first = await post(url, key, str(n))
        assert first[0] == 201
        assert await post(url, key, str(n)) == first
    await process.stop()

    centre = await Centre.open(config)
    try:
        await centre.applier.drain()
        assert await count(centre, "bodies") == await count(centre, "papers") == DOCUMENTS
        assert (await verify(centre.database)).findings == []
    finally:
        await centre.close()
