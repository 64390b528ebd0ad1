"""Day totals compared: honest about what agrees, what differs, and what cannot be said yet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from central.db.held import Choice
from central.monitoring.totals import Claim, Total, compare, judge
from central.verify import verify
from shared.canonical import canonical, parse_object
from tests.support.centre import HandStation, add_station, open_centre
from tests.support.hq import push, report, sell
from tests.support.yardstick_sales import documents as sales

KEY = ("T-1", "2026-11-21", "CASH", "EUR")
DAY = "2026-11-21"


def judged(claim: Claim, centre: tuple[int, int] | None, delivered: tuple[int, int] | None = None) -> Total:
    """The one total of a station, judged."""
    sides = {KEY: centre} if centre else {}
    given = None if delivered is None else {KEY: delivered}
    (total,) = judge({"T-1": claim}, sides, given, DAY, DAY)
    return total


def claim(count: int, amount: int, unfit: str = "") -> Claim:
    return Claim({KEY: (count, amount)}, DAY, unfit)


def test_equal_counts_and_sums_agree() -> None:
    """Both must be equal: a swapped pair of amounts is seen by neither alone."""
    assert judged(claim(2, 500), (2, 500)).agrees is True
    assert judged(claim(2, 500), (2, 501)).agrees is False
    assert judged(claim(3, 500), (2, 500)).agrees is False


def test_what_the_centre_never_got_is_a_difference() -> None:
    """Also when it has nothing at all of that day."""
    total = judged(claim(2, 500), None)
    assert (total.agrees, total.centre) == (False, (0, 0))


def test_an_unfit_report_decides_nothing() -> None:
    """A backlog is no loss; the note says why nothing is said."""
    total = judged(claim(9, 900, "3 documents not sent yet"), (6, 600))
    assert (total.agrees, total.note) == (None, "3 documents not sent yet")


def test_an_aged_report_that_says_the_same_agrees() -> None:
    """A report just before the newest documents is no reason to doubt equal figures, and none to accuse."""
    assert judged(Claim({KEY: (2, 500)}, DAY, "older", aged=True), (2, 500)).agrees is True
    assert judged(Claim({KEY: (2, 500)}, DAY, "older", aged=True), (3, 700)).agrees is None


def test_days_before_the_reports_are_not_compared() -> None:
    """A station reports its last days only."""
    older = Claim({("T-1", "2026-11-22", "CASH", "EUR"): (1, 1)}, "2026-11-22", "")
    (total,) = judge({"T-1": older}, {KEY: (2, 500)}, None, DAY, DAY)
    assert (total.agrees, total.station) == (None, None)


def test_undelivered_documents_leave_the_question_open() -> None:
    """Delivered less than stored is work under way, delivered more is never equal either."""
    assert judged(claim(2, 500), (2, 500), (2, 500)).agrees is True
    assert judged(claim(2, 500), (2, 500), (1, 200)).agrees is None
    assert judged(claim(3, 500), (2, 500), (1, 200)).agrees is False


def station_totals(count: int) -> list[dict[str, Any]]:
    """What the till itself adds up for its first *count* sales."""
    sums: dict[tuple[str, str, str], list[int]] = {}
    for header, payload in sales(count, "T-1"):
        document = parse_object(payload)
        day = parse_object(header)["business_date"]
        for payment in document["payments"]:
            entry = sums.setdefault((day, payment["type"], document["currency"]), [0, 0])
            entry[0] += 1
            entry[1] += payment["amount_minor"]
    return [
        {"business_date": day, "type": kind, "currency": currency, "count": count, "amount_minor": amount}
        for (day, kind, currency), (count, amount) in sums.items()
    ]


async def test_station_centre_and_delivery_are_compared_over_the_database(
    database_url: str, tmp_path: Path, monkeypatch: Any
) -> None:
    """The till's own sums equal the centre's rows; a sale that is missing here is named by its day and type."""
    monkeypatch.setattr("central.monitoring.totals.REPORT_MARGIN_MS", 0)
    async with open_centre(database_url, tmp_path) as centre:
        await centre.integrations.create(
            "erp", "drop_folder", {"folder": str(tmp_path / "erp")}, ["sale"], from_ms=0
        )
        await sell(centre, "T-1", 6)
        totals = station_totals(6)
        day = totals[0]["business_date"]
        await report(centre, "T-1", day_totals=totals)
        compared = await compare(centre.database, first=day, last=day)
        assert [total.agrees for total in compared] == [True, True]
        pending = await compare(centre.database, first=day, last=day, integration="erp")
        assert [(total.agrees, total.note) for total in pending] == [(None, "not all delivered yet")] * 2
        while await centre.deliveries.step((await centre.integrations.get("erp")).integration_no):
            pass
        delivered = await compare(centre.database, first=day, last=day, integration="erp")
        assert [total.agrees for total in delivered] == [True, True]
        assert (await verify(centre.database)).ok
        await report(centre, "T-1", day_totals=station_totals(7))
        found = (await verify(centre.database)).findings
        assert {finding.check for finding in found} == {"totals"}
        assert [total.agrees for total in await compare(centre.database, first=day, last=day)] == [
            False,
            False,
        ]
        await report(centre, "T-1", day_totals=station_totals(7), backlog=1)
        assert [total.agrees for total in await compare(centre.database, first=day, last=day)] == [None, None]


def test_what_hq_discarded_is_no_loss() -> None:
    """The station took it, the centre does not count it; how much a damaged one was, nobody can say."""
    known = Claim({KEY: (3, 700)}, DAY, "", discarded={KEY: (1, 200)})
    assert (judged(known, (2, 500)).agrees, "discarded by HQ" in judged(known, (2, 500)).note) == (True, True)
    assert judged(known, (2, 400)).agrees is False
    assert judged(known, (1, 200)).agrees is False
    damaged = Claim({KEY: (3, 700)}, DAY, "", guess=True)
    assert judged(damaged, (2, 500)).agrees is None
    assert judged(damaged, (4, 900)).agrees is False


async def test_discarded_documents_are_added_up_by_station_and_day(
    database_url: str, tmp_path: Path, monkeypatch: Any
) -> None:
    """A conflict's own bytes say what it was."""
    monkeypatch.setattr("central.monitoring.totals.REPORT_MARGIN_MS", 0)
    async with open_centre(database_url, tmp_path) as centre:
        station = await sell(centre, "T-1", 1)
        ((header, payload),) = sales(1, "T-1")
        await push(centre, station, [(header, canonical({**parse_object(payload), "comment": "x"}))])
        twice = [
            {**total, "count": total["count"] * 2, "amount_minor": total["amount_minor"] * 2}
            for total in station_totals(1)
        ]
        day = twice[0]["business_date"]
        await report(centre, "T-1", day_totals=twice)
        waiting = await compare(centre.database, first=day, last=day)
        assert {total.agrees for total in waiting} == {None}
        await centre.held.discard(Choice(why="conflict"), reason="x", who="Ann")
        assert {total.agrees for total in await compare(centre.database, first=day, last=day)} == {True}
        assert (await verify(centre.database)).ok


