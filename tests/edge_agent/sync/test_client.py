"""The gate that every answer passes: only the centre's own answer to this very request moves anything."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from edge_agent.sync import client as module
from edge_agent.sync.client import CentreClient, Refused, Route
from shared.canonical import canonical
from shared.errors import ConnectionFailed, CounterflowError
from shared.protocol import problems, wire
from tests.support.processes import free_port

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
SNAPSHOT = bytes(range(256)) * 4096
SNAPSHOT_SHA256 = hashlib.sha256(SNAPSHOT).hexdigest()


@asynccontextmanager
async def served(handler: Handler) -> AsyncIterator[CentreClient]:
    """A client whose centre is *handler*."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, auto_decompress=False, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    client = CentreClient(Route(f"http://{host}:{port}"))
    try:
        yield client
    finally:
        await client.close()
        await runner.cleanup()


def ours(
    request: web.Request, body: bytes, status: int = 200, media: str = "application/json"
) -> web.Response:
    packed, headers = wire.pack(body)
    headers[wire.REQUEST_ID_HEADER] = request.headers[wire.REQUEST_ID_HEADER]
    return web.Response(body=packed, status=status, headers={**headers, "Content-Type": media})


async def test_an_answer_of_the_centre_comes_back_unpacked() -> None:
    """Compression and frame are undone before anybody sees the body."""
    body = canonical({"text": "x" * 5_000})

    async def centre(request: web.Request) -> web.Response:
        return ours(request, body)

    async with served(centre) as client:
        answer = await client.request("GET", "/v1/hello")
        assert (answer.status, answer.body) == (200, body)


async def portal(request: web.Request) -> web.Response:
    return web.Response(text="<h1>Guest Wi-Fi</h1>", content_type="text/html")


async def login(request: web.Request) -> web.Response:
    return web.Response(status=302, headers={"Location": "http://portal.invalid/"})


async def bad_gateway(request: web.Request) -> web.Response:
    return web.Response(status=502, text="upstream is away")


async def other_request(request: web.Request) -> web.Response:
    answer = ours(request, b"{}")
    answer.headers[wire.REQUEST_ID_HEADER] = "another"
    return answer


async def flipped(request: web.Request) -> web.Response:
    answer = ours(request, b'{"acked_seq": 1}')
    answer.body = b'{"acked_seq": 9}'
    return answer


async def bomb(request: web.Request) -> web.Response:
    return ours(request, b"0" * (module.ANSWER_MAX_RAW_BYTES + 1))


