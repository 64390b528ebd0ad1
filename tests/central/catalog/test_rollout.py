"""A rollout is judged by what tills report: where it is live, which ones wait and why, and how long it took."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from central.catalog.publish import Publisher
from central.catalog.reports import Reports, now_reached
from central.catalog.rollout import OFFLINE_AFTER_MS, Rollouts, StationFacts, Target, assess, percentile
from central.db.catalog import ScopeState, find_scope
from central.db.database import Database
from shared.canonical import canonical
from shared.digest import Digest
from shared.errors import BadInput, NotFound
from shared.protocol.messages import Report, ScopeReport
from tests.support.catalog import Chain, open_database, product

GEN = b"\x01" * 16
NOW = 1_000_000_000
STATE = ScopeState(1, "base", GEN, 10, Digest(3, 99), 0)
TARGET = Target(STATE, 10, NOW - 60_000)
LIVE = StationFacts(
    station="T-1",
    store="S1",
    state="active",
    quarantined=False,
    last_seen_ms=NOW - 1_000,
    created_ms=0,
    names=["store/S1", "base"],
    reported={"base": (GEN.hex(), 10, 3, STATE.digest.hex)},
    reached={"base": (GEN.hex(), 10, NOW - 55_000)},
)


def test_a_till_with_the_same_digest_is_live_and_tells_its_lag() -> None:
    """Live means that count and digest at the head are HQ's; the lag runs from the publication to the first report."""
    rollout = assess([LIVE], {"base": TARGET}, NOW, "base")
    assert (rollout.stations, rollout.live, rollout.waiting) == (1, 1, [])
    assert (rollout.seq, rollout.published_ms) == (10, NOW - 60_000)
    assert (rollout.lag_p50_ms, rollout.lag_p99_ms) == (5_000, 5_000)


@pytest.mark.parametrize(
    ("station", "why"),
    [
        (replace(LIVE, state="new", reported=None), "not-enrolled"),
        (replace(LIVE, state="waiting", reported=None), "not-enrolled"),
        (replace(LIVE, reported=None), "never-reported"),
        (replace(LIVE, reported={}), "behind"),
        (replace(LIVE, reported={"base": (GEN.hex(), 9, 3, STATE.digest.hex)}), "behind"),
        (replace(LIVE, reported={"base": ("02" * 16, 10, 3, STATE.digest.hex)}), "behind"),
        (replace(LIVE, reported={"base": (GEN.hex(), 10, 4, STATE.digest.hex)}), "differs"),
        (replace(LIVE, reported={"base": (GEN.hex(), 10, 3, "0" * 32)}), "differs"),
        (replace(LIVE, reported={}, quarantined=True), "quarantined"),
        (replace(LIVE, reported={}, last_seen_ms=NOW - OFFLINE_AFTER_MS - 1), "offline"),
    ],
)
def test_a_till_that_waits_says_why(station: StationFacts, why: str) -> None:
    """Each reason has its word, and a sentence for people."""
    rollout = assess([station], {"base": TARGET}, NOW, "base")
    assert (rollout.live, [one.why for one in rollout.waiting]) == (0, [why])
    assert rollout.waiting[0].detail


def test_a_till_that_has_it_is_live_though_it_is_offline_now() -> None:
    """Who has the prices has them, whether the line is up or not."""
    assert assess([replace(LIVE, last_seen_ms=0, quarantined=True)], {"base": TARGET}, NOW, "base").live == 1


def test_an_earlier_publication_is_live_where_a_later_one_is_not() -> None:
    """At an older seq only the seq is compared: the digest is that of another moment."""
    behind = replace(LIVE, reported={"base": (GEN.hex(), 8, 2, "0" * 32)})
    earlier = replace(TARGET, seq=7)
    assert assess([behind], {"base": earlier}, NOW, "base").live == 1
    assert assess([behind], {"base": TARGET}, NOW, "base").live == 0


def test_only_tills_of_the_scope_count() -> None:
    """A price list of one store is no concern of another's tills."""
    other = replace(LIVE, station="T-2", names=["store/S2"])
    assert assess([LIVE, other], {"base": TARGET}, NOW, "base").stations == 1
    everything = assess([LIVE, other], {"base": TARGET}, NOW)
    assert (everything.stations, everything.live) == (2, 2)


def test_a_lag_counts_from_the_tills_own_beginning() -> None:
    """A till that was made after the publication is not late by the time before."""
    young = replace(LIVE, created_ms=NOW - 56_000)
    assert assess([young], {"base": TARGET}, NOW, "base").lag_p50_ms == 1_000


def test_percentiles_are_values_that_occurred() -> None:
    """The smallest value that so many do not exceed."""
    values = list(range(1, 101))
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile(values, 1.0)) == (50, 99, 100)
    assert (percentile([7], 0.99), percentile([], 0.5)) == (7, None)


def test_since_when_a_scope_stands_is_kept_while_it_stands() -> None:
    """The time moves only with seq or generation."""
    report = Report(
        scopes=[ScopeReport(scope="base", gen="aa", seq=5, count=1, digest="00")], backlog=0, clock_ms=0
    )
    first = now_reached({}, report, 100)
    assert first == {"base": ("aa", 5, 100)}
    assert now_reached(first, report, 200) == first
    moved = report.model_copy(update={"scopes": [report.scopes[0].model_copy(update={"seq": 6})]})
    assert now_reached(first, moved, 300) == {"base": ("aa", 6, 300)}


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with open_database(database_url) as opened:
        yield opened


async def test_from_reports_to_a_rollout(database: Database) -> None:
    """Two of three tills report the head: two live, one waits, and there is a lag."""
    chain, reports, rollouts = Chain(database), Reports(database), Rollouts(database)
    store = await chain.store("S1")
    tills = [await chain.station(f"T-{n}", store) for n in range(3)]
    await chain.station("T-9", store, state="revoked")
    await Publisher(database).publish({"base": [product("A")]})
    async with database.read() as connection:
        state = await find_scope(connection, "base")
    assert state is not None
    has = ScopeReport(scope="base", gen=state.gen.hex(), seq=1, count=1, digest=state.digest.hex)
    report = Report(scopes=[has], backlog=0, clock_ms=0)
    for till in tills[:2]:
        await reports.take(till, canonical(report.model_dump()), report)
    for rollout in (await rollouts.of(), await rollouts.of("base"), await rollouts.of("base", 1)):
        assert (rollout.stations, rollout.live) == (3, 2)
        assert [(one.station, one.why) for one in rollout.waiting] == [("T-2", "never-reported")]
        assert rollout.lag_p99_ms is not None
        assert 0 <= rollout.lag_p99_ms < 60_000
    with pytest.raises(NotFound):
        await rollouts.of("store/S1")
    with pytest.raises(BadInput):
        await rollouts.of("base", 2)
