"""The pure decisions of deliveries: what makes a batch, what is done with it, what a failure means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central.connectors.base import Idempotency
from central.deliveries import plan
from central.deliveries.plan import (
    ATTEMPTS_MAX,
    BREAK_AFTER,
    DENIED_PAUSE_S,
    Again,
    AskPerson,
    BatchFacts,
    BatchState,
    Candidate,
    Failure,
    Finish,
    LetGo,
    Park,
    Pause,
    Probe,
    Send,
    Trip,
    after_failure,
    may_begin,
    next_step,
)

PROBING = (Idempotency.LOOK_UP, Idempotency.DETERMINISTIC_ID, Idempotency.FILE_DROP)


def candidate(
    name: str, *refs: str, doc_no: int = 0, size_bytes: int = 10, effect: str = "document"
) -> Candidate:
    return Candidate(doc_no or int(name[1:]), effect, name, refs, size_bytes)


def choose(
    ready: list[Candidate], undone: dict[str, int], documents_max: int, bytes_max: int, *, whole: bool = True
):
    return plan.choose(ready, undone, documents_max, bytes_max, whole=whole)


def names(chosen: list[Candidate]) -> list[str]:
    return [one.doc_id for one in chosen]


def facts(
    state: BatchState = BatchState.READY,
    *,
    left: int = 3,
    mode: Idempotency = Idempotency.FILE_DROP,
    probed: bool = False,
    lease_left_s: float = 100.0,
) -> BatchFacts:
    return BatchFacts(state, left, mode, probed, lease_left_s, timeout_s=30.0)


def test_a_batch_is_what_came_first():
    """Deliveries that refer to nothing go in the order of their arrival, as many as fit."""
    ready = [candidate(f"d{n}") for n in range(1, 6)]
    assert names(choose(ready, {}, 3, 1_000)) == ["d1", "d2", "d3"]
    assert names(choose(ready, {}, 10, 25)) == ["d1", "d2"]


def test_a_giant_goes_alone():
    """A document above the byte bound makes a batch by itself and is not held back for ever."""
    ready = [candidate("d1", size_bytes=5_000), candidate("d2")]
    assert names(choose(ready, {}, 10, 1_000)) == ["d1"]


def test_a_cancellation_that_arrived_first_goes_behind_its_sale():
    """Inside one batch a document stands behind those that it refers to, whatever order they came in."""
    ready = [candidate("d1", "d3"), candidate("d2"), candidate("d3"), candidate("d4")]
    assert names(choose(ready, {"d3": 1}, 10, 1_000)) == ["d2", "d3", "d1", "d4"]


def test_a_cancellation_waits_for_a_sale_that_is_under_way_or_parked():
    """A document whose reference is neither done nor in the batch is left out, and nobody else is."""
    ready = [candidate("d1", "d9"), candidate("d2", "d1"), candidate("d3")]
    assert names(choose(ready, {"d9": 1, "d1": 1}, 10, 1_000)) == ["d3"]


def test_all_effects_of_a_reference_come_first():
    """With several effects per document, a dependant waits for each of them."""
    ready = [
        candidate("d1", effect="invoice"),
        candidate("d2", "d1"),
        candidate("d1", effect="payment"),
    ]
    chosen = choose(ready, {"d1": 2}, 10, 1_000)
    assert [(one.doc_id, one.effect) for one in chosen] == [
        ("d1", "invoice"),
        ("d1", "payment"),
        ("d2", "document"),
    ]


def test_a_batch_that_may_be_taken_in_part_holds_no_dependants():
    """Where each delivery is answered by itself, a cancellation goes in a later batch than its sale."""
    ready = [candidate("d1"), candidate("d2", "d1"), candidate("d3")]
    assert names(choose(ready, {"d1": 1}, 10, 1_000, whole=False)) == ["d1", "d3"]
    assert names(choose(ready[1:], {}, 10, 1_000, whole=False)) == ["d2", "d3"]


@given(
    st.lists(st.lists(st.integers(0, 14), max_size=3), min_size=1, max_size=15),
    st.sets(st.integers(0, 14)),
    st.integers(1, 20),
    st.integers(1, 200),
)
def test_no_document_overtakes_what_it_refers_to(refs, undone_elsewhere, documents_max, bytes_max):
    """For any web of references: bounded, nobody twice, each behind its references, and the same again in any batch."""
    ready = [candidate(f"d{n}", *(f"d{ref}" for ref in to if ref < n), doc_no=n) for n, to in enumerate(refs)]
    undone = {one.doc_id: 1 for one in ready} | {f"d{n}": 2 for n in undone_elsewhere}
    chosen = choose(ready, undone, documents_max, bytes_max)
    assert len(chosen) <= documents_max
    assert len(set(names(chosen))) == len(chosen)
    for at, one in enumerate(chosen):
        for ref in one.refs:
            assert ref in names(chosen)[:at]
            assert undone[ref] == 1
    members = sorted(chosen, key=lambda one: one.doc_no)
    assert choose(members, {one.doc_id: 1 for one in members}, len(members), 1_000_000) == chosen


@pytest.mark.parametrize("mode", PROBING)
@pytest.mark.parametrize("state", [BatchState.READY, BatchState.SENT, BatchState.UNKNOWN])
def test_nothing_is_sent_blind(mode: Idempotency, state: BatchState):
    """Whatever is known of a batch, a system without a native key is asked before every send, the first included."""
    assert next_step(facts(state, mode=mode)) == Probe()
    assert next_step(facts(state, mode=mode, probed=True)) == Send()


@pytest.mark.parametrize("state", [BatchState.READY, BatchState.SENT, BatchState.UNKNOWN])
def test_a_native_key_needs_no_probe(state: BatchState):
    """A system that knows our key answers a repeat with the first result."""
    assert next_step(facts(state, mode=Idempotency.NATIVE_KEY)) == Send()


def test_a_system_that_cannot_be_asked_gets_a_batch_once():
    """At least once: what may have arrived is a person's to decide, never sent again by itself."""
    mode = Idempotency.AT_LEAST_ONCE
    assert next_step(facts(mode=mode)) == Send()
    assert next_step(facts(BatchState.SENT, mode=mode)) == AskPerson()
    assert next_step(facts(BatchState.UNKNOWN, mode=mode)) == AskPerson()


