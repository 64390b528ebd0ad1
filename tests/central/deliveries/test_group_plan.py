"""Which group a document joins and when a group closes: laws over any order of arrival (W10)."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central.deliveries.group_plan import (
    Arrival,
    Newest,
    Shift,
    by_of,
    common,
    day_end_ms,
    due_ms,
    fill,
    identity,
    name_of,
    shift_of,
)
from central.mapping.grouping import correction, group_key, merge
from shared.clock import rfc3339
from tests.central.mapping.test_grouping import BY, days, receipt, sums

HOUR_MS = 3_600_000


class Store:
    """Groups as the database keeps them, and what was sent of them."""

    def __init__(self, members_max: int) -> None:
        self.members_max = members_max
        self.now_ms = 0
        self.groups: dict[tuple[str, int], dict[str, Any]] = {}

    def take(self, documents: dict[int, dict[str, Any]]) -> None:
        newest: dict[str, Newest] = {}
        for (key, number), group in sorted(self.groups.items()):
            newest[key] = Newest(
                number, group["open"], len(group["members"]), group["since_ms"], group["due_ms"]
            )
        arrivals = [Arrival(n, group_key(one, BY), 5 * HOUR_MS) for n, one in documents.items()]
        for one in fill(arrivals, newest, self.now_ms, 3_600, self.members_max):
            assert one.is_new == ((one.group_key, one.correction) not in self.groups)
            group = self.groups.setdefault(
                (one.group_key, one.correction), {"open": True, "members": [], "since_ms": one.since_ms}
            )
            assert group["open"], "a closed group has changed"
            group["members"] += one.doc_nos
            group["due_ms"] = one.due_ms
            assert len(group["members"]) == one.size <= self.members_max

    def close(self) -> None:
        for group in self.groups.values():
            if group["due_ms"] <= self.now_ms:
                group["open"] = False


@given(days, st.randoms(), st.sampled_from([1, 2, 20_000]))
def test_groups_and_corrections_sum_to_all_documents_in_any_order(
    day: list[dict[str, Any]], rng: random.Random, members_max: int
) -> None:
    """Documents come in any order, groups close in between: each is in one group, and the sums are those of all."""
    documents = dict(enumerate(day, start=1))
    order = list(documents)
    rng.shuffle(order)
    store = Store(members_max)
    while order:
        count = rng.randrange(1, len(order) + 1)
        store.take({n: documents[n] for n in order[:count]})
        order = order[count:]
        store.now_ms += rng.randrange(8) * HOUR_MS
        store.close()
    assert Counter(n for one in store.groups.values() for n in one["members"]) == Counter(documents.keys())
    sent = []
    for (key, number), group in store.groups.items():
        members = [documents[n] for n in group["members"]]
        by = by_of(key)
        made = (
            correction({"group": key, "members": []}, members, by, number) if number else merge(members, by)
        )
        assert (made["group"], made["count"]) == (key, len(members))
        sent.append(made)
    assert sums(sent) == sums(day)
    numbers = [number for _, number in store.groups]
    assert sorted(numbers) == list(range(len(numbers)))
    assert len({identity(*one) for one in store.groups}) == len(store.groups)


def test_a_group_closes_after_its_close_and_never_sooner_than_after_it_was_opened() -> None:
    assert due_ms(close_ms=10_000, opened_ms=4_000, after_s=5) == 15_000
    assert due_ms(close_ms=10_000, opened_ms=90_000, after_s=5) == 95_000
    key = "k"
    (opened,) = fill([Arrival(1, key, 10_000)], {}, 90_000, 5)
    assert opened.due_ms == 95_000
    # Who comes later does not hold it up.
    known = {key: Newest(0, True, 1, 90_000, 95_000)}
    (joined,) = fill([Arrival(2, key, 10_000)], known, 94_000, 5)
    assert (joined.due_ms, joined.size, joined.is_new) == (95_000, 2, False)
    # But a document whose day ends later does.
    (later,) = fill([Arrival(3, key, 99_000)], known, 94_000, 5)
    assert later.due_ms == 104_000


def test_a_full_group_closes_at_once_and_the_next_is_a_correction() -> None:
    first, second = fill([Arrival(n, "k", 10**12) for n in (1, 2, 3)], {}, 7, 5, members_max=2)
    assert (first.correction, first.doc_nos, first.due_ms) == (0, [1, 2], 7)
    assert (second.correction, second.doc_nos) == (1, [3])


@pytest.mark.parametrize(
    ("header", "ends"),
    [
        ({"business_date": "2026-11-21", "zone": "Europe/Moscow"}, "2026-11-21T21:00:00.000Z"),
        ({"business_date": "2026-11-21", "zone": "America/Sao_Paulo"}, "2026-11-22T03:00:00.000Z"),
        # The clocks go back that night: the day is over an hour later.
        ({"business_date": "2026-10-24", "zone": "Europe/Paris"}, "2026-10-24T22:00:00.000Z"),
        ({"business_date": "2026-10-25", "zone": "Europe/Paris"}, "2026-10-25T23:00:00.000Z"),
        ({"business_date": "2026-11-21", "zone": "No/Where"}, "2026-11-22T00:00:00.000Z"),
        ({"business_date": "2026-11-21"}, "2026-11-22T00:00:00.000Z"),
    ],
)
def test_a_day_ends_at_midnight_of_the_shop(header: dict[str, Any], ends: str) -> None:
    found = day_end_ms(header)
    assert found is not None
    assert rfc3339(found) == ends


@pytest.mark.parametrize("date", [None, "21.11.2026", "9999-12-31"])
def test_a_date_that_is_none_ends_nothing(date: str | None) -> None:
    assert day_end_ms({"business_date": date}) is None


def test_a_key_tells_what_it_was_made_by_whatever_the_definition_says_now() -> None:
    key = group_key(receipt(1, []), ["shift", "business_date"])
    assert name_of(key, 0) == "2026-08-09-T1-7-EUR"
    assert name_of(key, 2) == "2026-08-09-T1-7-EUR-c2"
    assert group_key(receipt(1, []), by_of(key)) == key
    assert shift_of(key) == Shift("T1", "7", "2026-08-09")
    assert (common(key, "station"), common(key, "store")) == ("T1", "")
    assert len(identity(key, 0)) == 36
    assert identity(key, 0) != identity(key, 1)


@pytest.mark.parametrize(
    ("shift", "closes", "is_closed"),
    [
        (Shift("T1", "7", None), {("T1", "7"): "2026-01-01"}, True),
        (Shift("T1", "7", None), {("T2", "7"): "2026-01-01", ("T1", "8"): "2026-01-01"}, False),
        (Shift("T1", None, None), {("T1", "7"): "2026-01-01"}, False),
        # A till that counts its shifts anew each day has closed yesterday's 7, not today's.
        (Shift("T1", "7", "2026-01-02"), {("T1", "7"): "2026-01-01"}, False),
        # One that goes on past midnight is closed on the next date.
        (Shift("T1", "7", "2026-01-02"), {("T1", "7"): "2026-01-03"}, True),
    ],
)
def test_a_shift_is_closed_by_its_own_close(
    shift: Shift, closes: dict[tuple[str, str], str], is_closed: bool
) -> None:
    assert shift.is_closed(closes) is is_closed
