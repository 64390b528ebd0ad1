"""A station driven by hand, message by message: what another implementation of the protocol would send."""

from __future__ import annotations

import itertools
import secrets
import time
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared import ids, journal
from shared.canonical import canonical, sha256
from shared.clock import rfc3339
from shared.protocol import framing, wire
from tests.support.chain import STORE, Chain

_numbers, _stations = itertools.count(1), itertools.count(1)
Document = tuple[bytes, bytes]


class HandStation:
    """One enrolled identity with a session; documents are sealed in one epoch."""

    def __init__(self, chain: Chain, code: str) -> None:
        self.chain, self.code = chain, code
        self.key = Ed25519PrivateKey.generate()
        self.epoch = secrets.token_bytes(16)
        self.seq, self.head = 0, journal.genesis(code, self.epoch)
        self.token = ""

    @property
    def public_key(self) -> str:
        return self.key.public_key().public_bytes_raw().hex()

    @classmethod
    async def enrol(cls, chain: Chain) -> Self:
        """One more station of the store."""
        code = f"{STORE}-H{next(_stations)}"
        station = cls(chain, code)
        enrolment = await chain.admin("POST", "/stations", {"code": code, "store": STORE})
        request = {
            "code": enrolment["enrolment_code"],
            "public_key": station.public_key,
            "host": "by hand",
            "versions": {},
        }
        status, answer = await station._post("/v1/enroll", canonical(request))
        assert status == 200, answer
        await station.sign_in()
        return station

    async def sign_in(self) -> None:
        async with self.chain.http.get(f"{self.chain.url}/v1/hello") as answer:
            hello = await answer.json(content_type=None)
        claim: dict[str, Any] = {
            "station": self.code,
            "public_key": self.public_key,
            "nonce": hello["nonce"],
            "current_epoch": self.epoch.hex(),
            "epochs": [],
            "drain": False,
            "versions": {},
            "clock_ms": time.time_ns() // 1_000_000,
        }
        message = journal.session_message(self.code, hello["nonce"], self.epoch, sha256(canonical(claim)))
        status, answer = await self._post(
            "/v1/session", canonical({**claim, "signature": self.key.sign(message).hex()})
        )
        assert status == 200, answer
        self.token = answer["token"]

    def document(self, payload: bytes, kind: str = "sale") -> Document:
        now_ms = time.time_ns() // 1_000_000
        header = {
            "doc_id": str(ids.uuid7(now_ms, secrets.token_bytes(10))),
            "kind": kind,
            "version": 1,
            "time": rfc3339(now_ms),
            "zone": "Europe/Berlin",
            "boot": "hand",
            "tick_ms": 1,
            "offset_ms": 0,
            "business_date": rfc3339(now_ms)[:10],
            "number": f"{self.code}-{next(_numbers):06d}",
            "refs": [],
        }
        return canonical(header), payload

    def batch(self, documents: list[Document]) -> tuple[dict[str, Any], list[bytes]]:
        """Envelope and lines of a push of *documents* behind what was sent so far."""
        prev_head, first_seq = self.head, self.seq + 1
        for header, payload in documents:
            self.seq += 1
            self.head = journal.seal(self.head, self.seq, header, payload).head
        signed = journal.signed_message(self.code, self.epoch, self.seq, self.head)
        envelope = {
            "epoch": self.epoch.hex(),
            "first_seq": first_seq,
            "prev_head": prev_head.hex(),
            "count": len(documents),
            "last_head": self.head.hex(),
            "signature": self.key.sign(signed).hex(),
        }
        return envelope, [part for document in documents for part in document]

    async def push(self, documents: list[Document]) -> tuple[int, Any]:
        return await self.send(framing.join(*self.batch(documents)))

    async def send(self, body: bytes) -> tuple[int, Any]:
        return await self._post("/v1/journal", body)

    async def _post(self, path: str, body: bytes) -> tuple[int, Any]:
        packed, frame = wire.pack(body)
        headers = {**frame, wire.REQUEST_ID_HEADER: secrets.token_hex(8)}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        async with self.chain.http.post(f"{self.chain.url}{path}", data=packed, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None)
