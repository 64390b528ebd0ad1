"""A push by itself: what is right goes on, and every contradiction has its name."""

from __future__ import annotations

from typing import Any

import pytest

from central.intake.batch import read_batch
from shared import journal
from shared.canonical import canonical
from shared.errors import BadInput, TooLarge
from shared.protocol import framing
from tests.support.centre import HandStation
from tests.support.sales import doc_id, header, sale

Push = tuple[dict[str, Any], list[bytes]]


def push(*documents: tuple[bytes, bytes]) -> Push:
    return HandStation("T-1").batch(documents)


def test_documents_and_heads_follow_from_the_bytes() -> None:
    """A good push yields each document with its id, its hashes and the head after it."""
    station = HandStation("T-1")
    envelope, lines = station.batch([sale(1), sale(2)])
    batch = read_batch("T-1", envelope, lines)
    assert [document.doc_id for document in batch.documents] == [
        bytes.fromhex(doc_id(n).replace("-", "")) for n in (1, 2)
    ]
    assert batch.claim.heads[-1] == station.head
    assert batch.genesis == journal.genesis("T-1", station.epoch)
    assert batch.last_number == 2


def test_numbers_of_the_till_itself_do_not_count() -> None:
    """Only the station's own series moves its counter."""
    batch = read_batch(
        "T-1", *push(sale(1, number="T-1-000041"), sale(2, number="A-77"), sale(3, number="T-1-x"))
    )
    assert batch.last_number == 41


def test_header_that_nobody_can_read_is_still_a_document() -> None:
    """Business is not judged at the door: it has no doc_id and is parked later."""
    odd = [
        b"not json",
        b"[]",
        canonical({}),
        canonical(header(1, doc_id="nonsense")),
        canonical({"doc_id": 5}),
    ]
    batch = read_batch("T-1", *push(*[(raw, b"{}") for raw in odd]))
    assert [document.doc_id for document in batch.documents] == [None] * len(odd)


def test_damaged_document_keeps_the_chain_whole() -> None:
    """Bytes that no longer fit travel armoured, with the hashes that the chain was built with."""
    station = HandStation("T-1")
    envelope, lines = station.batch([sale(1), sale(2), sale(3)])
    whole = journal.seal(b"", 2, lines[2], lines[3])
    lines[2], lines[3] = framing.armour(b"half\na header"), framing.armour(b"\x00\xff")
    envelope["damaged"] = {"2": (whole.header_hash.hex(), whole.payload_hash.hex())}
    documents = read_batch("T-1", envelope, lines).documents
    assert documents[1].recorded == (whole.header_hash, whole.payload_hash)
    assert (documents[1].doc_id, documents[1].payload_bytes) == (None, b"\x00\xff")
    assert documents[2].doc_id is not None


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"count": 3}, "wrong-count"),
        ({"last_head": "00" * 32}, "wrong-chain"),
        ({"prev_head": "00" * 32}, "wrong-chain"),
        ({"first_seq": 2}, "wrong-chain"),
        ({"first_seq": 0}, "invalid-fields"),
        ({"epoch": "xyz"}, "invalid-fields"),
        ({"signature": ""}, "invalid-fields"),
        ({"parent": ["zz", 1, "00"]}, "invalid-fields"),
        ({"damaged": {"1": ["zz", "00"]}}, "malformed-body"),
        ({"damaged": {"1": ["00", "00"]}}, "malformed-body"),
        ({"damaged": {"1": ["00" * 32, "00" * 32]}}, "malformed-body"),
    ],
)
def test_contradiction_is_named(change: dict[str, Any], name: str) -> None:
    """What the envelope claims must be what the lines are."""
    envelope, lines = push(sale(1), sale(2))
    with pytest.raises(BadInput) as caught:
        read_batch("T-1", {**envelope, **change}, lines)
    assert caught.value.name == name


def test_odd_number_of_lines_is_refused() -> None:
    """Every document has a header line and a payload line."""
    envelope, lines = push(sale(1))
    with pytest.raises(BadInput) as caught:
        read_batch("T-1", envelope, lines[:1])
    assert caught.value.name == "malformed-body"


def test_limits_hold() -> None:
    """A document above a mebibyte and a push above a thousand documents are refused."""
    with pytest.raises(TooLarge, match="document 1"):
        read_batch("T-1", *push((b"{}", b"x" * journal.DOCUMENT_MAX_BYTES)))
    with pytest.raises(TooLarge, match="1001 documents"):
        read_batch("T-1", *push(*[(b"{}", b"{}")] * 1_001))
