"""The misbehaving network: each fault does what its name says, and counts that it was reached."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest
from aiohttp import web

from tests.support.processes import Process, free_port, python
from tests.support.proxy import MODES, FaultProxy

GONE = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError)


class Centre:
    """A centre of three pages that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.waiting = asyncio.Event()
        self.left = asyncio.Event()
        self.port = 0

    async def push(self, request: web.Request) -> web.Response:
        self.told.append(await request.text())
        return web.Response(text=f"stored {len(self.told)}")

    async def feed(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        for part in (b"one\n", b"two\n" * 1000, b"three\n"):
            await answer.write(part)
        return answer

    async def wait(self, _request: web.Request) -> web.Response:
        self.waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.left.set()
        raise AssertionError

    async def healthz(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok")


@pytest.fixture
async def centre() -> AsyncIterator[Centre]:
    it = Centre()
    app = web.Application()
    app.add_routes([web.post("/push", it.push), web.get("/feed", it.feed), web.get("/wait", it.wait)])
    app.add_routes([web.get("/healthz", it.healthz)])
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    it.port = runner.addresses[0][1]
    yield it
    await runner.cleanup()


@pytest.fixture
async def proxy(centre: Centre) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(f"127.0.0.1:{centre.port}") as it:
        yield it


@pytest.fixture
async def station(proxy: FaultProxy) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(proxy.url, timeout=aiohttp.ClientTimeout(total=20)) as it:
        yield it


async def push(station: aiohttp.ClientSession, text: str = "sale") -> str:
    async with station.post("/push", data=text) as answer:
        return await answer.text()


async def test_everything_passes_over_one_connection(
    station: aiohttp.ClientSession, proxy: FaultProxy
) -> None:
    assert [await push(station), await push(station)] == ["stored 1", "stored 2"]
    async with station.get("/feed") as answer:
        assert len(await answer.read()) == 4 + 4000 + 6
    assert proxy.counters.connections == 1
    assert proxy.counters.requests == proxy.counters.forwarded == proxy.counters.delivered == 3
    assert proxy.counters.reached == {"pass": 3}


async def test_chunked_request_passes(station: aiohttp.ClientSession, centre: Centre) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"half a "
        yield b"sale"

    async with station.post("/push", data=parts()) as answer:
        assert answer.status == 200
    assert centre.told == ["half a sale"]


async def test_cut_resets_open_and_new_connections(
    station: aiohttp.ClientSession, proxy: FaultProxy, centre: Centre
) -> None:
    waiting = asyncio.create_task(station.get("/wait"))
    await centre.waiting.wait()
    proxy.mode("cut")
    with pytest.raises(GONE):
        await waiting
    with pytest.raises(GONE):
        await push(station)
    assert centre.told == []
    proxy.mode("pass")
    assert await push(station) == "stored 1"


async def test_stopped_proxy_refuses_and_comes_back_at_its_port(
    station: aiohttp.ClientSession, proxy: FaultProxy
) -> None:
    url = proxy.url
    await proxy.stop()
    with pytest.raises(aiohttp.ClientConnectorError):
        await push(station)
    await proxy.start()
    assert proxy.url == url
    assert await push(station) == "stored 1"


async def test_dropped_answer_was_stored_all_the_same(
    station: aiohttp.ClientSession, proxy: FaultProxy, centre: Centre
) -> None:
    proxy.mode("drop_answer", times=1)
    with pytest.raises(GONE):
        await push(station)
    assert centre.told == ["sale"]
    assert (proxy.counters.answers, proxy.counters.delivered) == (1, 0)
    assert proxy.counters.reached == {"drop_answer": 1}
    assert await push(station) == "stored 2"


async def test_answer_is_cut_at_the_byte(proxy: FaultProxy) -> None:
    proxy.mode("cut_after", keep_bytes=20)
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"GET /feed HTTP/1.1\r\nHost: x\r\n\r\n")
    got = b""
    with pytest.raises(ConnectionError):  # noqa: PT012 - a reset may come with any read
        while True:
            part = await reader.read(1000)
            if not part:
                raise ConnectionError
            got += part
    writer.close()
    assert len(got) <= 20
    assert b"HTTP/1.1 200 OK".startswith(got[:15])
    assert proxy.counters.bytes_down == 20


async def test_request_is_cut_and_never_stored(
    station: aiohttp.ClientSession, proxy: FaultProxy, centre: Centre
) -> None:
    proxy.mode("cut_request", keep_bytes=30)
    with pytest.raises(GONE):
        await push(station)
    assert centre.told == []


async def test_doubled_request_reaches_the_centre_twice(
    station: aiohttp.ClientSession, proxy: FaultProxy, centre: Centre
) -> None:
    proxy.mode("double")
    assert await push(station) == "stored 1"
    assert centre.told == ["sale", "sale"]


async def test_captive_portal_answers_for_the_centre(
    station: aiohttp.ClientSession, proxy: FaultProxy, centre: Centre
) -> None:
    proxy.mode("html200")
    async with station.post("/push", data="sale") as answer:
        assert (answer.status, answer.content_type) == (200, "text/html")
    proxy.mode("login302")
    async with station.post("/push", data="sale", allow_redirects=False) as answer:
        assert answer.status == 302
    proxy.mode("status", code=429, retry_after=7)
    async with station.post("/push", data="sale") as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (429, "7")
    assert centre.told == []


async def test_stale_answer_is_the_last_one_again(
    station: aiohttp.ClientSession, proxy: FaultProxy, centre: Centre
) -> None:
    assert await push(station) == "stored 1"
    proxy.mode("stale")
    assert await push(station) == "stored 1"
    assert len(centre.told) == 1
    proxy.mode("swap")
    async with station.get("/feed") as answer:
        assert await answer.text() == "stored 1"


async def test_delay_holds_the_request_back(
    station: aiohttp.ClientSession, proxy: FaultProxy, centre: Centre
) -> None:
    proxy.mode("delay", seconds=3600)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await push(station)
    assert centre.told == []
    proxy.mode("delay", seconds=0.05)
    since = time.monotonic()
    await push(station)
    assert time.monotonic() - since >= 0.05


async def test_slow_line_keeps_to_its_speed(station: aiohttp.ClientSession, proxy: FaultProxy) -> None:
    proxy.mode("slow", bytes_per_s=20_000)
    since = time.monotonic()
    async with station.get("/feed") as answer:
        assert len(await answer.read()) == 4010
    assert time.monotonic() - since >= 0.2


async def test_hang_answers_nothing(
    station: aiohttp.ClientSession, proxy: FaultProxy, centre: Centre
) -> None:
    proxy.mode("hang")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await push(station)
    assert centre.told == []
    assert proxy.counters.reached == {"hang": 1}


async def test_mode_may_be_for_one_path_and_a_number_of_times(
    station: aiohttp.ClientSession, proxy: FaultProxy
) -> None:
    proxy.mode("html200", path="/push", times=2)
    async with station.get("/feed") as answer:
        assert (await answer.text()).startswith("one")
    answers = [await push(station) for _ in range(3)]
    assert ["Wi-Fi" in answer for answer in answers] == [True, True, False]


async def test_mode_may_meet_every_third_request(
    station: aiohttp.ClientSession, proxy: FaultProxy, centre: Centre
) -> None:
    """The first two pass, the third is met, and so on; what was met is counted."""
    proxy.mode("drop_answer", every=3)
    answered = []
    for number in range(1, 8):
        try:
            await push(station)
            answered.append(number)
        except GONE:
            pass
    assert answered == [1, 2, 4, 5, 7]
    assert (len(centre.told), proxy.counters.reached["drop_answer"]) == (7, 2)


async def test_station_that_hangs_up_frees_the_centre(
    station: aiohttp.ClientSession, proxy: FaultProxy, centre: Centre
) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await station.get("/wait")
    async with asyncio.timeout(5):
        await centre.left.wait()


async def test_unknown_mode_names_the_known_ones(proxy: FaultProxy) -> None:
    with pytest.raises(ValueError, match="'tired' is not known; one of pass, cut"):
        proxy.mode("tired")
    assert "tired" not in MODES


@pytest.mark.system
async def test_proxy_runs_as_a_process_of_its_own(centre: Centre, processes: Callable[..., Process]) -> None:
    listen, control = free_port(), free_port()
    argv = python("-m", "tests.support.proxy", "--listen", str(listen), "--control", str(control))
    process = processes("proxy", [*argv, "--target", f"127.0.0.1:{centre.port}"])
    await process.wait_until_healthy(f"http://127.0.0.1:{control}")
    async with aiohttp.ClientSession() as http:
        async with http.post(
            f"http://127.0.0.1:{control}/mode", json={"mode": "html200", "times": 1}
        ) as answer:
            assert answer.status == 200
        async with http.get(f"http://127.0.0.1:{listen}/healthz") as answer:
            assert "Wi-Fi" in await answer.text()
        async with http.get(f"http://127.0.0.1:{listen}/healthz") as answer:
            assert await answer.text() == "ok"
        async with http.post(f"http://127.0.0.1:{control}/mode", json={"mode": "tired"}) as answer:
            assert answer.status == 400
        async with http.get(f"http://127.0.0.1:{control}/counters") as answer:
            assert (await answer.json())["reached"] == {"html200": 1, "pass": 1}
