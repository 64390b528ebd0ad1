"""A centre in this process on a database of the test's own, and stations that speak its protocol by hand."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select, text

from central.centre import Centre
from central.config import Config
from central.db import registry
from central.db.database import Database
from central.db.tables.registry import stores
from central.intake.accept import Acked
from shared import journal
from shared.canonical import canonical, sha256
from shared.clock import Clock
from shared.protocol.messages import EnrollRequest, SessionReply, SessionRequest

CREATED_MS = 1_790_000_000_000


@asynccontextmanager
async def open_centre(
    database_url: str, data_dir: Path, clock: Clock | None = None, **settings: Any
) -> AsyncIterator[Centre]:
    """A centre with all tables and nothing in them."""
    database = Database(database_url)
    await database.create()
    await database.close()
    centre = await Centre.open(Config(database_url=database_url, data_dir=data_dir, **settings), clock)
    try:
        yield centre
    finally:
        await centre.close()


async def add_station(centre: Centre, code: str = "T-1", *, store: str = "S1", replace: bool = False) -> str:
    """Make store and station unless they are there, and draw an enrolment code."""
    async with centre.database.write() as connection:
        station = await registry.station_by_code(connection, code)
        if station is None:
            store_no = await _store_no(connection, store)
            station_no = await registry.add_station(
                connection, code=code, store_no=store_no, name=code, created_ms=CREATED_MS
            )
        else:
            station_no = station.station_no
        return await centre.enrolment.create_code(connection, station_no=station_no, replace=replace)


async def _store_no(connection: Any, code: str) -> int:
    known = (
        await connection.execute(select(stores.c.store_no).where(stores.c.code == code))
    ).scalar_one_or_none()
    if known is not None:
        return int(known)
    return await registry.add_store(connection, code=code, name=code, zone="Europe/Paris", currency="EUR")


class HandStation:
    """A station's key and chain, driven step by step."""

    def __init__(self, code: str, *, seed: int = 1) -> None:
        self.code = code
        self.key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"{code}/{seed}".encode()).digest())
        self.public_key = self.key.public_key().public_bytes_raw()
        self.token = ""
        self.new_epoch(b"\x01" * 16)

    def new_epoch(self, epoch: bytes) -> None:
        """Start a chain of its own, as every start of the agent does."""
        self.epoch = epoch
        self.head = journal.genesis(self.code, epoch)
        self.last = 0

    async def enroll(self, centre: Centre, code: str) -> None:
        await centre.enrolment.enroll(EnrollRequest(code=code, public_key=self.public_key.hex()))

    def session_request(
        self, nonce: str, *, drain: bool = False, epochs: Sequence[dict[str, Any]] = ()
    ) -> dict[str, Any]:
        """A signed request for a session."""
        body: dict[str, Any] = {
            "station": self.code,
            "public_key": self.public_key.hex(),
            "nonce": nonce,
            "current_epoch": self.epoch.hex(),
            "epochs": list(epochs),
            "drain": drain,
            "versions": {"agent": "0.1.0"},
            "clock_ms": CREATED_MS,
        }
        message = journal.session_message(self.code, nonce, self.epoch, sha256(canonical(body)))
        return {**body, "signature": self.key.sign(message).hex()}

    async def sign_in(
        self, centre: Centre, *, drain: bool = False, epochs: Sequence[dict[str, Any]] = ()
    ) -> SessionReply:
        nonce = (await centre.sessions.hello()).nonce
        body = self.session_request(nonce, drain=drain, epochs=epochs)
        answer = await centre.sessions.open(body, SessionRequest.model_validate(body))
        self.token = answer.token
        return answer

    def batch(self, documents: Sequence[tuple[bytes, bytes]]) -> tuple[dict[str, Any], list[bytes]]:
        """Envelope and lines of the next documents (header, payload), signed; the chain moves on."""
        first_seq, prev_head = self.last + 1, self.head
        lines: list[bytes] = []
        for header, payload in documents:
            self.last += 1
            self.head = journal.seal(self.head, self.last, header, payload).head
            lines += [header, payload]
        envelope = {
            "epoch": self.epoch.hex(),
            "first_seq": first_seq,
            "prev_head": prev_head.hex(),
            "count": len(documents),
            "last_head": self.head.hex(),
            "signature": self.key.sign(
                journal.signed_message(self.code, self.epoch, self.last, self.head)
            ).hex(),
        }
        return envelope, lines

    async def push(self, centre: Centre, documents: Sequence[tuple[bytes, bytes]]) -> Acked:
        """Seal the next documents and send them."""
        envelope, lines = self.batch(documents)
        return await centre.intake.push(centre.session(self.token), envelope, lines)


async def enrolled(centre: Centre, code: str = "T-1") -> HandStation:
    """A station that is enrolled and signed in."""
    station = HandStation(code)
    await station.enroll(centre, await add_station(centre, code))
    await station.sign_in(centre)
    return station


async def count(centre: Centre, table: str, where: str = "1 = 1") -> int:
    """How many rows a table has."""
    async with centre.database.read() as connection:
        return int(
            (await connection.execute(text(f"SELECT count(*) FROM {table} WHERE {where}"))).scalar_one()
        )
