"""Decide what the centre does with a session and with a push. Pure: rows come in, a decision goes out.

The twin of `edge_agent/sync/plan.py`. The order of the rules is the protocol's (docs/protocol, "Push"): first match
wins. `central/intake/accept.py` and `central/registry/sessions.py` perform the decisions inside one transaction that
holds the station row's lock.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

DocId = TypeVar("DocId", bytes, str)


class KeyState(StrEnum):
    ACTIVE = "active"
    RETIRED = "retired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class StationFacts:
    """A station row. `current_epoch` is the one of its newest session; `were_current` all that ever were."""

    quarantined: bool
    newest_nonce_ms: int
    current_epoch: bytes | None
    were_current: frozenset[bytes]


# ---- sessions ----


@dataclass(frozen=True, slots=True)
class SessionClaim:
    nonce_ms: int
    current_epoch: bytes
    drain: bool
    key: KeyState


@dataclass(frozen=True, slots=True)
class SessionDecision:
    """`refusal` is a problem name and nothing changes; else the new nonce and epoch are written.

    `counts` is False for draining and retired keys: they sign in, but take no part in the check for copies.
    """

    refusal: str | None = None
    counts: bool = True
    quarantine: bool = False


def decide_session(station: StationFacts, claim: SessionClaim) -> SessionDecision:
    """A session of a machine that says which epoch it is writing."""
    if claim.key is KeyState.REVOKED:
        return SessionDecision(refusal="key-revoked")
    if claim.nonce_ms < station.newest_nonce_ms:
        # A late request of an earlier session must not look like a second machine.
        return SessionDecision(refusal="stale-nonce")
    if claim.drain or claim.key is KeyState.RETIRED:
        return SessionDecision(counts=False)
    # An epoch that is current again after another one was: two machines run with one identity.
    came_back = claim.current_epoch != station.current_epoch and claim.current_epoch in station.were_current
    return SessionDecision(quarantine=came_back)


# ---- pushes ----


@dataclass(frozen=True, slots=True)
class EpochFacts:
    """An epoch's row, or `None` in its place where the centre has never seen it."""

    last: int
    head: bytes


@dataclass(frozen=True, slots=True)
class PushClaim:
    """A push whose digest, count, chain and signature were found right. `heads` is the head after each document."""

    first_seq: int
    prev_head: bytes
    heads: Sequence[bytes]

    @property
    def last_seq(self) -> int:
        return self.first_seq + len(self.heads) - 1


@dataclass(frozen=True, slots=True)
class PushDecision:
    """What to do with a push.

    `refusal`: a problem name (`gap`, `fork`, `key-revoked`), nothing is stored. Else the documents from index `skip`
    on are new (all known: `skip` = their count), and `held` says that they are kept but not applied.
    """

    refusal: str | None = None
    skip: int = 0
    held: bool = False


def heads_needed(epoch: EpochFacts | None, push: PushClaim) -> list[int]:
    """Which stored heads `decide_push` has to see beyond the epoch's own: none for a push that goes on at its head."""
    if epoch is None or push.first_seq > epoch.last:
        return []
    needed = {push.first_seq - 1, min(push.last_seq, epoch.last)} - {0, epoch.last}
    return sorted(needed)


def decide_push(
    key: KeyState,
    quarantined: bool,
    epoch: EpochFacts | None,
    genesis: bytes,
    push: PushClaim,
    stored_heads: Mapping[int, bytes],
) -> PushDecision:
    """First match wins; the numbers are the protocol's.

    Args:
        stored_heads: the head stored at each of `heads_needed`.
        genesis: the head of the epoch before its first document.
    """
    if key is KeyState.REVOKED:  # 1
        return PushDecision(refusal="key-revoked")
    held = quarantined or key is KeyState.RETIRED  # 2
    last, head = (epoch.last, epoch.head) if epoch else (0, genesis)  # 3
    if push.first_seq > last + 1:  # 4
        return PushDecision(refusal="gap")

    def stored(seq: int) -> bytes | None:
        if seq == 0:
            return genesis
        return head if seq == last else stored_heads.get(seq)

    overlap_end = min(push.last_seq, last)
    if stored(push.first_seq - 1) != push.prev_head:  # 5
        return PushDecision(refusal="fork")
    # The chain makes every earlier head part of this one, so comparing the last common position compares them all.
    if overlap_end >= push.first_seq and stored(overlap_end) != push.heads[overlap_end - push.first_seq]:
        return PushDecision(refusal="fork")
    return PushDecision(skip=max(0, last - push.first_seq + 1), held=held)  # 6, 7


# ---- the document gate ----


class Gate(StrEnum):
    """What a document at a new position is to the centre."""

    NEW = "new"
    ALIAS = "alias"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class Known:
    """The document that holds a doc_id: who sent it and the SHA-256 of its payload."""

    station_no: int
    payload_hash: bytes


def decide_document(known: Known | None, station_no: int, payload_hash: bytes) -> Gate:
    """R5: the doc_id alone is the key, over all stations; equal is an alias, different is kept as a conflict."""
    if known is None:
        return Gate.NEW
    same = known.station_no == station_no and known.payload_hash == payload_hash
    return Gate.ALIAS if same else Gate.CONFLICT


# ---- applying ----


class Apply(StrEnum):
    ROWS = "rows"
    WAIT_REFERENCE = "reference"
    WAIT_SCHEMA = "schema"


def decide_apply(
    kind_known: bool, version_known: bool, refs: Sequence[DocId], applied: Container[DocId]
) -> Apply:
    """Whether a document can be turned into rows now.

    Args:
        refs: the documents that it corrects.
        applied: those of them that are applied, or come before it in the same batch.
    """
    if not (kind_known and version_known):
        return Apply.WAIT_SCHEMA
    if any(ref not in applied for ref in refs):
        return Apply.WAIT_REFERENCE
    return Apply.ROWS
