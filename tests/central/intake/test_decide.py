"""The centre's decisions, rule by rule; the simulation shows that they hold together."""

from __future__ import annotations

import pytest

from central.intake.decide import (
    Apply,
    EpochFacts,
    Gate,
    KeyState,
    Known,
    PushClaim,
    PushDecision,
    SessionClaim,
    SessionDecision,
    StationFacts,
    decide_apply,
    decide_document,
    decide_push,
    decide_session,
    heads_needed,
)

GENESIS = b"h0"
HEADS = {0: GENESIS, 1: b"h1", 2: b"h2", 3: b"h3", 4: b"h4", 5: b"h5"}


def push(first: int, last: int, **changed: bytes) -> PushClaim:
    """Documents *first* to *last* of the chain h0, h1, …; `h4=b"x"` makes it another branch from there."""
    heads = {**HEADS, **{int(name[1:]): head for name, head in changed.items()}}
    return PushClaim(first, heads[first - 1], [heads[seq] for seq in range(first, last + 1)])


def decided(
    claim: PushClaim, last: int, key: KeyState = KeyState.ACTIVE, *, quarantined: bool = False
) -> PushDecision:
    epoch = EpochFacts(last, HEADS[last]) if last else None
    stored = {seq: HEADS[seq] for seq in heads_needed(epoch, claim)}
    return decide_push(key, quarantined, epoch, GENESIS, claim, stored)


@pytest.mark.parametrize(
    ("claim", "last", "decision"),
    [
        (push(1, 2), 0, PushDecision(skip=0)),
        (push(2, 3), 0, PushDecision(refusal="gap")),
        (push(3, 5), 2, PushDecision(skip=0)),
        (push(4, 5), 2, PushDecision(refusal="gap")),
        (push(1, 2), 2, PushDecision(skip=2)),
        (push(1, 4), 2, PushDecision(skip=2)),
        (push(2, 2), 4, PushDecision(skip=3)),
        (push(3, 5, h2=b"x"), 2, PushDecision(refusal="fork")),
        (push(2, 4, h3=b"x"), 3, PushDecision(refusal="fork")),
        (push(2, 3, h3=b"x"), 5, PushDecision(refusal="fork")),
        (push(3, 3, h2=b"x"), 5, PushDecision(refusal="fork")),
        (push(1, 1, h0=b"x"), 0, PushDecision(refusal="fork")),
    ],
)
def test_first_match_wins(claim: PushClaim, last: int, decision: PushDecision) -> None:
    """Gap, fork, all known, new suffix: in the protocol's order."""
    assert decided(claim, last) == decision


def test_what_may_not_be_applied_is_held() -> None:
    """A quarantined station and a retired key are taken from, and held; a revoked key is refused first of all."""
    assert decided(push(1, 1), 0, quarantined=True) == PushDecision(held=True)
    assert decided(push(1, 1), 0, KeyState.RETIRED) == PushDecision(held=True)
    assert decided(push(3, 3), 0, KeyState.REVOKED, quarantined=True) == PushDecision(refusal="key-revoked")


def test_push_at_the_head_needs_no_stored_heads() -> None:
    """The usual push costs no look into the journal."""
    assert heads_needed(EpochFacts(2, b"h2"), push(3, 5)) == []
    assert heads_needed(None, push(1, 5)) == []
    assert heads_needed(EpochFacts(5, b"h5"), push(2, 3)) == [1, 3]


def session(
    station: StationFacts, epoch: bytes, nonce_ms: int = 10, *, drain: bool = False
) -> SessionDecision:
    return decide_session(station, SessionClaim(nonce_ms, epoch, drain, KeyState.ACTIVE))


def test_only_an_epoch_that_comes_back_is_a_second_machine() -> None:
    """The same epoch again and a new one are a restart; an older one that is current again is not."""
    station = StationFacts(False, 5, b"B", frozenset({b"A", b"B"}))
    assert session(station, b"B") == SessionDecision()
    assert session(station, b"C") == SessionDecision()
    assert session(station, b"A") == SessionDecision(quarantine=True)
    assert session(station, b"A", drain=True) == SessionDecision(counts=False)
    assert session(station, b"A", nonce_ms=4) == SessionDecision(refusal="stale-nonce")


def test_gate_knows_a_document_by_its_id_alone() -> None:
    """Equal is an alias; another payload or another station is a conflict."""
    known = Known(1, b"hash")
    assert decide_document(None, 1, b"hash") is Gate.NEW
    assert decide_document(known, 1, b"hash") is Gate.ALIAS
    assert decide_document(known, 1, b"other") is Gate.CONFLICT
    assert decide_document(known, 2, b"hash") is Gate.CONFLICT


def test_document_waits_for_its_schema_then_for_its_references() -> None:
    """What this build cannot read waits for one that can; a correction waits for what it corrects."""
    assert decide_apply(False, True, [b"a"], {b"a"}) is Apply.WAIT_SCHEMA
    assert decide_apply(True, False, [], set[bytes]()) is Apply.WAIT_SCHEMA
    assert decide_apply(True, True, [b"a", b"b"], {b"a"}) is Apply.WAIT_REFERENCE
    assert decide_apply(True, True, [b"a"], {b"a"}) is Apply.ROWS
