"""The doors of the upward line over real HTTP: framed answers, and refusals that say what was wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from central.config import Config
from central.server import listen, make_app
from shared.protocol import framing, wire
from tests.support.centre import HandStation, add_station, enrolled, open_centre
from tests.support.sales import sale


class Door:
    """A client that sends what it is told and checks that the answer is ours."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http, self._url = http, url

    async def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, Any]:
        packed, frame = wire.pack(body)
        sent = {**frame, wire.REQUEST_ID_HEADER: "r1", **{k.replace("_", "-"): v for k, v in headers.items()}}
        async with self._http.request(method, self._url + path, data=packed, headers=sent) as answer:
            raw = await answer.read()
            wire.check_answer(answer.status, answer.headers, raw, "r1")
            text = wire.unpack(raw, answer.headers.get("Content-Encoding"), 1 << 20)
            return answer.status, orjson.loads(text.split(b"\n")[0])


@asynccontextmanager
async def served(tmp_path: Path) -> AsyncIterator[tuple[Any, Door]]:
    async with open_centre(f"sqlite+aiosqlite:///{tmp_path / 'c.db'}", tmp_path) as centre:
        runner, port = await listen(make_app(centre), Config(data_dir=tmp_path, port=0))
        try:
            async with aiohttp.ClientSession(auto_decompress=False) as http:
                yield centre, Door(http, f"http://127.0.0.1:{port}")
        finally:
            await runner.cleanup()


async def test_station_enrols_signs_in_pushes_and_reads_back(tmp_path: Path) -> None:
    """The whole upward line by its wire, from the code to the history."""
    async with served(tmp_path) as (centre, door):
        station = HandStation("T-1")
        code = await add_station(centre)
        request = orjson.dumps({"code": code, "public_key": station.public_key.hex()})
        assert (await door.ask("POST", "/v1/enroll", request))[1]["station"] == "T-1"
        nonce = (await door.ask("GET", "/v1/hello"))[1]["nonce"]
        _, session = await door.ask("POST", "/v1/session", orjson.dumps(station.session_request(nonce)))
        bearer = f"Bearer {session['token']}"
        body = framing.join(*station.batch([sale(1), sale(2)]))
        status, acked = await door.ask("POST", "/v1/journal", body, Authorization=bearer)
        assert (status, acked["acked_seq"], acked["acked_head"]) == (200, 2, station.head.hex())
        path = f"/v1/journal?epoch={station.epoch.hex()}&after=0"
        status, page = await door.ask("GET", path, Authorization=bearer)
        assert (status, page["count"], page["last_head"]) == (200, 2, station.head.hex())


async def test_refusals_have_their_names(tmp_path: Path) -> None:
    """No credential, a forged one, a cut body and a gap are told apart, and store nothing."""
    async with served(tmp_path) as (centre, door):
        station = await enrolled(centre)
        bearer = f"Bearer {station.token}"
        station.batch([sale(1)])
        body = framing.join(*station.batch([sale(2)]))
        for headers, status, name in (
            ({}, 401, "not-authenticated"),
            ({"Authorization": "Bearer forged"}, 401, "not-authenticated"),
            ({"Authorization": bearer, "Content_Digest": wire.content_digest(b"x")}, 422, "wrong-digest"),
            ({"Authorization": bearer}, 409, "gap"),
        ):
            found, problem = await door.ask("POST", "/v1/journal", body, **headers)
            assert (found, problem["type"].rpartition(":")[2]) == (status, name)
