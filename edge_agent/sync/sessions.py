"""Hold the one session that all lines share: opened when needed, renewed once when it expires.

Rule 1: the station never compares an expiry with its own clock; the centre says `session-expired`.
Rule 2: after one renewal that does not help the refusal goes up, and the line that met it backs off.
Rule 3: what the session told about each epoch (`cursors`) is what the upward plan goes by; it is replaced as a whole.
Rule 4: a clock that was set ends the session, so that its offset is measured anew before documents bear a wrong one.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from edge_agent.db.journal import Journal
from edge_agent.identity import Identity
from edge_agent.sync.client import CentreClient, Refused
from edge_agent.sync.contact import Contact
from edge_agent.sync.plan import ServerEpoch, confirms
from shared.canonical import canonical
from shared.clock import Clock
from shared.errors import ConnectionFailed
from shared.journal import session_message
from shared.protocol.messages import EpochState, SessionReply, SessionRequest

log = logging.getLogger(__name__)

NOT_AUTHENTICATED = 401
"""A new session cures it: the old one has expired, or the centre was restored and does not know its own token."""

CLOCK_STEP_MS = 5_000
"""Device time that went so far from the tick was set by somebody, or the machine slept."""

T = TypeVar("T")


class SessionHolder:
    """The station's session with the centre.

    Attributes:
        cursors: the centre's side of each epoch, by epoch; None without a session.
        others: epochs of this station that only the centre holds (R7).
    """

    def __init__(
        self,
        identity: Identity,
        journal: Journal,
        client: CentreClient,
        contact: Contact,
        clock: Clock,
        versions: dict[str, str],
        *,
        drain: bool = False,
    ) -> None:
        self._identity = identity
        self._journal = journal
        self._client = client
        self._contact = contact
        self._clock = clock
        self._versions = versions
        self._drain = drain
        self._token: str | None = None
        self._opening = asyncio.Lock()
        self._time_over_tick_ms = 0
        self.cursors: dict[bytes, ServerEpoch] | None = None
        self.others: list[EpochState] = []

    @property
    def is_read_back(self) -> bool:
        """Whether all that the centre held of this station, when the session began, is here too."""
        return self.cursors is not None and not self.others

    async def token(self) -> str:
        """The session's token, from a session opened now if there is none."""
        async with self._opening:
            stepped_ms = self._clock.now_ms() - self._clock.tick_ms() - self._time_over_tick_ms
            if self._token is not None and abs(stepped_ms) > CLOCK_STEP_MS:
                log.warning("clock_was_set", extra={"by_ms": stepped_ms})
                self.renew()
            if self._token is None:
                await self._open()
            assert self._token is not None
            return self._token

    def expired(self, token: str) -> None:
        """Forget the session of *token*; a newer one, opened by another line meanwhile, stays."""
        if token == self._token:
            self.renew()

    def renew(self) -> None:
        """Let the next request open a new session, in which both sides tell afresh where they are."""
        self._token = None
        self.cursors = None

    async def call(self, request: Callable[[str], Awaitable[T]]) -> T:
        """Perform *request* with a token; at 401 once more with a new one."""
        token = await self.token()
        try:
            result = await request(token)
        except Refused as refusal:
            if refusal.http_status != NOT_AUTHENTICATED:
                raise
            self.expired(token)
            result = await request(await self.token())
        self._contact.met(self._clock.now_ms())
        return result

    async def _open(self) -> None:
        """Say hello and claim the epochs that are not safe yet."""
        try:
            await self._greet()
        except Refused as refusal:
            self._contact.revoked = refusal.name == "key-revoked"
            self._contact.approved = refusal.name != "not-approved"
            raise

    async def _greet(self) -> None:
        hello = await self._client.hello()
        self._check_centre(hello.centre)
        sent_ms = self._clock.now_ms()
        sent_tick = self._clock.tick_ms()
        reply = await self._client.open_session(await self._request(hello.nonce, sent_ms))
        self._check_centre(reply.centre)
        # The answer's time lies between sending and receiving; by the tick, so a clock set meanwhile does no harm.
        half_way_ms = (self._clock.tick_ms() - sent_tick) // 2
        await self._take(reply, sent_ms + half_way_ms)
        self._time_over_tick_ms = sent_ms - sent_tick

    async def _request(self, nonce: str, now_ms: int) -> SessionRequest:
        claims = await self._journal.claims()
        unsigned = SessionRequest(
            station=self._identity.station,
            public_key=self._identity.public_key.hex(),
            nonce=nonce,
            current_epoch=self._journal.current_epoch.hex(),
            epochs=claims,
            drain=self._drain,
            versions=self._versions,
            clock_ms=now_ms,
            signature="0" * 128,
        )
        claim = unsigned.model_dump(mode="json", exclude={"signature"})
        message = session_message(
            self._identity.station,
            nonce,
            self._journal.current_epoch,
            hashlib.sha256(canonical(claim)).digest(),
        )
        return unsigned.model_copy(update={"signature": self._identity.sign(message).hex()})

    async def _take(self, reply: SessionReply, device_ms: int) -> None:
        """Make what the centre told the basis of the next steps."""
        cursors: dict[bytes, ServerEpoch] = {}
        others = list(reply.other_epochs)
        for state in reply.epochs:
            epoch, head, safe_head = (
                bytes.fromhex(state.epoch),
                bytes.fromhex(state.head),
                bytes.fromhex(state.safe_head),
            )
            local_head = await self._journal.head_at(epoch, state.last) if state.last else None
            cursors[epoch] = ServerEpoch(state.last, head, state.safe_seq, safe_head, local_head)
            if state.last and local_head is None:
                others.append(state)
            if confirms(local_head, head):
                # A reply that was lost, or news of what is safe: as good as an acknowledgement.
                await self._journal.record_cursor(epoch, state.last, state.safe_seq, safe_head)
        await self._journal.raise_number(reply.last_number)
        self.cursors = cursors
        # What is only at the centre is of use to the station itself, not to an archive on its way up.
        self.others = [] if self._drain else others
        self._token = reply.token
        contact = self._contact
        contact.offset_ms = reply.time_ms - device_ms
        contact.quarantined = reply.quarantined
        contact.minimum_version = reply.minimum_version
        contact.revoked, contact.approved = False, True
        contact.met(device_ms)
        log.info(
            "session_opened",
            extra={"epochs": len(cursors), "offset_ms": contact.offset_ms, "quarantined": reply.quarantined},
        )

    def _check_centre(self, centre: str) -> None:
        if centre != self._identity.centre:
            raise ConnectionFailed(
                f"{self._client.route.server_url} is another centre than the one that enrolled this station",
                hint="look at server_url; to move to that centre, enrol with a code from it",
                code="other-centre",
            )
