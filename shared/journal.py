"""The journal's hash chain: what a station seals, the centre can verify, and nobody can change unseen.

`h[0] = SHA256("CF1", station, epoch)`, `h[n] = SHA256(h[n-1], seq, SHA256(header), SHA256(payload))`; every field is
prefixed by its length as u32 big-endian, and seq is a u64 big-endian. A batch is signed (Ed25519) over
`"CF1", station, epoch, last_seq, last_head`. Test vectors: docs/protocol/chain-vectors.json.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

DOCUMENT_MAX_BYTES = 1 << 20
"""Header and payload together; refused before it is sealed."""
BATCH_MAX_DOCUMENTS = 1_000
BATCH_MAX_BYTES = 2 << 20
"""Of a push as it stands on the wire (compressed)."""
BATCH_MAX_RAW_BYTES = 64 << 20
"""Of a push once unpacked: a bound against bombs (I24)."""

_TAG = b"CF1"
_sha256 = hashlib.sha256


def _field(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _u64(number: int) -> bytes:
    return number.to_bytes(8, "big")


# Within a link every field has a fixed length, so its prefixes are constants.
_32 = (32).to_bytes(4, "big")
_8 = (8).to_bytes(4, "big")


def genesis(station: str, epoch: bytes) -> bytes:
    """The head of an epoch before its first document."""
    return _sha256(_field(_TAG) + _field(station.encode()) + _field(epoch)).digest()


def link(head: bytes, seq: int, header_hash: bytes, payload_hash: bytes) -> bytes:
    """The head after document *seq*, given the head before it and the SHA-256 of its two parts."""
    return _sha256(_32 + head + _8 + _u64(seq) + _32 + header_hash + _32 + payload_hash).digest()


@dataclass(frozen=True, slots=True)
class Sealed:
    """A document at its place in a chain: the exact bytes that were hashed, and the head after it."""

    seq: int
    header: bytes
    payload: bytes
    header_hash: bytes
    payload_hash: bytes
    head: bytes


def seal(head: bytes, seq: int, header: bytes, payload: bytes) -> Sealed:
    """Put one document at position *seq* behind *head*."""
    header_hash, payload_hash = _sha256(header).digest(), _sha256(payload).digest()
    return Sealed(seq, header, payload, header_hash, payload_hash, link(head, seq, header_hash, payload_hash))


def heads(prev_head: bytes, first_seq: int, hashes: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
    """The head after each document of a run, from the (header hash, payload hash) of each."""
    result = []
    head = prev_head
    for seq, (header_hash, payload_hash) in enumerate(hashes, first_seq):
        head = link(head, seq, header_hash, payload_hash)
        result.append(head)
    return result


def signed_message(station: str, epoch: bytes, last_seq: int, last_head: bytes) -> bytes:
    """What a station signs for a batch."""
    return b"".join(_field(part) for part in (_TAG, station.encode(), epoch, _u64(last_seq), last_head))


def session_message(station: str, nonce: str, epoch: bytes, body_hash: bytes) -> bytes:
    """What a station signs to open a session: its nonce, its current epoch and the hash of all that it claims."""
    return b"".join(
        _field(part) for part in (b"CF1-session", station.encode(), nonce.encode(), epoch, body_hash)
    )


def first_break(
    prev_head: bytes, first_seq: int, documents: Sequence[tuple[bytes, bytes]], stored_heads: Sequence[bytes]
) -> int | None:
    """The first seq whose stored head does not follow from its bytes, or None if the chain is whole.

    Args:
        documents: (header, payload) bytes of each, in order from *first_seq*.
        stored_heads: the head recorded after each.
    """
    head = prev_head
    for seq, ((header, payload), stored) in enumerate(zip(documents, stored_heads, strict=True), first_seq):
        head = seal(head, seq, header, payload).head
        if head != stored:
            return seq
    return None
