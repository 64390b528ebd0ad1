"""What nobody should send: bombs, giants, malformed and poisonous documents. Each is told why; nothing else suffers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import aiohttp
import psutil
import pytest
from backports import zstd

from shared.canonical import canonical
from shared.protocol import framing, wire
from tests.faults.hand import HandStation
from tests.faults.seller import reckon, sale, sell
from tests.support.chain import Chain

pytestmark = pytest.mark.asyncio(loop_scope="module")

MIB = 1 << 20


async def post(chain: Chain, path: str, body: bytes, **headers: str) -> tuple[int, dict]:
    async with chain.http.post(
        f"{chain.url}{path}", data=body, headers=headers, skip_auto_headers=["Accept-Encoding"]
    ) as answer:
        return answer.status, await answer.json(content_type=None)


async def giant(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // MIB):
        yield bytes(MIB)


def memory(chain: Chain) -> int:
    return psutil.Process(chain.nodes[0].pid).memory_info().rss


async def test_a_200_mb_body_is_refused_without_being_kept(chain: Chain) -> None:
    """Both doors answer 413 or hang up, and the memory of the process stays where it was."""
    before = memory(chain)
    for url, headers in (
        (f"{chain.url}/v1/enroll", {}),
        (f"{chain.stations[0].url}/v1/documents", chain.stations[0].headers()),
    ):
        try:
            async with chain.http.post(url, data=giant(200 * MIB), headers=headers) as answer:
                assert answer.status == 413
        except aiohttp.ClientError:
            pass  # the door was shut while the giant was still coming
    assert memory(chain) - before < 64 * MIB
    await sell(chain.stations[0], 5)
    await reckon(chain)


async def test_a_bomb_is_refused_before_it_unfolds(chain: Chain) -> None:
    """500 MB of zeros in a few kB: 413, and the memory stays bounded."""
    bomb = zstd.compress(bytes(500 * MIB))
    before = memory(chain)
    status, answer = await post(
        chain,
        "/v1/enroll",
        bomb,
        **{"Content-Encoding": "zstd", wire.DIGEST_HEADER: wire.content_digest(bomb)},
    )
    assert (status, answer["status"]) == (413, 413)
    assert memory(chain) - before < 160 * MIB


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[" * 100_000, b'{"code": 1}', b"\xff\xfe", b'{"code": "' + b"9" * 400 + b'"}', b"null"],
    ids=["empty", "cut", "deep", "wrong type", "not UTF-8", "too long", "null"],
)
async def test_malformed_bodies_get_a_problem_that_says_why(chain: Chain, body: bytes) -> None:
    """RFC 9457, with a reason a person can act on; at the centre and at the till."""
    status, answer = await post(chain, "/v1/enroll", body)
    assert 400 <= status < 500
    assert answer["type"].startswith("urn:counterflow:problem:")
    assert answer["detail"]
    station = chain.stations[0]
    async with chain.http.post(f"{station.url}/v1/documents", data=body, headers=station.headers()) as reply:
        told = await reply.json(content_type=None)
        assert 400 <= reply.status < 500
        assert told["type"].startswith("urn:counterflow:problem:")
        assert told["detail"]


def spoilt(**changes: object) -> dict:
    submission = sale(1)
    submission["payload"].update(changes)
    return submission


@pytest.mark.parametrize(
    ("submission", "told"),
    [
        ({"kind": "sail", "payload": {}}, "sail"),
        (spoilt(total_minor=99), "total_minor"),
        (spoilt(lines=[{"n": 1}]), "lines.0.product"),
        (spoilt(currency="euro"), "currency"),
        (spoilt(comment="x" * 10_000), "comment"),
        (spoilt(pictures="x" * 1_060_000), "at most 1048576"),
        (spoilt(pictures="x" * 2_000_000), "bytes"),
    ],
    ids=[
        "unknown kind",
        "sums differ",
        "missing field",
        "no currency",
        "too long",
        "too large",
        "much too large",
    ],
)
async def test_a_wrong_sale_is_refused_at_the_till_with_the_field(
    chain: Chain, submission: dict, told: str
) -> None:
    """The POS programmer reads which field is wrong; nothing is stored."""
    status, answer = await chain.stations[0].sell(submission, "wrong")
    assert 400 <= status < 500
    assert told in json.dumps(answer)
    assert (await chain.stations[0].get("/v1/station"))["backlog"] == 0


POISON = {
    "not json": b"\xff\x00 nothing",
    "no fields": b"{}",
    "huge number": b'{"currency":"EUR","lines":[],"payments":[],"total_minor":1' + b"0" * 60 + b"}",
    "lines of text": canonical({"currency": "EUR", "lines": "many", "payments": [], "total_minor": 1}),
    "not a number": b'{"currency":"EUR","lines":[],"payments":[],"total_minor":NaN}',
    "lone surrogate": b'{"currency":"\\ud800","lines":[],"payments":[],"total_minor":1}',
}


async def test_poison_is_parked_and_its_neighbours_are_applied(chain: Chain) -> None:
    """Documents that no rows can be made of (an old or foreign agent sealed them) stop nobody (I10)."""
    hand = await HandStation.enrol(chain)
    good = [hand.document(canonical(sale(number)["payload"])) for number in range(6)]
    bad = [hand.document(payload) for payload in POISON.values()]
    mixed = [document for pair in zip(good, bad, strict=True) for document in pair]
    status, answer = await hand.push(mixed)
    assert (status, answer["acked_seq"]) == (200, len(mixed))

    chain.brought |= {json.loads(header)["doc_id"] for header, _ in good}
    await reckon(chain)
    reasons = (await chain.admin("GET", f"/parked?station={hand.code}"))["items"]
    assert sum(group["documents"] for group in reasons) == len(bad)
    for header, _ in bad:
        document = await chain.admin("GET", f"/documents/{json.loads(header)['doc_id']}")
        assert document["state"] == "parked"
        assert document["detail"]


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda envelope, lines: envelope.update(signature="00" * 64), "wrong-signature"),
        (lambda envelope, lines: envelope.update(count=envelope["count"] + 1), "wrong-count"),
        (lambda envelope, lines: lines.__setitem__(1, lines[1] + b" "), "wrong-chain"),
        (lambda envelope, lines: envelope.update(last_head="11" * 32), "wrong-chain"),
        (lambda envelope, lines: envelope.update(first_seq=5), "wrong-chain"),
        (lambda envelope, lines: envelope.update(epoch="xyz"), "invalid-fields"),
    ],
    ids=["signature", "count", "a flipped payload", "head", "seq", "epoch"],
)
async def test_a_push_that_was_tampered_with_stores_nothing(chain: Chain, change, name: str) -> None:  # type: ignore[no-untyped-def]
    """Any change after the seal is refused by name, and the true push still goes through."""
    hand = await HandStation.enrol(chain)
    documents = [hand.document(canonical(sale(number)["payload"])) for number in range(3)]
    envelope, lines = hand.batch(documents)
    spoilt_envelope, spoilt_lines = dict(envelope), list(lines)
    change(spoilt_envelope, spoilt_lines)
    status, answer = await hand.send(framing.join(spoilt_envelope, spoilt_lines))
    assert status == 422
    assert answer["type"].endswith(name)
    status, answer = await hand.send(framing.join(envelope, lines))
    assert (status, answer["acked_seq"]) == (200, 3)
    chain.brought |= {json.loads(header)["doc_id"] for header, _ in documents}
    await reckon(chain)