def test_a_send_never_outlives_its_lease():
    """With less lease left than a request may take, the batch is let go."""
    assert next_step(facts(probed=True, lease_left_s=30.0)) == LetGo()
    assert next_step(facts(probed=True, lease_left_s=30.1)) == Send()


def test_a_batch_with_nothing_left_is_finished():
    """When all its deliveries were found, nothing is sent."""
    assert next_step(facts(left=0, lease_left_s=0)) == Finish()


def test_failures_of_the_connection_use_no_attempt():
    """Away, denied and no answer never lead to parking, however often they come (I20)."""
    assert after_failure(Failure.AWAY, ATTEMPTS_MAX, 7.0, 30.0) == Pause(7.0)
    assert after_failure(Failure.DENIED, ATTEMPTS_MAX, 7.0, 30.0) == Pause(DENIED_PAUSE_S)
    assert after_failure(Failure.NO_ANSWER, ATTEMPTS_MAX, 7.0, 30.0) == Again(30.0)


def test_five_refusals_park():
    """A delivery whose content is refused five times waits for a person."""
    steps = [after_failure(Failure.REJECTED, used, 7.0, 30.0) for used in range(ATTEMPTS_MAX)]
    assert steps == [Again(7.0)] * 4 + [Park()]


def test_an_open_circuit_is_tried_by_one_batch_at_a_time():
    """Answers that stay out one after the other open the circuit; then one batch at a time looks whether it is well."""
    steps = [after_failure(Failure.NO_ANSWER, 0, 7.0, 30.0, failures) for failures in range(1, 7)]
    assert steps == [Again(30.0)] * 4 + [Trip(30.0, 7.0)] * 2
    assert may_begin(BREAK_AFTER - 1, carried=True)
    assert not may_begin(BREAK_AFTER, carried=True)
    assert may_begin(BREAK_AFTER, carried=False)
