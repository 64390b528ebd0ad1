"""Bugs planted on purpose: a simulation that cannot fail proves nothing. Each is found within the suite's seeds."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from unittest import mock

from central.connectors.base import Idempotency
from central.deliveries import plan as delivery_plan
from central.intake import decide, duplicates
from edge_agent.sync import plan
from tests.simulation.scenario import Scenario
from tests.simulation.station import Till


@dataclass(frozen=True, slots=True)
class Mutant:
    """A planted bug: a decision that is patched, or a shell that works in the wrong order."""

    name: str
    patch: Callable[[], AbstractContextManager[object]] = nullcontext
    plant: Callable[[Scenario], None] | None = None


def _no_gate() -> AbstractContextManager[object]:
    return mock.patch.object(decide, "decide_document", return_value=decide.Gate.NEW)


def _no_fork_test() -> AbstractContextManager[object]:
    real = decide.decide_push

    def believe(key, quarantined, epoch, genesis, push, stored):  # type: ignore[no-untyped-def]
        decision = real(key, quarantined, epoch, genesis, push, stored)
        if decision.refusal != "fork":
            return decision
        return decide.PushDecision(skip=max(0, epoch.last - push.first_seq + 1), held=quarantined)

    return mock.patch.object(decide, "decide_push", believe)


def _no_fold() -> AbstractContextManager[object]:
    real = plan.next_step

    def skip(epochs, cursors, batch):  # type: ignore[no-untyped-def]
        step = real(epochs, cursors, batch)
        while isinstance(step, plan.Fold):
            epochs = [epoch for epoch in epochs if epoch.epoch != step.epoch]
            step = real(epochs, cursors, batch)
        return step

    return mock.patch.object(plan, "next_step", skip)


def _blind_purge() -> AbstractContextManager[object]:
    return mock.patch.object(plan, "purge_to", lambda local, head, old: old if old >= local.first else 0)


def _late_session_accepted() -> AbstractContextManager[object]:
    real = decide.decide_session

    def forget_nonce(station, claim):  # type: ignore[no-untyped-def]
        return real(
            station, decide.SessionClaim(station.newest_nonce_ms, claim.current_epoch, claim.drain, claim.key)
        )

    return mock.patch.object(decide, "decide_session", forget_nonce)


def _no_quarantine() -> AbstractContextManager[object]:
    return mock.patch.object(decide, "decide_session", return_value=decide.SessionDecision())


def _no_epoch_per_start() -> AbstractContextManager[object]:
    return mock.patch.object(Till, "epoch_per_start", False)


def _cursor_before_apply() -> AbstractContextManager[object]:
    return mock.patch.object(Till, "apply_then_cursor", False)


def _apply_in_two(scenario: Scenario) -> None:
    scenario.centre.apply_in_one = False


def _acknowledge_before_commit(scenario: Scenario) -> None:
    scenario.centre.commit_then_answer = False


def _deliver_without_probe() -> AbstractContextManager[object]:
    return mock.patch.object(Idempotency, "probes", False)


def _no_trip() -> AbstractContextManager[object]:
    real = delivery_plan.after_failure

    def go_on(failure, attempts, delay_s, timeout_s, failures=1):  # type: ignore[no-untyped-def]
        return real(failure, attempts, delay_s, timeout_s)

    return mock.patch.object(delivery_plan, "after_failure", go_on)


def _open_circuit_for_all() -> AbstractContextManager[object]:
    return mock.patch.object(delivery_plan, "may_begin", return_value=True)


def _forget_answers(scenario: Scenario) -> None:
    scenario.centre.keeps_answers = False


def _ids_at_random(scenario: Scenario) -> None:
    scenario.centre.ids_follow = False


def _no_duplicate_check() -> AbstractContextManager[object]:
    return mock.patch.object(duplicates, "decide", return_value=duplicates.Outcome.ACCEPTED)


MUTANTS = (
    Mutant("no document gate", _no_gate),
    Mutant("no fork test", _no_fork_test),
    Mutant("no fold", _no_fold),
    Mutant("blind purge", _blind_purge),
    Mutant("cursor before apply", _cursor_before_apply),
    Mutant("a late session accepted", _late_session_accepted),
    Mutant("no epoch per start", _no_epoch_per_start),
    Mutant("apply in two transactions", plant=_apply_in_two),
    Mutant("delivery without probe", _deliver_without_probe),
    Mutant("acknowledge before commit", plant=_acknowledge_before_commit),
    Mutant("no quarantine", _no_quarantine),
    Mutant("the circuit never breaks", _no_trip),
    Mutant("an open circuit for all", _open_circuit_for_all),
    Mutant("a key's answer forgotten", plant=_forget_answers),
    Mutant("foreign doc_ids at random", plant=_ids_at_random),
    Mutant("no duplicate check", _no_duplicate_check),
)
