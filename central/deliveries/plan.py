"""Decide the next step of a batch on its way to another system. Pure: facts come in, one step goes out.

Rule 1: nothing is sent blind. Before every send, the first included, a connector without a native key is asked what
it has already: a centre that was restored from a backup does not know what it sent.
Rule 2: a send starts only while its lease outlives the request, so that two nodes never send one batch.
Rule 3: a failure of the connection uses no attempt of a document; only an answer about the document does.
Rule 4: a system that stays away is left alone, and then tried with one batch at a time until it answers.
Rule 5: order is kept inside one order key only: a document goes after those that it refers to.
`central/deliveries/run.py` performs the steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from central.connectors.base import Idempotency

ATTEMPTS_MAX = 5
"""Refusals of its content after which a delivery is parked."""
DENIED_PAUSE_S = 300.0
"""Rest after a 401 or 403: a person has to act, and knocking on would lock the account."""
BREAK_AFTER = 5
"""Failures of the connection in a row, over all nodes, after which the circuit is open."""
PAUSE_BASE_S, PAUSE_CAP_S = 1.0, 60.0
RETRY_BASE_S, RETRY_CAP_S = 5.0, 600.0


# ---- which deliveries make a batch ----


class Candidate(NamedTuple):
    """A delivery that may be sent; `refs` are the documents that its own corrects.

    `needs` are deliveries of which it needs the other system's id: `doc_id/effect`. Unlike a reference, such a one must
    be done before, not only stand earlier in the batch.
    """

    doc_no: int
    effect: str
    doc_id: str
    refs: tuple[str, ...]
    size_bytes: int
    needs: tuple[str, ...] = ()


def choose(
    candidates: Sequence[Candidate],
    undone: Mapping[str, int],
    documents_max: int,
    bytes_max: int,
    *,
    whole: bool,
) -> list[Candidate]:
    """The members of a batch, in the order in which they are sent.

    Args:
        candidates: in the order of their arrival.
        undone: of every document referred to, how many of its deliveries in this system are not done; and each
            needed delivery that is not done.
        bytes_max: exceeded only by a first document that is larger by itself.
        whole: the batch takes effect as a whole or not at all, so that a reference to an earlier member is as good as
            one to a delivery that is done.
    Returns:
        candidates in their order, but each behind those that it refers to; one whose reference is not done (nor, for
        a whole batch, in it) is left out, and delays nobody else.
    """
    left = dict(undone)
    waiting: dict[str, list[Candidate]] = {}
    chosen: list[Candidate] = []
    size = 0
    for first in candidates:
        stack = [first]
        while stack:
            candidate = stack.pop()
            blocker = next((ref for ref in (*candidate.refs, *candidate.needs) if left.get(ref)), None)
            if blocker is not None:
                waiting.setdefault(blocker, []).append(candidate)
                continue
            if chosen and (len(chosen) >= documents_max or size + candidate.size_bytes > bytes_max):
                return chosen
            chosen.append(candidate)
            size += candidate.size_bytes
            if whole and candidate.doc_id in left:
                left[candidate.doc_id] -= 1
                if not left[candidate.doc_id]:
                    stack += reversed(waiting.pop(candidate.doc_id, []))
    return chosen


# ---- what to do with a batch that is leased ----


class BatchState(StrEnum):
    """`sent` is written before the first byte leaves, so it means: it may have arrived."""

    READY = "ready"
    SENT = "sent"
    UNKNOWN = "unknown"
    DONE = "done"
    PARKED = "parked"


@dataclass(frozen=True, slots=True)
class BatchFacts:
    """A batch in the hands of this node. `left` counts its deliveries that are neither done nor parked."""

    state: BatchState
    left: int
    mode: Idempotency
    probed: bool
    lease_left_s: float
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask the system which of the deliveries it has, and mark these done."""


@dataclass(frozen=True, slots=True)
class Send:
    """Write down that bytes leave, then send."""


@dataclass(frozen=True, slots=True)
class Finish:
    """Nothing is left to send."""


@dataclass(frozen=True, slots=True)
class AskPerson:
    """It may have arrived and the system cannot be asked: a person says."""


@dataclass(frozen=True, slots=True)
class LetGo:
    """The lease is too short for a send: whoever leases the batch next goes on."""


Step = Probe | Send | Finish | AskPerson | LetGo


def next_step(batch: BatchFacts) -> Step:
    """The one next step of a batch; first match wins."""
    if batch.left == 0:
        return Finish()
    may_have_arrived = batch.state in (BatchState.SENT, BatchState.UNKNOWN)
    if may_have_arrived and batch.mode is Idempotency.AT_LEAST_ONCE:
        return AskPerson()
    if batch.lease_left_s <= batch.timeout_s:
        return LetGo()
    if batch.mode.probes and not batch.probed:
        return Probe()
    return Send()


# ---- what a failure means ----


class Failure(StrEnum):
    """The four ways not to get a plain answer, as connectors raise them."""

    AWAY = "away"  # 429, 503, connection refused, disk full: nothing was sent
    DENIED = "denied"  # 401, 403
    REJECTED = "rejected"  # 400, 409, 422
    NO_ANSWER = "no_answer"  # bytes left


@dataclass(frozen=True, slots=True)
class Pause:
    """Rest with the whole system; no attempt is used."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class Again:
    """This batch later, others at once."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class Park:
    """Enough tries: a person repairs it."""


@dataclass(frozen=True, slots=True)
class Trip:
    """As `Again`, and the circuit opens: rest with the whole system, which has not answered for a while."""

    delay_s: float
    pause_s: float


Consequence = Pause | Again | Trip | Park


def may_begin(failures: int, carried: bool) -> bool:
    """Whether a node may take a batch: an open circuit is tried by one batch at a time.

    Args:
        failures: in a row, this system's newest attempts.
        carried: some node has a batch of it in its hands.
    """
    return failures < BREAK_AFTER or not carried


def after_failure(
    failure: Failure, attempts: int, delay_s: float, timeout_s: float, failures: int = 1
) -> Consequence:
    """What follows when no plain answer came.

    Args:
        attempts: how often the content was refused before.
        delay_s: the caller's next delay, with jitter and the system's own wish in it.
        timeout_s: of a request.
        failures: of the connection in a row, this one included.
    """
    match failure:
        case Failure.AWAY:
            return Pause(delay_s)
        case Failure.DENIED:
            return Pause(max(delay_s, DENIED_PAUSE_S))
        case Failure.NO_ANSWER:
            # What is still under way over there must have landed before anybody looks.
            later_s = max(delay_s, timeout_s)
            return Trip(later_s, delay_s) if failures >= BREAK_AFTER else Again(later_s)
        case Failure.REJECTED:
            return Park() if attempts + 1 >= ATTEMPTS_MAX else Again(delay_s)
