"""Reading back: only a page whose bytes lead to its own head is taken, and a damaged document stops nothing."""

from __future__ import annotations

from typing import Any

import pytest

from edge_agent.sync.history import undamaged_runs, whole_page
from shared.canonical import sha256
from shared.errors import ConnectionFailed
from shared.journal import genesis, heads
from shared.protocol import framing

EPOCH = b"\x07" * 16
START = genesis("T-1", EPOCH)
PAIRS = [(b'{"doc_id":"%d"}' % n, b'{"n":%d}' % n) for n in range(1, 6)]


def page(after: int = 0, damaged: int | None = None) -> tuple[dict[str, Any], list[tuple[bytes, bytes]]]:
    """A page of the five documents behind *after*; one of them damaged after it was sealed."""
    hashes = [(sha256(header), sha256(payload)) for header, payload in PAIRS]
    chain = [START, *heads(START, 1, hashes)]
    envelope: dict[str, Any] = {
        "first_seq": after + 1,
        "prev_head": chain[after].hex(),
        "last_head": chain[-1].hex(),
        "damaged": {},
    }
    pairs = list(PAIRS)
    if damaged is not None:
        envelope["damaged"] = {str(damaged): [part.hex() for part in hashes[damaged - 1]]}
        pairs[damaged - 1] = (framing.armour(b"\x00"), framing.armour(b"\xff"))
    return envelope, pairs[after:]


@pytest.mark.parametrize("after", [0, 3])
def test_a_whole_page_is_taken(after: int) -> None:
    """Bytes, hashes and heads fit."""
    assert whole_page(*page(after), after) == set()


def test_a_changed_document_is_not() -> None:
    """One byte another, and the chain does not lead to the stated head."""
    envelope, pairs = page()
    pairs[2] = (pairs[2][0], b'{"n":9}')
    with pytest.raises(ConnectionFailed, match="does not fit"):
        whole_page(envelope, pairs, 0)


def test_a_page_of_another_place_is_not() -> None:
    """It was asked for what follows 3 and got what follows 0."""
    with pytest.raises(ConnectionFailed):
        whole_page(*page(0), 3)


def test_a_page_without_its_fields_is_not() -> None:
    """Malformed is told as a failure of the network, since nothing of it can be believed."""
    with pytest.raises(ConnectionFailed, match="malformed"):
        whole_page({}, PAIRS, 0)


def test_damaged_documents_are_left_out_and_the_chain_still_holds() -> None:
    """Their recorded hashes stand for them; what lies around them is kept at its positions."""
    envelope, pairs = page(damaged=3)
    damaged = whole_page(envelope, pairs, 0)
    runs = undamaged_runs(pairs, 1, damaged)
    assert [(first, len(run)) for first, run in runs] == [(1, 2), (4, 2)]