async def flood(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    for _ in range(module.ANSWER_MAX_BYTES // (1 << 20) + 1):
        await answer.write(b"x" * (1 << 20))
    return answer


async def error_page(request: web.Request) -> web.Response:
    return ours(request, b"<h1>500</h1>", status=500, media="text/html")


async def garbled(request: web.Request) -> web.Response:
    return ours(request, b'{"nonce": ')


STRANGERS = [portal, login, bad_gateway, other_request, flipped, bomb, flood, error_page, garbled]


@pytest.mark.parametrize("stranger", STRANGERS, ids=lambda handler: handler.__name__)
async def test_what_is_not_surely_the_centres_is_a_failure_of_the_network(stranger: Handler) -> None:
    """Portals, redirects, other answers, changed bytes and bombs are never taken for an answer."""
    async with served(stranger) as client:
        with pytest.raises(ConnectionFailed):
            await client.hello()


async def test_a_cut_body_is_a_failure_of_the_network() -> None:
    """The connection ends before the announced length."""

    async def cut(request: web.Request) -> web.StreamResponse:
        whole = ours(request, b'{"nonce": "n"}')
        answer = web.StreamResponse(headers={**whole.headers, "Content-Length": "4000"})
        await answer.prepare(request)
        await answer.write(b"{")
        assert request.transport is not None
        request.transport.abort()
        return answer

    async with served(cut) as client:
        with pytest.raises(ConnectionFailed):
            await client.hello()


async def test_nobody_there_is_a_failure_of_the_network() -> None:
    """A refused connection says which server it was."""
    client = CentreClient(Route(f"http://127.0.0.1:{free_port()}"))
    with pytest.raises(ConnectionFailed, match=r"127\.0\.0\.1"):
        await client.hello()
    await client.close()


async def test_silence_ends() -> None:
    """A server that says nothing is given up after the time of the request."""

    async def silent(request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with served(silent) as client:
        with pytest.raises(ConnectionFailed, match="in time"):
            await client.request("GET", "/v1/hello", timeout_s=0.05)


async def test_a_problem_of_the_centre_keeps_its_name_and_its_pause() -> None:
    """`Refused` tells the problem's stable name, its fields, and when to come back."""

    async def refusing(request: web.Request) -> web.Response:
        error = CounterflowError("position 9 is missing", code="gap", last=8, head="ab")
        answer = ours(request, problems.problem_bytes(error), status=409, media=problems.CONTENT_TYPE)
        answer.headers["Retry-After"] = "7"
        return answer

    async with served(refusing) as client:
        with pytest.raises(Refused) as caught:
            await client.hello()
        assert caught.value.name == "gap"
        assert caught.value.problem["last"] == 8
        assert (caught.value.http_status, caught.value.retry_after_s) == (409, 7.0)


async def test_a_request_carries_the_frame() -> None:
    """Request id, protocol version and digest go with every request; bodies are packed."""
    seen: dict[str, str] = {}
    received = b""

    async def centre(request: web.Request) -> web.Response:
        nonlocal received
        received = await request.read()
        wire.check_digest(received, request.headers)
        seen.update(request.headers)
        return ours(request, b"{}")

    body = canonical({"text": "y" * 5_000})
    async with served(centre) as client:
        await client.request("POST", "/v1/x", body=body, token="t")
    assert seen["Authorization"] == "Bearer t"
    assert seen[wire.PROTOCOL_HEADER] == "1"
    assert wire.unpack(received, seen["Content-Encoding"], 1 << 20) == body


class SnapshotServer:
    """Serves one file with Range; cuts the first answer after some bytes."""

    def __init__(self, cut_after: int | None = None, content: bytes = SNAPSHOT) -> None:
        self.cut_after = cut_after
        self.content = content
        self.ranges: list[str | None] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        asked = request.headers.get("Range")
        self.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        headers = {"Content-Length": str(len(self.content) - start)}
        if asked:
            headers["Content-Range"] = f"bytes {start}-{len(self.content) - 1}/{len(self.content)}"
        answer = web.StreamResponse(status=206 if asked else 200, headers=headers)
        await answer.prepare(request)
        cut, self.cut_after = self.cut_after, None
        await answer.write(self.content[start : start + cut] if cut else self.content[start:])
        if cut:
            assert request.transport is not None
            request.transport.close()
        return answer


async def test_a_snapshot_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """What has arrived is not fetched twice, and the whole is right."""
    server = SnapshotServer()
    target = tmp_path / "base.db"
    target.with_name("base.db.part").write_bytes(SNAPSHOT[:300_000])
    async with served(server.answer) as client:
        await client.snapshot("t", SNAPSHOT_SHA256, target)
    assert server.ranges == ["bytes=300000-"]
    assert target.read_bytes() == SNAPSHOT


async def test_a_cut_snapshot_is_asked_for_again(tmp_path: Path) -> None:
    """The cut is told as a failure of the network; the next try ends with the right file."""
    server = SnapshotServer(cut_after=500_000)
    target = tmp_path / "base.db"
    async with served(server.answer) as client:
        with pytest.raises(ConnectionFailed):
            await client.snapshot("t", SNAPSHOT_SHA256, target)
        await client.snapshot("t", SNAPSHOT_SHA256, target)
    assert target.read_bytes() == SNAPSHOT


@pytest.mark.parametrize("content", [b"<h1>Guest Wi-Fi</h1>", SNAPSHOT[:-1] + b"x"])
async def test_another_file_is_thrown_away(tmp_path: Path, content: bytes) -> None:
    """A portal's page or a changed byte leaves nothing behind that could be gone on with."""
    async with served(SnapshotServer(content=content).answer) as client:
        with pytest.raises(ConnectionFailed, match="SHA-256"):
            await client.snapshot("t", SNAPSHOT_SHA256, tmp_path / "base.db")
    assert os.listdir(tmp_path) == []


async def test_a_snapshot_larger_than_offered_is_cut_off(tmp_path: Path) -> None:
    """A wrong server cannot fill the till's disk."""
    async with served(SnapshotServer().answer) as client:
        with pytest.raises(ConnectionFailed, match="beyond"):
            await client.snapshot("t", SNAPSHOT_SHA256, tmp_path / "base.db", size_bytes=1_000)


def test_a_broken_certificate_file_is_told(tmp_path: Path) -> None:
    """The message names the file, before any connection is tried."""
    path = tmp_path / "ca.pem"
    path.write_text("no certificate")
    with pytest.raises(CounterflowError, match=r"ca\.pem"):
        module.tls_context(Route("https://hq", path))
