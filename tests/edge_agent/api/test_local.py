"""The local HTTP API over a real socket: what POS software meets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from edge_agent.api.auth import Guard, is_local, load_token
from edge_agent.api.local import BODY_MAX_BYTES, LocalApi
from shared.errors import CannotStore, Unavailable
from tests.support.till import Till, submission

TOKEN = "secret-token"
DOC_ID = "0198b0a0-0000-7000-8000-0000000000dd"


@dataclass
class Pos:
    """POS software beside a running station."""

    url: str
    http: aiohttp.ClientSession
    asked: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    async def call(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, Any, bytes]:
        named = {"Authorization": f"Bearer {TOKEN}", **{k.replace("_", "-"): v for k, v in headers.items()}}
        named = {name: value for name, value in named.items() if value}
        async with self.http.request(method, self.url + path, data=body, headers=named) as answer:
            raw = await answer.read()
            if answer.status >= 400:
                assert answer.content_type == "application/problem+json" or path == "/readyz"
            return answer.status, orjson.loads(raw), raw


@pytest.fixture
async def pos(till: Till) -> AsyncIterator[Pos]:
    async with aiohttp.ClientSession() as http:
        pos = Pos("", http)

        async def status() -> dict[str, Any]:
            return {"backlog": (await till.journal.backlog())[0]}

        async def more(request: web.Request) -> web.Response:
            raise Unavailable("the catalog is being fetched", retry_after_s=2)

        async def bug(request: web.Request) -> web.Response:
            raise RuntimeError("secret detail")

        api = LocalApi(
            till.intake,
            till.journal,
            Guard(TOKEN, ["https://pos.example"]),
            status=status,
            ready=lambda: (not pos.reasons, pos.reasons),
            sync_now=lambda: pos.asked.append("sync"),
        )
        app = api.make_app([web.get("/v1/products", more), web.get("/v1/bug", bug)])
        runner = web.AppRunner(app, access_log=None, auto_decompress=False)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        pos.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield pos
        await runner.cleanup()


async def test_a_sale_is_answered_when_it_is_durable(pos: Pos, till: Till) -> None:
    """201 with number, reference and position; the document is in the journal."""
    status, answer, _ = await pos.call("POST", "/v1/documents", submission(), Idempotency_Key="k")

    assert status == 201
    assert answer["status"] == "accepted"
    assert answer["number"] == "T-1-1"
    assert answer["reference"].endswith("-1")
    assert (await till.journal.status_of(answer["doc_id"])).seq == 1


async def test_a_repetition_is_answered_with_the_same_bytes(pos: Pos) -> None:
    """200 and, byte for byte, the first answer."""
    first = await pos.call("POST", "/v1/documents", submission(), Idempotency_Key="k")
    again = await pos.call("POST", "/v1/documents", submission(), Idempotency_Key="k")
    assert (first[0], again[0]) == (201, 200)
    assert first[2] == again[2]


async def test_a_key_with_another_body_is_422(pos: Pos) -> None:
    """The problem names itself and the document that the key stands for."""
    _, first, _ = await pos.call("POST", "/v1/documents", submission(1), Idempotency_Key="k")
    status, problem, _ = await pos.call("POST", "/v1/documents", submission(2), Idempotency_Key="k")
    assert status == 422
    assert problem["type"] == "urn:counterflow:problem:idempotency-mismatch"
    assert problem["doc_id"] == first["doc_id"]
    assert problem["hint"]


async def test_a_sale_needs_a_name_for_repetitions(pos: Pos) -> None:
    """Without key and doc_id a lost answer would double the sale: refused; with a doc_id alone it is taken."""
    status, problem, _ = await pos.call("POST", "/v1/documents", submission())
    assert (status, problem["type"]) == (422, "urn:counterflow:problem:idempotency-key-missing")
    assert (await pos.call("POST", "/v1/documents", submission(doc_id=DOC_ID)))[0] == 201
    assert (await pos.call("POST", "/v1/documents", submission(doc_id=DOC_ID)))[0] == 200
    assert (await pos.call("POST", "/v1/documents", submission(7, doc_id=DOC_ID)))[0] == 409


async def test_eight_tills_at_once_are_all_answered(pos: Pos, till: Till) -> None:
    """Requests that come together are stored once each."""
    answers = await asyncio.gather(
        *(pos.call("POST", "/v1/documents", submission(n + 1), Idempotency_Key=f"k{n}") for n in range(40))
    )
    assert {status for status, _, _ in answers} == {201}
    assert sorted(answer["seq"] for _, answer, _ in answers) == list(range(1, 41))


async def test_status_of_a_document(pos: Pos) -> None:
    """Its state and position; 404 for one that is not here, 422 for what is no id."""
    _, sold, _ = await pos.call("POST", "/v1/documents", submission(), Idempotency_Key="k")
    status, answer, _ = await pos.call("GET", f"/v1/documents/{sold['doc_id']}")
    assert (status, answer["status"], answer["seq"]) == (200, "accepted", 1)
    assert (await pos.call("GET", f"/v1/documents/{DOC_ID}"))[0] == 404
    assert (await pos.call("GET", "/v1/documents/77"))[0] == 422


async def test_sync_station_and_probes(pos: Pos) -> None:
    """Sync now, the station's status, health, readiness and version."""
    assert (await pos.call("POST", "/v1/sync"))[0] == 202
    assert pos.asked == ["sync"]
    assert (await pos.call("GET", "/v1/station"))[1] == {"backlog": 0}
    for path in ("/healthz", "/readyz", "/version"):
        assert (await pos.call("GET", path, Authorization=""))[0] == 200
    pos.reasons.append("the disk is full")
    assert (await pos.call("GET", "/readyz", Authorization=""))[:2] == (
        503,
        {"ready": False, "reasons": ["the disk is full"]},
    )


