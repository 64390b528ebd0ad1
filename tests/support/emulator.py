"""An ERP over HTTP that fails on demand: the emulator of the conformance kit, and the other side of its own connector.

It keeps what took effect, doubles included, and has no key of its own against them, so that only a look before a send
helps. `faults` are the names of `central.conformance.faults`; each is used up by so many requests. Run inside a test
(`async with Emulator() as emulator`) or as a process of its own, with a share of random faults:

    python -m tests.support.emulator --port 9300 --faults 0.2 --seed 7
    curl http://127.0.0.1:9300/effects
"""

from __future__ import annotations

import argparse
import asyncio
import random
from collections import Counter, deque
from collections.abc import Sequence
from typing import Any, Self

import orjson
from aiohttp import web

from central.conformance.faults import OUT, Fault

USER, PASSWORD = "exchange", "a pass phrase of the tests"
RANDOM = (
    Fault.LOST_ANSWER,
    Fault.DOUBLED_REQUEST,
    Fault.BUSY_503,
    Fault.BUSY_429,
    Fault.ERROR_BODY,
    Fault.CUT_ANSWER,
)
"""What a process of its own does at random; one in so many requests."""
SLOW_S = 0.3


class Emulator:
    """The system. `effects` are the keys of the documents that took effect, in their order.

    Args:
        share: of requests that meet a fault drawn from `RANDOM`.
    """

    def __init__(self, port: int = 0, *, share: float = 0.0, seed: int = 0) -> None:
        self.port = port
        self.effects: list[str] = []
        self.items: dict[str, dict[str, Any]] = {}
        self.sequence = 0
        self.parties: dict[str, dict[str, Any]] = {}
        self.refuse: set[str] = set()  # numbers of documents that it will not have
        self.faults: deque[Fault] = deque()
        self.met: Counter[Fault] = Counter()
        self.sessions: set[str] = set()
        self._requests: set[str] = set()
        self._share = share
        self._random = random.Random(seed)
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/sign-in", self._sign_in)
        app.router.add_get("/items", self._read)
        app.router.add_get("/effects", self._all_effects)
        app.router.add_post("/look", self._faulty(self._look))
        app.router.add_post("/documents", self._faulty(self._take))
        app.router.add_post("/parties/find", self._faulty(self._find))
        app.router.add_post("/parties", self._faulty(self._make))
        app.router.add_post("/parties/undo", self._faulty(self._undo))
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        assert site._server is not None
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    def put(self, key: str, *, at: int | None = None, **values: Any) -> None:
        """An item as it is now; *at* an earlier time: its transaction began then and is committed only now."""
        self.sequence += 1
        self.items[key] = {"id": key, "active": True, "changed": at or self.sequence, **values}

    # ---- answers ----

    async def _sign_in(self, request: web.Request) -> web.Response:
        told = orjson.loads(await request.read())
        if (told.get("user"), told.get("password")) != (USER, PASSWORD):
            return _json({"error": "who is that?"}, 401)
        token = f"{self._random.getrandbits(64):x}"
        self.sessions.add(token)
        return _json({"token": token})

    async def _read(self, request: web.Request) -> web.Response:
        """Items behind the last id; with `since`, those whose date is not older."""
        since, after = int(request.query.get("since", 0)), request.query.get("after", "")
        size = int(request.query.get("page", 100))
        rows = sorted(
            (row for row in self.items.values() if row["changed"] >= since and row["id"] > after),
            key=lambda row: row["id"],
        )[:size]
        fault = self._next()
        if fault is Fault.REORDERED:
            rows.reverse()
        elif fault is Fault.CHANGING_PAGE and rows:
            # What stood on this page comes once more, and a new one before it.
            self.put("0-new", code="new")
            self.put(rows[0]["id"], code="changed meanwhile")
        elif (answer := await self._spoil(request, fault)) is not None:
            return answer
        return _json({"rows": rows, "clock": self.sequence})

    async def _all_effects(self, _request: web.Request) -> web.Response:
        return _json(self.effects)

    async def _look(self, body: dict[str, Any]) -> dict[str, Any]:
        keys = set(body["keys"])
        return {"found": [key for key in self.effects if key in keys]}

    async def _take(self, body: dict[str, Any]) -> dict[str, Any]:
        refused = {}
        for document in body["documents"]:
            if document["number"] in self.refuse:
                refused[document["key"]] = f"number {document['number']} is refused"
            else:
                self.effects.append(document["key"])
        return {"refused": refused}

    async def _find(self, body: dict[str, Any]) -> dict[str, Any]:
        found = {
            value: [number for number, party in self.parties.items() if party.get(body["field"]) == value]
            for value in body["values"]
        }
        return {"found": found}

    async def _make(self, body: dict[str, Any]) -> dict[str, Any]:
        self.sequence += 1
        self.parties[str(self.sequence)] = body["party"]
        return {"id": str(self.sequence)}

    async def _undo(self, body: dict[str, Any]) -> dict[str, Any]:
        for number in body["ids"]:
            self.parties.pop(number, None)
        return {}

    # ---- faults ----

    def _next(self, *, sends: bool = False) -> Fault | None:
        """What this request meets; the faults of sends wait for one, for a fault of a look alone proves little."""
        if self.faults and (sends or self.faults[0] not in OUT):
            fault: Fault | None = self.faults.popleft()
        else:
            fault = self._random.choice(RANDOM) if self._random.random() < self._share else None
        if fault is not None:
            self.met[fault] += 1
        return fault

    def _faulty(self, handle: Any) -> Any:
        async def answer(request: web.Request) -> web.StreamResponse:
            if request.headers.get("Authorization", "") not in self.sessions:
                return _json({"error": "sign in"}, 401)
            body = orjson.loads(await request.read())
            fault = self._next(sends="documents" in body)
            if fault is Fault.HALF_BATCH and "documents" in body:
                await handle({"documents": body["documents"][: len(body["documents"]) // 2]})
                return _json({"error": "went wrong half-way"}, 500)
            copies = 2 if fault is Fault.DOUBLED_REQUEST else 1
            before = await self._spoil(request, fault)
            if before is not None and fault in _BEFORE:
                return before
            told: dict[str, Any] = {}
            for _ in range(copies):
                # The network repeats a request as it is; one that is sent again has a number of its own.
                number = request.headers.get("Request-Id", "")
                if not number or number not in self._requests:
                    self._requests.add(number)
                    told = await handle(body)
            if fault in (Fault.LOST_ANSWER, Fault.CUT_ANSWER):
                return _gone(request, orjson.dumps(told)[:5] if fault is Fault.CUT_ANSWER else b"")
            return _json(told)

        return answer

    async def _spoil(self, request: web.Request, fault: Fault | None) -> web.Response | None:
        match fault:
            case Fault.BUSY_429:
                return _json({"error": "slow down"}, 429, {"Retry-After": "1"})
            case Fault.BUSY_503:
                return _json({"error": "busy"}, 503, {"Retry-After": "1"})
            case Fault.DENIED_403:
                return _json({"error": "not you"}, 403)
            case Fault.ERROR_BODY:
                return _json({"error": "licences used up"})
            case Fault.SESSION_LOST:
                self.sessions.clear()
                return _json({"error": "sign in"}, 401)
            case Fault.SLOW_ANSWER:
                await asyncio.sleep(SLOW_S)
            case Fault.LOST_ANSWER | Fault.CUT_ANSWER if request.method == "GET":
                return _gone(request)
        return None


_BEFORE = frozenset({Fault.BUSY_429, Fault.BUSY_503, Fault.DENIED_403, Fault.ERROR_BODY, Fault.SESSION_LOST})
"""Faults in which nothing of the request is done."""


def _json(told: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        body=orjson.dumps(told), status=status, headers=headers, content_type="application/json"
    )


def _gone(request: web.Request, part: bytes = b"") -> web.Response:
    """The connection breaks behind the commit."""
    assert request.transport is not None
    if part:
        request.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4096\r\n\r\n" + part)
        request.transport.close()
    else:
        request.transport.abort()
    return web.Response()


async def _serve(port: int, share: float, seed: int) -> None:
    async with Emulator(port, share=share, seed=seed) as emulator:
        print(f"emulator on {emulator.url}", flush=True)
        await asyncio.Event().wait()


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--faults", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(argv)
    asyncio.run(_serve(given.port, given.faults, given.seed))


if __name__ == "__main__":
    main()
