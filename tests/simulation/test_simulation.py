"""The chain in a bad year: nothing lost, nothing doubled, every clone found, everything settles.

A failing seed is run again with `Scenario(seed).run()`; its last lines are in `scenario.world.tail`.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest

from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.scenario import Outcome, Scenario
from tests.simulation.world import Violation

SEEDS = 50_000 if os.environ.get("COUNTERFLOW_LONG") else 1_000
FIRST = 120
CHUNK = 50
MUTANT_SEEDS = 60
IN_EVERY_SEED = (
    "request lost",
    "answer lost",
    "request doubled",
    "request late",
    "till restored",
    "machine replaced",
    "quarantine",
    "clone enrolled as itself",
    "centre rolled back",
    "backup",
    "purge",
    "probe found it",
)


def run(seed: int, mutant: Mutant | None = None):  # type: ignore[no-untyped-def]
    scenario = Scenario(seed, mutant.plant if mutant else None)
    try:
        return scenario.run()
    except Violation as violation:
        raise Violation(f"seed {seed}: {violation}\n" + "\n".join(scenario.world.tail[-40:])) from None


def run_seeds(mutant: Mutant) -> None:
    for seed in range(MUTANT_SEEDS):
        run(seed, mutant)


def balanced(seed: int) -> Outcome:
    """A seed that balances at the end, has at least 1,000 events, and has met every kind of fault."""
    outcome = run(seed)
    assert outcome.events >= 1_000
    assert [kind for kind in IN_EVERY_SEED if not outcome.reached[kind]] == [], f"seed {seed} was too kind"
    assert any(kind.startswith("crash at") for kind in outcome.reached)
    return outcome


@pytest.mark.parametrize("first", range(FIRST, SEEDS, CHUNK))
def test_no_seed_loses_or_doubles_anything(first: int) -> None:
    """Each balances; those before the first are below, where it is asked what all of them met."""
    for seed in range(first, min(first + CHUNK, SEEDS)):
        balanced(seed)


def test_the_same_seed_gives_the_same_log() -> None:
    """A failure can be run again, step by step."""
    assert [run(seed).log_hash for seed in range(5)] == [run(seed).log_hash for seed in range(5)]
    assert run(1).log_hash != run(2).log_hash


def test_every_durable_step_is_crashed() -> None:
    """Over the seeds, machines die at every point there is."""
    reached: Counter[str] = Counter()
    for seed in range(FIRST):
        reached.update(balanced(seed).reached)
    points = {kind.removeprefix("crash at ") for kind in reached if kind.startswith("crash at")}
    assert points >= {
        "journal.before_commit",
        "journal.after_commit",
        "session.before_commit",
        "session.after_commit",
        "intake.before_commit",
        "intake.after_commit",
        "push.before_cursor",
        "apply.before_commit",
        "apply.after_commit",
        "foreign.before_commit",
        "foreign.after_commit",
        "delivery.leased",
        "delivery.before_send",
        "delivery.after_send",
        "catalog.stage",
        "catalog.apply",
    }
    assert (
        min(
            reached[kind]
            for kind in (
                "fork",
                "fold",
                "gap",
                "410",
                "stale-nonce",
                "alias",
                "held",
                "running machine cloned",
                "circuit broken",
                "open circuit tried",
                "first answer again",
                "foreign refused",
                "foreign skipped",
                "foreign unchanged",
                "foreign updated",
            )
        )
        >= 5
    )


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_bug_is_found(mutant: Mutant) -> None:
    """With the bug some seed of the suite fails; without it none does."""
    with mutant.patch(), pytest.raises(Violation):
        run_seeds(mutant)