@pytest.mark.parametrize("token", ["", "Bearer wrong", "Basic c2VjcmV0", "Bearer", "Bearer sécret"])
async def test_nobody_sells_without_the_token(pos: Pos, till: Till, token: str) -> None:
    """401 with a word about where the token is; nothing is stored."""
    for method, path in (("POST", "/v1/documents"), ("GET", "/v1/station"), ("GET", "/v1/products")):
        status, problem, _ = await pos.call(method, path, None, Authorization=token, Idempotency_Key="k")
        assert status == 401
        assert "token" in problem["hint"]
    assert await till.journal.epochs() == []


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({"Host": "evil.example"}, "foreign-host"),
        ({"Host": "127.0.0.1.evil.example:80"}, "foreign-host"),
        ({"Origin": "https://evil.example"}, "foreign-origin"),
        ({"Origin": "null"}, "foreign-origin"),
    ],
)
async def test_no_foreign_page_reaches_the_station(pos: Pos, headers: dict[str, str], name: str) -> None:
    """Even with the token: a rebound name or a foreign origin is refused."""
    status, problem, _ = await pos.call("POST", "/v1/documents", submission(), Idempotency_Key="k", **headers)
    assert (status, problem["type"]) == (403, f"urn:counterflow:problem:{name}")


async def test_named_and_own_origins_are_let_in(pos: Pos) -> None:
    """Pages that the operator named, and the API's own."""
    for origin in ("https://pos.example", pos.url):
        assert (await pos.call("GET", "/v1/station", Origin=origin))[0] == 200


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("localhost:8077", True),
        ("LOCALHOST", True),
        ("[::1]:8077", True),
        ("[::1]", True),
        ("", False),
        ("10.0.0.1:8077", False),
        ("localhost.evil.example", False),
        ("[::2]:8077", False),
    ],
)
def test_names_of_this_machine(host: str, local: bool) -> None:
    """Only loopback names count, with or without a port."""
    assert is_local(host) is local


async def test_bodies_are_bounded(pos: Pos) -> None:
    """A giant body is cut off with 413, whether it tells its size or not."""

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(BODY_MAX_BYTES // 65_536 + 2):
            yield b"x" * 65_536

    status, problem, _ = await pos.call(
        "POST", "/v1/documents", b"x" * (BODY_MAX_BYTES + 1), Idempotency_Key="k"
    )
    assert (status, problem["type"]) == (413, "urn:counterflow:problem:too-large")
    status, _, _ = await pos.call("POST", "/v1/documents", endless(), Idempotency_Key="k")  # type: ignore[arg-type]
    assert status == 413


async def test_compressed_bodies_are_refused(pos: Pos) -> None:
    """No decompression, no bomb."""
    status, problem, _ = await pos.call(
        "POST", "/v1/documents", b"\x28\xb5\x2f\xfd", Idempotency_Key="k", Content_Encoding="zstd"
    )
    assert (status, problem["type"]) == (422, "urn:counterflow:problem:unknown-encoding")


async def test_every_refusal_is_a_problem_document(
    pos: Pos, till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unknown paths, circumstances with Retry-After, and our own bugs, whose details stay in the log."""
    assert (await pos.call("GET", "/nowhere"))[0] == 404
    assert (await pos.call("GET", "/v1/two%0Alines"))[0] == 404
    for method, path in (("DELETE", "/v1/documents"), ("POST", "/healthz"), ("PUT", "/v1/products")):
        status, problem, _ = await pos.call(method, path)
        assert (status, problem["type"]) == (405, "urn:counterflow:problem:method-not-allowed")
    assert "POST" in (await pos.call("DELETE", "/v1/documents"))[1]["hint"]
    assert (await pos.call("GET", "/v1/products"))[0] == 503
    status, problem, raw = await pos.call("GET", "/v1/bug")
    assert (status, problem["type"]) == (500, "urn:counterflow:problem:internal")
    assert b"secret" not in raw

    async def full(*_: object) -> None:
        raise CannotStore("the disk is full", hint="free space")

    monkeypatch.setattr(till.journal, "append", full)
    status, problem, _ = await pos.call("POST", "/v1/documents", submission(), Idempotency_Key="k")
    assert (status, problem["type"]) == (507, "urn:counterflow:problem:cannot-store")


def test_the_token_is_drawn_once_and_for_the_owner_alone(tmp_path: Path) -> None:
    """The first start draws it, later ones read it, nobody else's program can."""
    path = tmp_path / "token"
    token = load_token(path)
    assert len(token) >= 40
    assert load_token(path) == token
    assert path.stat().st_mode & 0o077 == 0
