"""A push as it came, proven: its count, sizes and chain are right before anybody waits for a lock. Pure.

Business is not judged here: a header that nobody can read is still a document of the chain. It has no doc_id then,
passes no gate, and is parked when it is applied.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
import pydantic

from central.intake.decide import PushClaim
from shared import journal
from shared.errors import BadInput, TooLarge
from shared.protocol import framing, problems
from shared.protocol.messages import PushEnvelope

_DOC_ID_BYTES = 16
_sha256 = hashlib.sha256


class Arrived(NamedTuple):
    """One document of a push. `header` is what `header_bytes` say, empty where they cannot be read."""

    doc_id: bytes | None
    header_bytes: bytes
    payload_bytes: bytes
    payload_hash: bytes
    header: dict[str, Any]
    recorded: tuple[bytes, bytes] | None
    """Of a damaged document: the hashes that the chain was built with."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Documents of one epoch that follow one another, with the heads that their bytes give."""

    epoch: bytes
    genesis: bytes
    claim: PushClaim
    documents: Sequence[Arrived]
    parent: tuple[bytes, int, bytes] | None
    signature: bytes
    signed: bytes
    last_number: int


def read_batch(station: str, envelope: dict[str, Any], lines: Sequence[bytes]) -> Batch:
    """Check a push by itself.

    Raises:
        BadInput: `invalid-fields`, `wrong-count`, `malformed-body`, `wrong-chain`.
        TooLarge: too many documents, or one above its limit.
    """
    message = _envelope(envelope)
    pairs = framing.pairs(lines)
    if len(pairs) != message.count:
        raise BadInput(
            f"the envelope says {message.count} documents, {len(pairs)} follow", code="wrong-count"
        )
    if len(pairs) > journal.BATCH_MAX_DOCUMENTS:
        raise TooLarge(f"{len(pairs)} documents in one push; at most {journal.BATCH_MAX_DOCUMENTS} are taken")
    epoch, head = bytes.fromhex(message.epoch), bytes.fromhex(message.prev_head)
    documents, heads = [], []
    for seq, (header_bytes, payload_bytes) in enumerate(pairs, message.first_seq):
        if len(header_bytes) + len(payload_bytes) > journal.DOCUMENT_MAX_BYTES:
            raise TooLarge(
                f"document {seq} has {len(header_bytes) + len(payload_bytes)} bytes; at most "
                f"{journal.DOCUMENT_MAX_BYTES} are taken"
            )
        if message.damaged and str(seq) in message.damaged:
            document = _damaged(header_bytes, payload_bytes, message.damaged[str(seq)])
            header_hash, payload_hash = document.recorded or (b"", b"")
        else:
            header_hash, payload_hash = _sha256(header_bytes).digest(), _sha256(payload_bytes).digest()
            header = _header(header_bytes)
            document = Arrived(_doc_id(header), header_bytes, payload_bytes, payload_hash, header, None)
        head = journal.link(head, seq, header_hash, payload_hash)
        heads.append(head)
        documents.append(document)
    if head.hex() != message.last_head:
        raise BadInput(
            f"the documents from {message.first_seq} on do not give the head that the push claims",
            hint="the journal or the network changed them; run `counterflow-agent verify`",
            code="wrong-chain",
        )
    claim = PushClaim(message.first_seq, bytes.fromhex(message.prev_head), heads)
    return Batch(
        epoch=epoch,
        genesis=journal.genesis(station, epoch),
        claim=claim,
        documents=documents,
        parent=_parent(message.parent),
        signature=bytes.fromhex(message.signature),
        signed=journal.signed_message(station, epoch, claim.last_seq, head),
        last_number=max((_counter(station, document.header) for document in documents), default=0),
    )


def _envelope(envelope: dict[str, Any]) -> PushEnvelope:
    try:
        return PushEnvelope.model_validate(envelope)
    except pydantic.ValidationError as error:
        raise problems.from_validation(error, "the first line") from None


def _header(raw: bytes) -> dict[str, Any]:
    try:
        header = orjson.loads(raw)
    except ValueError:
        return {}
    return header if isinstance(header, dict) else {}


def _doc_id(header: dict[str, Any]) -> bytes | None:
    try:
        doc_id = bytes.fromhex(header["doc_id"].replace("-", ""))
    except (KeyError, AttributeError, ValueError):
        return None
    return doc_id if len(doc_id) == _DOC_ID_BYTES else None


def _damaged(header: bytes, payload: bytes, recorded: tuple[str, str]) -> Arrived:
    try:
        header_hash, payload_hash = bytes.fromhex(recorded[0]), bytes.fromhex(recorded[1])
    except ValueError:
        raise BadInput(
            "the recorded hashes of a damaged document are not hexadecimal", code="malformed-body"
        ) from None
    if len(header_hash) != 32 or len(payload_hash) != 32:
        raise BadInput("the recorded hashes of a damaged document must have 32 bytes", code="malformed-body")
    # No doc_id: a good copy of it may still come, and must find the gate open.
    raw_header, raw_payload = framing.unarmour(header), framing.unarmour(payload)
    return Arrived(None, raw_header, raw_payload, payload_hash, {}, (header_hash, payload_hash))


def _parent(parent: tuple[str, int, str] | None) -> tuple[bytes, int, bytes] | None:
    if parent is None:
        return None
    try:
        return bytes.fromhex(parent[0]), parent[1], bytes.fromhex(parent[2])
    except ValueError:
        raise BadInput("parent: epoch and head must be hexadecimal", code="invalid-fields") from None


def _counter(station: str, header: dict[str, Any]) -> int:
    """The counter in a number that the station drew itself ("T-1-000042"), 0 for a till's own number."""
    number = header.get("number")
    if not isinstance(number, str) or not number.startswith(station):
        return 0
    digits = number[len(station) :].lstrip("-")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 18 else 0
