"""A sealed batch: what the centre's door checks holds, and the signature covers the last head."""

from __future__ import annotations

import os

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.db.positions import Stored
from edge_agent.sync.batch import Batch, seal_batch
from shared import journal
from shared.protocol import framing, wire
from shared.protocol.messages import PushEnvelope

EPOCH = b"\x05" * 16
KEY = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)


def stored(count: int, *, damaged: int | None = None, size: int = 10) -> list[Stored]:
    head = journal.genesis("T-1", EPOCH)
    documents = []
    for seq in range(1, count + 1):
        sealed = journal.seal(head, seq, b'{"h":%d}' % seq, b'"' + os.urandom(size).hex().encode() + b'"')
        head = sealed.head
        payload = b"\xff\n\x00" if seq == damaged else sealed.payload
        documents.append(
            Stored(seq, sealed.header, payload, sealed.header_hash, sealed.payload_hash, head, seq == damaged)
        )
    return documents


def seal(documents: list[Stored]) -> Batch:
    return seal_batch("T-1", EPOCH, 1, journal.genesis("T-1", EPOCH), documents, None, KEY.sign)


def unpacked(batch: Batch) -> tuple[PushEnvelope, list[tuple[bytes, bytes]]]:
    body, headers = batch.packed
    wire.check_digest(body, headers)
    envelope, lines = framing.split(
        wire.unpack(body, headers.get("Content-Encoding"), journal.BATCH_MAX_RAW_BYTES)
    )
    return PushEnvelope.model_validate(envelope), framing.pairs(lines)


def test_it_carries_the_exact_bytes_and_a_signature_over_the_last_head() -> None:
    """What was hashed is what travels."""
    documents = stored(3)
    envelope, pairs = unpacked(seal(documents))
    assert pairs == [(document.header, document.payload) for document in documents]
    assert (envelope.first_seq, envelope.count) == (1, 3)
    message = journal.signed_message("T-1", EPOCH, 3, documents[-1].head)
    KEY.public_key().verify(bytes.fromhex(envelope.signature), message)


def test_a_damaged_document_cannot_break_the_frame() -> None:
    """Line feeds and broken UTF-8 travel armoured, with the hashes that the chain was built with."""
    documents = stored(3, damaged=2)
    envelope, pairs = unpacked(seal(documents))
    assert framing.unarmour(pairs[1][1]) == b"\xff\n\x00"
    assert envelope.damaged["2"] == (documents[1].header_hash.hex(), documents[1].payload_hash.hex())


def test_what_does_not_fit_is_known_before_it_is_sent() -> None:
    """A batch above the wire's bound is seen here; one document alone never is."""
    documents = stored(5, size=500_000)
    assert seal(documents).too_large
    assert not seal(documents[:1]).too_large
