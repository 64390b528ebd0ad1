"""Who is speaking: nonce, session, token; and whether two machines speak as one station.

Nonce and token are timed by the database's clock, so every node can check them and nobody compares a station's clock.
What a session means is decided by `central.intake.decide`; here the facts are read and the decision is written, both
under the station row's lock.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy.ext.asyncio import AsyncConnection

from central.db import registry
from central.db.database import Database
from central.db.registry import Caller
from central.identities import StationIdentity
from central.intake.decide import KeyState, SessionClaim, SessionDecision, StationFacts, decide_session
from central.registry import secrets
from central.together import Together
from shared import PROTOCOL_VERSION, __version__, journal
from shared.canonical import canonical, sha256
from shared.errors import BadInput, NotAllowed, NotAuthenticated
from shared.protocol.messages import EpochClaim, EpochState, Hello, Limits, SessionReply, SessionRequest

SKEW_ALERT_MS = 60_000
APPROVAL_RETRY_S = 15
"""Somebody at HQ approves while others stand before the till and wait for it."""
READ_BACK_MS = 35 * 86_400_000
"""Epochs touched within this time are offered to be read back (R7)."""

Key = tuple[int, bytes]
"""(station, public key)"""
logger = logging.getLogger(__name__)


class Sessions:
    """Sessions of stations on one database; any number of nodes hold the same secret."""

    def __init__(self, database: Database, secret: bytes, centre_id: str, minimum_agent: str) -> None:
        self._minimum_agent = minimum_agent
        self._database = database
        self._secret = secret
        self._centre_id = centre_id
        self._callers: Together[Key, None, tuple[Caller | None, int]] = Together(self._read_callers)

    async def hello(self) -> Hello:
        """A nonce, the time and what this centre speaks."""
        async with self._database.read() as connection:
            now_ms = await self._database.now_ms(connection)
        return Hello(
            nonce=secrets.make_nonce(self._secret, now_ms),
            time_ms=now_ms,
            centre=self._centre_id,
            versions={
                "protocol": PROTOCOL_VERSION,
                "centre": __version__,
                "minimum_agent": self._minimum_agent,
            },
            limits={
                "document_bytes": journal.DOCUMENT_MAX_BYTES,
                "batch_documents": journal.BATCH_MAX_DOCUMENTS,
                "batch_bytes": journal.BATCH_MAX_BYTES,
                "nonce_s": Limits.NONCE_S,
                "token_s": Limits.TOKEN_S,
                "page_rows": Limits.PAGE_ROWS,
                "wait_s": Limits.WAIT_S,
            },
        )

    async def open(self, claimed: Mapping[str, Any], request: SessionRequest) -> SessionReply:
        """Open a session.

        Args:
            claimed: the request as it came: its signature covers the canonical bytes of all but itself.
        Raises:
            NotAuthenticated: unknown station or key, wrong signature, a nonce that is too old or not ours.
            NotAllowed: the key or station is revoked, or HQ has not approved the station yet.
        """
        unsigned = {name: value for name, value in claimed.items() if name != "signature"}
        epoch, public_key = bytes.fromhex(request.current_epoch), bytes.fromhex(request.public_key)
        message = journal.session_message(request.station, request.nonce, epoch, sha256(canonical(unsigned)))
        try:
            Ed25519PublicKey.from_public_bytes(public_key).verify(bytes.fromhex(request.signature), message)
        except (InvalidSignature, ValueError):
            raise BadInput("the session's signature is not of its key", code="wrong-signature") from None
        nonce_ms = secrets.nonce_ms(self._secret, request.nonce)
        return await self._database.run(
            lambda connection: self._open(connection, request, nonce_ms, public_key)
        )

    async def _open(
        self, connection: AsyncConnection, request: SessionRequest, nonce_ms: int, public_key: bytes
    ) -> SessionReply:
        now_ms = await self._database.now_ms(connection)
        if now_ms - nonce_ms > Limits.NONCE_S * 1_000:
            raise NotAuthenticated("the nonce is too old", hint="say hello again", code="stale-nonce")
        station = await registry.station_by_code(connection, request.station, lock=True)
        state = (
            await registry.key_state(connection, station.station_no, public_key)
            if station is not None
            else None
        )
        if station is None or state is None:
            raise NotAuthenticated(
                f'station "{request.station}" is not enrolled here with this key', hint="enrol again"
            )
        if station.state == "waiting":
            raise NotAllowed(
                f'station "{station.code}" waits for approval by HQ',
                code="not-approved",
                retry_after_s=APPROVAL_RETRY_S,
            )
        current_epoch = bytes.fromhex(request.current_epoch)
        decision = await self._decide(connection, station, request, nonce_ms, state)
        if decision.refusal == "key-revoked":
            raise NotAllowed(
                f'station "{station.code}" was revoked by HQ', hint="ask HQ why", code="key-revoked"
            )
        if decision.refusal:
            raise NotAuthenticated(
                "a later session of this station was accepted", hint="say hello again", code=decision.refusal
            )
        if decision.counts:
            await self._write(connection, station, current_epoch, nonce_ms, decision, now_ms)
        await registry.update_station(connection, station.station_no, last_seen_ms=now_ms)
        self._look_at_clock(station.code, request.clock_ms, now_ms)
        return await self._reply(connection, station, request, public_key, decision, now_ms)

    async def _decide(
        self,
        connection: AsyncConnection,
        station: Any,
        request: SessionRequest,
        nonce_ms: int,
        key_state: str,
    ) -> SessionDecision:
        current_epoch = bytes.fromhex(request.current_epoch)
        rows = await registry.epoch_rows(connection, station.station_no, {current_epoch})
        were_current = frozenset(epoch for epoch, row in rows.items() if row.was_current)
        facts = StationFacts(
            station.quarantined, station.newest_nonce_ms, station.current_epoch, were_current
        )
        key = KeyState.REVOKED if station.state == "revoked" else KeyState(key_state)
        return decide_session(facts, SessionClaim(nonce_ms, current_epoch, request.drain, key))

    async def _write(
        self,
        connection: AsyncConnection,
        station: Any,
        current_epoch: bytes,
        nonce_ms: int,
        decision: SessionDecision,
        now_ms: int,
    ) -> None:
        genesis = journal.genesis(station.code, current_epoch)
        await registry.mark_current(
            self._database, connection, station.station_no, current_epoch, genesis, now_ms
        )
        await registry.update_station(
            connection,
            station.station_no,
            newest_nonce_ms=nonce_ms,
            current_epoch=current_epoch,
            quarantined=station.quarantined or decision.quarantine,
        )
        if decision.quarantine and not station.quarantined:
            await registry.note(
                connection, now_ms, f"station {station.code}", "quarantined",
                f"epoch {current_epoch.hex()} is current again after another one was: two machines use this identity",
            )  # fmt: skip

    def _look_at_clock(self, station: str, clock_ms: int, now_ms: int) -> None:
        if abs(clock_ms - now_ms) > SKEW_ALERT_MS:
            logger.warning("station_clock_wrong", extra={"station": station, "skew_ms": clock_ms - now_ms})

    async def _reply(
        self,
        connection: AsyncConnection,
        station: Any,
        request: SessionRequest,
        public_key: bytes,
        decision: SessionDecision,
        now_ms: int,
    ) -> SessionReply:
        named = {bytes.fromhex(claim.epoch) for claim in request.epochs}
        known = await registry.epoch_rows(connection, station.station_no, named)
        others = await registry.other_epochs(
            connection,
            station.station_no,
            named | {bytes.fromhex(request.current_epoch)},
            now_ms - READ_BACK_MS,
        )
        session = secrets.Session(
            station.station_no, station.code, public_key, now_ms + Limits.TOKEN_S * 1_000
        )
        return SessionReply(
            token=secrets.make_token(self._secret, session),
            expires_in_s=Limits.TOKEN_S,
            epochs=[
                _state(row)
                if (row := known.get(bytes.fromhex(claim.epoch)))
                else _never_seen(station.code, claim)
                for claim in request.epochs
            ],
            other_epochs=[_state(row) for row in others],
            last_number=max(station.last_number, await registry.last_number(connection, station.station_no)),
            time_ms=now_ms,
            quarantined=station.quarantined or decision.quarantine,
            minimum_version=self._minimum_agent,
            centre=self._centre_id,
        )

    def session(self, token: str) -> secrets.Session:
        """What a token says, for those who check its age and the station's row themselves."""
        return secrets.read_token(self._secret, token)

    async def authenticate(self, token: str) -> StationIdentity:
        """Whose token it is.

        Raises:
            NotAuthenticated: not ours, or `session-expired`.
            NotAllowed: the key or station was revoked since.
        """
        session = self.session(token)
        row, now_ms = await self._callers.ask((session.station_no, session.public_key), None)
        check(session, row.state if row else None, row.key_state if row else None, now_ms)
        assert row is not None
        retired = row.key_state == KeyState.RETIRED
        return StationIdentity(session.station_no, row.code, row.store_no, session.public_key, retired)

    async def _read_callers(self, asked: Collection[Key]) -> Mapping[Key, tuple[Caller | None, int]]:
        async with self._database.read() as connection:
            found = await registry.callers(
                self._database, connection, [station_no for station_no, _ in asked]
            )
            now_ms = await self._database.now_ms(connection)
        return {key: (found.get(key), now_ms) for key in asked}


def check(session: secrets.Session, state: str | None, key_state: str | None, now_ms: int) -> None:
    """Refuse a session that ran out, or whose station or key is gone (None) or revoked."""
    if session.expires_ms < now_ms:
        raise NotAuthenticated("the session has run out", hint="open a new session", code="session-expired")
    if state is None or key_state is None:
        raise NotAuthenticated(
            f'station "{session.code}" is not enrolled here with this key', hint="enrol again"
        )
    if "revoked" in (state, key_state):
        raise NotAllowed(f'station "{session.code}" was revoked by HQ', hint="ask HQ why", code="key-revoked")


def _state(row: Any) -> EpochState:
    return EpochState(
        epoch=row.epoch.hex(),
        last=row.last,
        head=row.head.hex(),
        safe_seq=row.safe_seq,
        safe_head=row.safe_head.hex(),
    )


def _never_seen(station: str, claim: EpochClaim) -> EpochState:
    genesis = journal.genesis(station, bytes.fromhex(claim.epoch)).hex()
    return EpochState(epoch=claim.epoch, last=0, head=genesis, safe_seq=0, safe_head=genesis)
