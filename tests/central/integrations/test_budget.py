"""One rate budget per credential: as a rule of arithmetic, and as a row that nodes share."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from central.integrations.budget import MICRO, Allowance, Bucket, settle, spend
from central.integrations.budgets import Budgets
from central.integrations.definition import Budget
from tests.support.clock import ManualClock
from tests.support.outgoing import open_database

ALLOWED = Allowance(100, 10.0, 0.2)


@given(st.lists(st.tuples(st.integers(0, 3_000), st.integers(1, 20), st.integers(-3, 30)), max_size=80))
def test_no_window_holds_more_than_is_allowed(steps: list[tuple[int, int, int]]):
    """Whatever is asked for when: calls stay below a full bucket, what flowed in, and one step's debt."""
    bucket, now_ms, calls, most = None, 0, 0, 0
    for wait_ms, wanted, more in steps:
        now_ms += wait_ms
        bucket, wait_s = spend(ALLOWED, bucket, now_ms, wanted)
        if wait_s == 0:
            calls += wanted + max(more, -wanted)
            most = max(most, more)
            bucket = settle(ALLOWED, bucket, now_ms, max(more, -wanted))
    assert calls * MICRO <= ALLOWED.capacity_micro + now_ms * ALLOWED.micro_per_ms + most * MICRO + MICRO


def test_who_waits_as_long_as_told_gets_the_calls():
    """The seconds that are told are enough, also out of debt, and for more calls than a bucket holds."""
    bucket = Bucket(-50 * MICRO, 1_000)
    for wanted in (1, 80, 500):
        filled, wait_s = spend(ALLOWED, bucket, 1_000, wanted)
        assert wait_s > 0
        assert spend(ALLOWED, filled, 1_001 + int(wait_s * 1000), wanted)[1] == 0


def test_a_clock_set_back_fills_nothing():
    """Nobody gains calls by time that runs twice."""
    assert spend(ALLOWED, Bucket(0, 10_000), 5_000, 1)[1] > 0


async def test_all_who_name_a_credential_share_it(database_url: str):
    """Two nodes, two integrations: together they get what one would, and the share that is left to others is left."""
    clock = ManualClock()
    database = await open_database(database_url, clock)
    wanted = Budget(credential="erp", calls=10, per_s=10, leave=0.2)
    nodes = Budgets(database), Budgets(database)
    taken = sum([not await nodes[n % 2].spend(wanted, 1) for n in range(20)])
    assert taken == 8
    clock.move(5)
    assert sum([not await nodes[n % 2].spend(wanted, 1) for n in range(20)]) == 4
    assert await nodes[0].spend(None, 1_000) == 0
    await database.close()


async def test_a_wish_to_rest_holds_for_all_who_use_the_credential(database_url: str):
    """Retry-After pauses the credential, not only the integration that met it; HQ may end it."""
    clock = ManualClock()
    database = await open_database(database_url, clock)
    wanted = Budget(credential="erp", calls=10, per_s=10)
    budgets = Budgets(database)
    await budgets.rest(wanted, clock.now_ms() + 30_000)
    await budgets.rest(wanted, clock.now_ms() + 10_000)
    assert await budgets.spend(wanted, 1) == 30
    await budgets.resume(wanted)
    assert await budgets.spend(wanted, 1) == 0
    await database.close()
