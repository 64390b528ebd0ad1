"""A network that misbehaves on demand: an HTTP/1.1 proxy between a station and its centre.

One mechanism: before each request the proxy looks up the current `Behaviour`, whose fields say what happens to the
request and to its answer. Every fault counts what it did, because a fault that was never reached proves nothing.
It runs inside a test (`async with FaultProxy(url) as proxy`) or as a process of its own:

    python -m tests.support.proxy --listen 9001 --target 127.0.0.1:9000 --control 9002
    curl -d '{"mode": "cut_after", "keep_bytes": 100, "times": 1}' http://127.0.0.1:9002/mode
    curl http://127.0.0.1:9002/counters

Rule: bytes pass unchanged. Invariant: a change of mode holds from the next request on, also on open connections;
`cut` of everything (no path, times or every) resets the open ones at once.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self, TypeVar

from aiohttp import web

T = TypeVar("T")

HEAD_BYTES_MAX = 64 * 1024
KEPT_ANSWER_BYTES_MAX = 4 * 1024 * 1024
CHUNK_BYTES = 64 * 1024
WATCH_S = 0.02

PORTAL_PAGE = b"<!doctype html><title>Guest Wi-Fi</title><h1>Please accept the terms of use</h1>"


def canned(status: str, headers: str, body: bytes) -> bytes:
    """Return a whole answer as bytes; *headers* are lines without their ends."""
    lines = [f"HTTP/1.1 {status}", *headers.splitlines(), f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode("ascii") + body


@dataclass(frozen=True)
class Behaviour:
    """What happens to a request and its answer; the defaults let both pass.

    Attributes:
        name: the mode's name, under which it is counted.
        cut: the connection is reset before anything passes.
        hang: the request is swallowed and nothing ever comes back.
        delay_s: the request waits this long before it is passed on.
        request_bytes: only so many bytes of the request reach the centre, then both sides are reset.
        copies: how often the request reaches the centre; the first answer is returned.
        canned: these bytes are the answer, and the centre hears nothing.
        stale: the answer is the last one that the same path got ("same"), or that another path got ("other").
        answer_bytes: the centre answers in full; so many bytes of it come back, then the connection is reset.
        bytes_per_s: how fast the answer comes back, 0 for unlimited.
        path: only requests whose path begins so; the others pass.
        times: for so many requests, then everything passes again; 0 for ever.
        every: only each n-th request is met; those between pass.
    """

    name: str = "pass"
    cut: bool = False
    hang: bool = False
    delay_s: float = 0.0
    request_bytes: int | None = None
    copies: int = 1
    canned: bytes | None = None
    stale: str = ""
    answer_bytes: int | None = None
    bytes_per_s: int = 0
    path: str = ""
    times: int = 0
    every: int = 1


PASS = Behaviour()

_PORTAL = canned("200 OK", "Content-Type: text/html", PORTAL_PAGE)
_LOGIN = canned("302 Found", "Location: http://portal.invalid/login\nContent-Type: text/html", b"")

MODES: dict[str, Callable[..., Behaviour]] = {
    "pass": lambda: PASS,
    "cut": lambda: Behaviour(cut=True),
    "hang": lambda: Behaviour(hang=True),
    "delay": lambda seconds=1.0: Behaviour(delay_s=seconds),
    "cut_request": lambda keep_bytes=0: Behaviour(request_bytes=keep_bytes),
    "double": lambda copies=2: Behaviour(copies=copies),
    "html200": lambda: Behaviour(canned=_PORTAL),
    "login302": lambda: Behaviour(canned=_LOGIN),
    "status": lambda code=503, retry_after=1: Behaviour(
        canned=canned(f"{code} Fault", f"Retry-After: {retry_after}\nContent-Type: text/plain", b"fault")
    ),
    "stale": lambda: Behaviour(stale="same"),
    "swap": lambda: Behaviour(stale="other"),
    "drop_answer": lambda: Behaviour(answer_bytes=0),
    "cut_after": lambda keep_bytes=0: Behaviour(answer_bytes=keep_bytes),
    "slow": lambda bytes_per_s=1024: Behaviour(bytes_per_s=bytes_per_s),
}


def behaviour(mode: str, *, path: str = "", times: int = 0, every: int = 1, **options: Any) -> Behaviour:
    """Return the behaviour called *mode*; *options* are the parameters of its line in `MODES`."""
    if mode not in MODES:
        raise ValueError(f"mode {mode!r} is not known; one of {', '.join(MODES)}")
    return replace(MODES[mode](**options), name=mode, path=path, times=times, every=every)


@dataclass
class Counters:
    """What the proxy did, so that a test can show that its fault was reached."""

    connections: int = 0
    requests: int = 0  # read from the station
    forwarded: int = 0  # sent to the centre, copies included
    answers: int = 0  # come back from the centre, whole
    delivered: int = 0  # handed to the station, whole
    died: int = 0  # sent to the centre, and it was gone before it had answered
    hung_up: int = 0  # sent to the centre, and the station was gone before it had its answer
    bytes_up: int = 0
    bytes_down: int = 0
    reached: dict[str, int] = field(default_factory=dict)  # requests that met each mode

    def reach(self, name: str) -> None:
        self.reached[name] = self.reached.get(name, 0) + 1


class _Cut(Exception):
    """The connection is to be reset now."""


class _HungUp(_Cut):
    """The station is not there any more."""


class FaultProxy:
    """The proxy; `url` is where the station is to be pointed.

    Args:
        target: the centre, as http://host:port or host:port.
        port: where to listen; 0 picks one, and it stays the same for the life of the proxy.
    """

    def __init__(self, target: str, *, port: int = 0) -> None:
        host, _, target_port = target.removeprefix("http://").rstrip("/").rpartition(":")
        self.target = (host, int(target_port))
        self.port = port
        self.counters = Counters()
        self.behaviour = PASS
        self._left = 0
        self._until_next = 0
        self._kept: dict[bytes, bytes] = {}
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=HEAD_BYTES_MAX)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the door: from now on connections are refused. `start` opens it at the same port."""
        if self._server is not None:
            self._server.close()
            self._server = None
        await self.drop_connections()

    async def drop_connections(self) -> None:
        """Reset every open connection."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def mode(
        self,
        mode: str | Behaviour = "pass",
        *,
        path: str = "",
        times: int = 0,
        every: int = 1,
        **options: Any,
    ) -> None:
        """Behave so from the next request on: `proxy.mode("cut_after", keep_bytes=100, times=1)`."""
        if isinstance(mode, str):
            mode = behaviour(mode, path=path, times=times, every=every, **options)
        self.behaviour = mode
        self._left = mode.times
        self._until_next = mode.every
        if self._cuts_everything():
            for task in self._tasks:
                task.cancel()

    def _cuts_everything(self) -> bool:
        return self.behaviour.cut and not (
            self.behaviour.path or self.behaviour.times or self.behaviour.every > 1
        )

    def _behaviour_for(self, path: str) -> Behaviour:
        now = self.behaviour
        if not path.startswith(now.path):
            return PASS
        self._until_next -= 1
        if self._until_next > 0:
            return PASS
        self._until_next = now.every
        if now.times:
            self._left -= 1
            if self._left == 0:
                self.behaviour = PASS
        self.counters.reach(now.name)
        return now

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.counters.connections += 1
        upstream = _Upstream(self.target)
        try:
            if self._cuts_everything():
                self.counters.reach(self.behaviour.name)
                raise _Cut
            while await self._exchange(reader, writer, upstream):
                pass
            writer.close()
        except (_Cut, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.transport.abort()
        except asyncio.CancelledError:
            writer.transport.abort()  # dropped from outside; the task is ours and ends here
        finally:
            upstream.abort()
            self._tasks.discard(task)

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: _Upstream
    ) -> bool:
        """Pass one request and its answer; return whether the connection stays open."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise
            return False
        request = head + b"".join([part async for part in _body(reader, head, of_answer=False)])
        self.counters.requests += 1
        method, path, *_ = head.split(b" ", 2)
        now = self._behaviour_for(path.decode("latin-1"))
        if now.cut:
            raise _Cut
        if now.hang:
            await _until_gone(reader, writer)
            raise _Cut
        if now.delay_s:
            await _while_connected(asyncio.sleep(now.delay_s), reader, writer)
        if now.canned is not None:
            await self._return([now.canned], writer, now)
            return True
        kept = self._kept_answer(path, now)
        if kept is not None:
            await self._return([kept], writer, now)
            return True
        if now.request_bytes is not None:
            await upstream.send(request[: now.request_bytes])
            self.counters.bytes_up += min(now.request_bytes, len(request))
            await upstream.close()
            raise _Cut
        try:
            return await _while_connected(
                self._forward(request, method, path, now, writer, upstream), reader, writer
            )
        except _HungUp:
            self.counters.hung_up += 1
            raise

    def _kept_answer(self, path: bytes, now: Behaviour) -> bytes | None:
        if now.stale == "same":
            return self._kept.get(path)
        if now.stale == "other":
            return next((kept for other, kept in reversed(self._kept.items()) if other != path), None)
        return None

    async def _forward(
        self,
        request: bytes,
        method: bytes,
        path: bytes,
        now: Behaviour,
        writer: asyncio.StreamWriter,
        upstream: _Upstream,
    ) -> bool:
        await upstream.send(request)
        self.counters.forwarded += 1
        self.counters.bytes_up += len(request)
        answer = _answer(upstream, method)
        if now.answer_bytes is None and now.copies == 1:
            try:
                whole = await self._return_live(answer, path, writer, now)
            except (ConnectionError, asyncio.IncompleteReadError):
                self.counters.died += 1
                raise
        else:
            parts = [part async for part in answer]
            self.counters.answers += 1
            for _ in range(now.copies - 1):
                if b"connection: close" in parts[0].lower():
                    upstream.abort()  # what is sent behind such an answer is read by nobody
                await upstream.send(request)
                self.counters.forwarded += 1
                self.counters.bytes_up += len(request)
                async for _part in _answer(upstream, method):
                    pass
                self.counters.answers += 1
            whole = b"".join(parts)
            if now.answer_bytes is not None:
                await self._write(whole[: now.answer_bytes], writer, now)
                raise _Cut
            await self._return(parts, writer, now)
        ends = b"connection: close" in whole.lower() or upstream.is_closed()
        return not ends

    async def _return_live(
        self, answer: AsyncIterator[bytes], path: bytes, writer: asyncio.StreamWriter, now: Behaviour
    ) -> bytes:
        """Hand the answer on as it comes; return its head."""
        kept = bytearray()
        head = b""
        async for part in answer:
            head = head or part
            if len(kept) <= KEPT_ANSWER_BYTES_MAX:
                kept += part
            await self._write(part, writer, now)
        self.counters.answers += 1
        self.counters.delivered += 1
        if len(kept) <= KEPT_ANSWER_BYTES_MAX:
            self._kept.pop(path, None)
            self._kept[path] = bytes(kept)
        return head

    async def _return(self, parts: list[bytes], writer: asyncio.StreamWriter, now: Behaviour) -> None:
        for part in parts:
            await self._write(part, writer, now)
        self.counters.delivered += 1

    async def _write(self, data: bytes, writer: asyncio.StreamWriter, now: Behaviour) -> None:
        step = max(1, now.bytes_per_s // 20) if now.bytes_per_s else CHUNK_BYTES
        for start in range(0, len(data), step):
            piece = data[start : start + step]
            writer.write(piece)
            await writer.drain()
            self.counters.bytes_down += len(piece)
            if now.bytes_per_s:
                await asyncio.sleep(len(piece) / now.bytes_per_s)


class _Upstream:
    """The connection to the centre that belongs to one connection of the station."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._writer: asyncio.StreamWriter | None = None
        self.reader = asyncio.StreamReader()

    async def send(self, data: bytes) -> None:
        if self._writer is None or self.is_closed():
            self.abort()
            self.reader, self._writer = await asyncio.open_connection(*self._target, limit=HEAD_BYTES_MAX)
        self._writer.write(data)
        await self._writer.drain()

    def is_closed(self) -> bool:
        return self._writer is None or self._writer.is_closing() or self.reader.at_eof()

    async def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()

    def abort(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()
            self._writer = None


def _header(head: bytes, name: bytes) -> bytes:
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name:
            return value.strip().lower()
    return b""


async def _body(reader: asyncio.StreamReader, head: bytes, *, of_answer: bool) -> AsyncIterator[bytes]:
    """Yield the body that *head* announces, framing included."""
    if b"chunked" in _header(head, b"transfer-encoding"):
        while True:
            line = await reader.readuntil(b"\r\n")
            yield line
            size = int(line.split(b";")[0], 16)
            if size == 0:
                break
            async for part in _exactly(reader, size + 2):
                yield part
        while True:
            trailer = await reader.readuntil(b"\r\n")
            yield trailer
            if trailer == b"\r\n":
                return
    length = _header(head, b"content-length")
    if length:
        async for part in _exactly(reader, int(length)):
            yield part
    elif of_answer:
        while part := await reader.read(CHUNK_BYTES):
            yield part


async def _exactly(reader: asyncio.StreamReader, size: int) -> AsyncIterator[bytes]:
    while size > 0:
        part = await reader.read(min(size, CHUNK_BYTES))
        if not part:
            raise asyncio.IncompleteReadError(b"", size)
        size -= len(part)
        yield part


async def _answer(upstream: _Upstream, method: bytes) -> AsyncIterator[bytes]:
    """Yield one answer of the centre as it comes: its head, then its body."""
    reader = upstream.reader
    head = await reader.readuntil(b"\r\n\r\n")
    while head.split(b" ", 2)[1].startswith(b"1"):  # 100 Continue and its like come before the answer
        yield head
        head = await reader.readuntil(b"\r\n\r\n")
    yield head
    if method == b"HEAD" or head.split(b" ", 2)[1] in (b"204", b"304"):
        return
    async for part in _body(reader, head, of_answer=True):
        yield part


async def _until_gone(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    # Asked in turns: reading would swallow the next request, and a stream tells of its end in no other way.
    while not (reader.at_eof() or writer.transport.is_closing()):  # noqa: ASYNC110
        await asyncio.sleep(WATCH_S)


async def _while_connected(
    work: Coroutine[Any, Any, T], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> T:
    """Do *work* as long as the station is there; a station that hung up ends it, as on a plain line."""
    doing = asyncio.create_task(work)
    watching = asyncio.create_task(_until_gone(reader, writer))
    try:
        await asyncio.wait({doing, watching}, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            return doing.result()
        raise _HungUp
    finally:
        for task in (doing, watching):
            task.cancel()
        await asyncio.gather(doing, watching, return_exceptions=True)


async def _control(proxy: FaultProxy, port: int) -> web.AppRunner:
    """Serve POST /mode and GET /counters for a proxy that is a process of its own."""

    async def set_mode(request: web.Request) -> web.Response:
        asked = await request.json()
        try:
            proxy.mode(asked.pop("mode"), **asked)
        except (KeyError, TypeError, ValueError) as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response({"mode": proxy.behaviour.name})

    async def counters(_request: web.Request) -> web.Response:
        return web.json_response(asdict(proxy.counters))

    async def healthy(_request: web.Request) -> web.Response:
        return web.Response(text="ok")

    app = web.Application()
    app.add_routes(
        [web.post("/mode", set_mode), web.get("/counters", counters), web.get("/healthz", healthy)]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner


async def _serve(listen: int, target: str, control: int) -> None:
    async with FaultProxy(target, port=listen) as proxy:
        runner = await _control(proxy, control)
        print(json.dumps({"url": proxy.url, "control": f"http://127.0.0.1:{control}"}), flush=True)
        try:
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(description="A network that misbehaves on demand.")
    parser.add_argument("--listen", type=int, required=True, help="port for the station")
    parser.add_argument("--target", required=True, help="the centre, HOST:PORT")
    parser.add_argument("--control", type=int, required=True, help="port for POST /mode and GET /counters")
    given = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(given.listen, given.target, given.control))


if __name__ == "__main__":
    main()
