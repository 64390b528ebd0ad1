"""What a foreign system hands in, and the form in which it is sealed. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import pydantic

from central.catalog.record_kinds import OWN_DESK
from central.intake.duplicates import Policy
from shared.canonical import canonical, sha256
from shared.clock import rfc3339
from shared.documents import KINDS, SCHEMA, references_of
from shared.documents.fields import BusinessDate, Code, Time
from shared.documents.masking import masked, may_hold_card_number, without_cards
from shared.errors import BadInput
from shared.protocol.problems import from_validation

_TAG = "counterflow-foreign"


class Submitted(pydantic.BaseModel):
    """What a foreign system hands in. `number` is its own, the one that people know the document by."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    kind: Code
    number: Code
    payload: dict[str, Any]
    source_id: Code | None = pydantic.Field(None, description="its own id of it; the number when absent")
    business_date: BusinessDate | None = pydantic.Field(
        None, description="the outlet's day of `time` when absent"
    )
    time: Time | None = pydantic.Field(None, description="now when absent")


class Taken(pydantic.BaseModel):
    """What became of it. `replaces` is the version before, `doc_id` the one that counts now."""

    doc_id: str
    kind: str
    number: str
    outcome: Literal["accepted", "updated", "unchanged", "skipped"]
    replaces: str | None = None


class Answer(NamedTuple):
    """`body` is the canonical form of `taken`; both are the first ones where the request was repeated."""

    status: int
    body: bytes
    repeated: bool

    @property
    def taken(self) -> Taken:
        return Taken.model_validate_json(self.body)


class Request(NamedTuple):
    """One document to be taken, whose it is, and under which name it may be repeated."""

    source: str
    outlet: str
    submitted: Submitted
    key: str | None = None  # Idempotency-Key
    policy: Policy | None = None  # the source's own where absent


class Read(NamedTuple):
    """A request, checked: what it says, and the bytes that are sealed."""

    request: Request
    payload: dict[str, Any]
    payload_bytes: bytes
    content_hash: bytes


def code_of(source: str, outlet: str) -> str:
    """The code under which a desk stands among the stations: no station can have it, for its "@"."""
    return OWN_DESK if source == OWN_DESK else f"{source}@{outlet}"


def read_request(request: Request) -> Read:
    """Check what was said by the model of its kind, and put it into the form that is sealed."""
    submitted = request.submitted
    if request.source == OWN_DESK:
        # What HQ published is whole: a barcode or a loyalty card in it is no number that a till must hide.
        said = submitted.model_dump(exclude={"payload"})
        raw = canonical(submitted.payload)
        return Read(request, submitted.payload, raw, sha256(canonical(said) + sha256(raw)))
    model = KINDS.get(submitted.kind)
    if model is None:
        raise BadInput(
            f'the kind "{submitted.kind}" is not known here',
            hint=f"it is one of {', '.join(KINDS)}",
            code="unknown-kind",
        )
    payload = submitted.payload
    raw = canonical(payload)
    try:
        model.model_validate(payload)
    except pydantic.ValidationError as error:
        raise without_cards(from_validation(error, "payload")) from None
    if may_hold_card_number(raw):
        payload = masked(payload)
        raw = canonical(payload)
    said = submitted.model_dump(exclude={"payload"})
    return Read(request, payload, raw, sha256(canonical(said) + sha256(raw)))


def envelope(request: Request) -> dict[str, Any]:
    """What may count for the duplicate check beside the payload."""
    submitted = request.submitted
    return {
        "number": submitted.number,
        "business_date": submitted.business_date,
        "outlet": request.outlet,
        "source_id": submitted.source_id or submitted.number,
    }


def header_of(read: Read, taken: Taken, store: str, zone: str, time_ms: int) -> dict[str, Any]:
    """The header that is sealed; `refs` has the version before, so that it is applied first."""
    submitted = read.request.submitted
    date = datetime.fromtimestamp(time_ms / 1_000, ZoneInfo(zone)).strftime("%Y-%m-%d")
    refs = references_of(read.payload)
    return {
        "doc_id": taken.doc_id,
        "kind": submitted.kind,
        "version": SCHEMA,
        "time": submitted.time or rfc3339(time_ms),
        "zone": zone,
        "store": store,
        "boot": "",
        "tick_ms": 0,
        "offset_ms": None,
        "business_date": submitted.business_date or date,
        "number": submitted.number,
        "refs": list(dict.fromkeys([taken.replaces, *refs])) if taken.replaces else refs,
        "source": read.request.source,
        "source_id": submitted.source_id or submitted.number,
        **({"replaces": taken.replaces} if taken.replaces else {}),
    }


def doc_id_of(*said: str) -> UUID:
    """A doc_id that follows from what was said (UUIDv8 of a hash): said again, it is the same document."""
    value = int.from_bytes(sha256(canonical([_TAG, *said]))[:16], "big")
    value = value & ~(0xF << 76) | 0x8 << 76
    return UUID(int=value & ~(0x3 << 62) | 0x2 << 62)
