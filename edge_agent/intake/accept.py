"""The one door in: local API, spool folder and till page all end here. Validate, seal, write, answer.

Nothing is sent from here and nothing here waits for a network. Invariant: when `accept` returns, the document is on
the disk, whatever happens next; when it raises, nothing of it is. A submission keeps every field that the till gave,
also those that this agent does not know.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import zoneinfo
from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol

import pydantic
from pydantic_core import from_json

from edge_agent.db.commit import NUMBER_MAX_CHARS, Draft
from edge_agent.db.journal import Journal
from shared.canonical import canonical, parse_object
from shared.clock import Clock, from_rfc3339, rfc3339
from shared.documents import KINDS, SCHEMA, references_of
from shared.documents.envelope import Accepted, Submission
from shared.documents.masking import masked, may_hold_card_number, without_cards
from shared.errors import BadInput, ConfigError, TooLarge
from shared.ids import uuid7
from shared.journal import DOCUMENT_MAX_BYTES
from shared.protocol.problems import from_validation

KEY_MAX_CHARS = 200
QUARTER_MS = 15 * 60_000
"""A store's day begins on a quarter of an hour of UTC, whatever its zone."""

_SUBMISSION_FIELDS = frozenset(Submission.model_fields)
# Integers above 64 bits have no canonical form, and a fast parser rounds them silently to a float.
_ALL_DIGITS_ALIKE = bytes.maketrans(b"123456789", b"000000000")
_HUGE_INTEGER = b"0" * 19


class Contact(Protocol):
    """What the line to the centre last learned; here only for the header."""

    @property
    def offset_ms(self) -> int | None: ...


class Intake:
    """Turns submissions into documents of the journal.

    Args:
        zone: IANA zone of the store; it decides the business date where the till gives none.
        boot: names the run of the monotonic clock that ticks belong to.
        grew: set after each new document, so that the upward line looks at once.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        store: str,
        zone: str,
        clock: Clock,
        contact: Contact,
        boot: str,
        grew: asyncio.Event,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._journal = journal
        self._store = store
        self._zone_name = zone
        self._zone = _zone(zone)
        self._clock = clock
        self._contact = contact
        self._boot = boot
        self._grew = grew
        self._random_bytes = random_bytes
        self._day = (-1, "")
        self._second = (-1, "")

    async def accept(
        self, submission: bytes, *, idempotency_key: str | None, source: str
    ) -> tuple[Accepted, bool]:
        """Make one submission a durable document.

        Args:
            submission: JSON of a `Submission`.
            idempotency_key: the caller's name for this request; keys of different sources are apart.
            source: who hands it in: `api` or `spool`.
        Returns:
            the answer, and whether it repeats an earlier one.
        Raises:
            BadInput, TooLarge: it cannot be taken as it is; nothing was stored.
            Conflict: its doc_id stands for another document.
            CannotStore: the disk refused; nothing was stored.
        """
        draft = self._draft(submission, idempotency_key, source)
        accepted, repeated = await self._journal.append(draft)
        if not repeated:
            self._grew.set()
        return accepted, repeated

    def _draft(self, raw: bytes, idempotency_key: str | None, source: str) -> Draft:
        if len(raw) > DOCUMENT_MAX_BYTES:
            raise _too_large(len(raw))
        body = parse_object(raw, "the submission")
        if _HUGE_INTEGER in raw.translate(_ALL_DIGITS_ALIKE):
            body = from_json(raw)
            canonical(body)  # raises for an integer that would lose digits
        try:
            submission = Submission.model_validate(body)
            model = KINDS.get(submission.kind)
            if model is None:
                raise BadInput(
                    f'the kind "{submission.kind}" is not known to this agent',
                    hint=f"it takes {', '.join(KINDS)}; for a newer kind update the agent",
                    code="unknown-kind",
                )
            model.model_validate(body["payload"])
        except pydantic.ValidationError as error:
            raise without_cards(from_validation(error, "the submission")) from None
        payload_value = body["payload"]
        payload = canonical(payload_value)
        if may_hold_card_number(payload):
            payload_value = masked(payload_value)
            payload = canonical(payload_value)
        now_ms = self._clock.now_ms()
        header = self._header(submission, body, payload_value, now_ms)
        size = len(payload) + len(canonical(header)) + NUMBER_MAX_CHARS
        if size > DOCUMENT_MAX_BYTES:
            raise _too_large(size)
        payload_hash = hashlib.sha256(payload).digest()
        return Draft(
            doc_id=header["doc_id"],
            kind=submission.kind,
            business_date=header["business_date"],
            header=header,
            number=submission.number,
            payload=payload,
            payload_hash=payload_hash,
            key=_key(idempotency_key, source),
            request_hash=_request_hash(body, payload_hash),
            sealed_ms=now_ms,
        )

    def _header(
        self, submission: Submission, body: dict[str, Any], payload: dict[str, Any], now_ms: int
    ) -> dict[str, Any]:
        header = {
            "doc_id": submission.doc_id or str(uuid7(now_ms, self._random_bytes(10))),
            "kind": submission.kind,
            "version": SCHEMA,
            "time": submission.time or self._rfc3339(now_ms),
            "zone": self._zone_name,
            "store": self._store,
            "boot": self._boot,
            "tick_ms": self._clock.tick_ms(),
            "offset_ms": self._contact.offset_ms,
            "business_date": submission.business_date or self._business_date(submission.time, now_ms),
            "refs": references_of(payload),
        }
        if len(body) > len(_SUBMISSION_FIELDS & body.keys()):
            unknown = {name: value for name, value in body.items() if name not in _SUBMISSION_FIELDS}
            header = {**masked(unknown), **header}
        return header

    def _business_date(self, time: str | None, now_ms: int) -> str:
        """The store's own day at the document's time, never derived from UTC."""
        quarter = (from_rfc3339(time) if time else now_ms) // QUARTER_MS
        if quarter != self._day[0]:
            day = datetime.fromtimestamp(quarter * QUARTER_MS / 1000, self._zone).strftime("%Y-%m-%d")
            self._day = (quarter, day)
        return self._day[1]

    def _rfc3339(self, now_ms: int) -> str:
        """As `shared.clock.rfc3339`; most documents fall into the second of the one before."""
        second = now_ms // 1000
        if second != self._second[0]:
            self._second = (second, rfc3339(second * 1000)[:-4])
        return f"{self._second[1]}{now_ms % 1000:03d}Z"


def _key(idempotency_key: str | None, source: str) -> str | None:
    if idempotency_key is None:
        return None
    if not 1 <= len(idempotency_key) <= KEY_MAX_CHARS:
        raise BadInput(
            f"the Idempotency-Key has {len(idempotency_key)} characters; it takes 1 to {KEY_MAX_CHARS}",
            hint="a UUID drawn with the receipt and kept until the answer is there",
            code="invalid-fields",
        )
    return f"{source}:{idempotency_key}"


def _request_hash(body: dict[str, Any], payload_hash: bytes) -> bytes:
    """What makes a repeated request the same one: all that was said, in whatever order and spacing."""
    said = {name: value for name, value in body.items() if name != "payload"}
    return hashlib.sha256(canonical(said) + payload_hash).digest()


def _too_large(size: int) -> TooLarge:
    return TooLarge(
        f"the document has {size} bytes; at most {DOCUMENT_MAX_BYTES} can be sealed",
        hint="attach pictures and the like elsewhere",
    )


def _zone(name: str) -> zoneinfo.ZoneInfo:
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError) as error:
        raise ConfigError(f'the store\'s time zone "{name}" is not known on this machine: {error}') from error