def test_more_at_the_centre_means_nothing_before_the_station_has_heard_hqs_call() -> None:
    """A release calls it to read back what another machine sold; what the centre lacks is a loss all the same."""
    deaf = Claim({KEY: (2, 500)}, DAY, "", unheard=True)
    assert judged(deaf, (2, 500)).agrees is True
    assert judged(deaf, (3, 700)).agrees is None
    assert "HQ's call" in judged(deaf, (3, 700)).note
    assert judged(deaf, (1, 200)).agrees is False


async def test_released_sales_of_a_replaced_machine_leave_the_question_open(
    database_url: str, tmp_path: Path, monkeypatch: Any
) -> None:
    """Until the new machine's report answers the call that the release made."""
    monkeypatch.setattr("central.monitoring.totals.REPORT_MARGIN_MS", 0)
    async with open_centre(database_url, tmp_path) as centre:
        old = await sell(centre, "T-1", 2)
        new = HandStation("T-1", seed=2)
        new.new_epoch(b"\x02" * 16)
        await new.enroll(centre, await add_station(centre, "T-1", replace=True))
        await new.sign_in(centre)
        await push(centre, old, list(sales(1, "T-1", start=2)))
        await report(centre, "T-1", day_totals=station_totals(2))
        await centre.registry.release_station("T-1", who="test")
        await centre.applier.drain()
        day = station_totals(1)[0]["business_date"]
        assert [total.agrees for total in await compare(centre.database, first=day, last=day)] == [None, None]
        await report(centre, "T-1", day_totals=station_totals(3), poke=1)
        assert [total.agrees for total in await compare(centre.database, first=day, last=day)] == [True, True]
