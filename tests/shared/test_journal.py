"""The chain: any change is seen, and its bytes are the published ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import journal

VECTORS = json.loads(Path("docs/protocol/chain-vectors.json").read_text())
documents = st.lists(st.tuples(st.binary(max_size=40), st.binary(max_size=40)), min_size=1, max_size=8)
EPOCH = bytes(range(16))


def chain(docs: list[tuple[bytes, bytes]]) -> list[bytes]:
    head, heads = journal.genesis("S1-T1", EPOCH), []
    for seq, (header, payload) in enumerate(docs, 1):
        head = journal.seal(head, seq, header, payload).head
        heads.append(head)
    return heads


@pytest.mark.parametrize("vector", VECTORS["chains"], ids=lambda vector: vector["name"])
def test_the_chain_gives_the_published_heads(vector: dict) -> None:
    """docs/protocol/chain-vectors.json is what another implementation is checked against; it never changes."""
    epoch = bytes.fromhex(vector["epoch"])
    head = journal.genesis(vector["station"], epoch)
    assert head.hex() == vector["genesis"]
    for seq, document in enumerate(vector["documents"], 1):
        sealed = journal.seal(head, seq, document["header"].encode(), document["payload"].encode())
        head = sealed.head
        assert head.hex() == document["head"]
    assert (
        journal.signed_message(vector["station"], epoch, len(vector["documents"]), head).hex()
        == vector["signed_message"]
    )


@given(documents)
def test_a_whole_chain_has_no_break(docs: list[tuple[bytes, bytes]]) -> None:
    """What was sealed verifies."""
    assert journal.first_break(journal.genesis("S1-T1", EPOCH), 1, docs, chain(docs)) is None


@given(documents, st.data())
def test_any_changed_byte_is_found_at_its_seq(docs: list[tuple[bytes, bytes]], data: st.DataObject) -> None:
    """A document changed after it was sealed breaks the chain exactly where it stands."""
    at = data.draw(st.integers(0, len(docs) - 1))
    changed = list(docs)
    changed[at] = (docs[at][0], docs[at][1] + b"x")
    assert journal.first_break(journal.genesis("S1-T1", EPOCH), 1, changed, chain(docs)) == at + 1


@given(documents)
def test_moving_a_byte_between_header_and_payload_is_found(docs: list[tuple[bytes, bytes]]) -> None:
    """Fields are hashed apart: the same bytes cut elsewhere are another document."""
    shifted = [(header + payload[:1], payload[1:]) for header, payload in docs]
    if shifted != docs:
        assert chain(shifted) != chain(docs)


def test_heads_from_hashes_equal_heads_from_bytes() -> None:
    """The centre recomputes the chain from hashes alone and gets what the station sealed."""
    docs = [(b"h1", b"p1"), (b"h2", b"p2")]
    genesis = journal.genesis("S1-T1", EPOCH)
    first = journal.seal(genesis, 1, *docs[0])
    second = journal.seal(first.head, 2, *docs[1])
    hashes = [(first.header_hash, first.payload_hash), (second.header_hash, second.payload_hash)]
    assert journal.heads(genesis, 1, hashes) == [first.head, second.head]


@pytest.mark.parametrize(("station", "epoch"), [("S1-T2", EPOCH), ("S1-T1", bytes(16))])
def test_two_stations_or_epochs_never_share_a_chain(station: str, epoch: bytes) -> None:
    """The first head depends on who and which run it is."""
    assert journal.genesis(station, epoch) != journal.genesis("S1-T1", EPOCH)
