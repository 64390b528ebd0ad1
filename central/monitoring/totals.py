"""Day totals compared: what each station says it took, what the centre has as rows, what was delivered.

A station's report carries its totals of the last days; the comparison is honest about when it means nothing: while
the station has a backlog, while documents of it are not applied, or when its report is older than its newest
documents. Pure but for `compare` and `lacking`, which read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy.ext.asyncio import AsyncConnection

from central.db import overview as rows
from central.db.database import AnyRow, Database
from shared.canonical import parse_object
from shared.errors import BadInput

REPORT_MARGIN_MS = 5_000
"""A report that was on its way while documents came in does not know them yet."""

Key = tuple[str, str, str, str]
"""(station, business date, payment type, currency)"""


@dataclass(frozen=True, slots=True)
class Total:
    """Count and sum of one key on all three sides; `agrees` None where they cannot be compared now."""

    key: Key
    station: tuple[int, int] | None
    centre: tuple[int, int]
    delivered: tuple[int, int] | None
    agrees: bool | None
    note: str


@dataclass(frozen=True, slots=True)
class Claim:
    """What a station's report says.

    `unfit` is why it cannot be compared now, or empty. `aged` says that only its age speaks against it: equal figures
    agree all the same, different ones mean nothing yet. `unheard`: it does not answer HQ's last call yet (a release,
    "sync now"), so the centre may rightly have more. `discarded`: of its totals, what HQ decided to have no effect.
    `guess`: something that was discarded is damaged, so nobody can say how much it was.
    """

    totals: dict[Key, tuple[int, int]]
    first_date: str | None
    unfit: str
    aged: bool = False
    unheard: bool = False
    discarded: dict[Key, tuple[int, int]] = field(default_factory=dict)
    guess: bool = False


async def compare(
    database: Database, *, first: str, last: str, station: str | None = None, integration: str | None = None
) -> list[Total]:
    """All totals of business dates *first* to *last*; delivered ones where *integration* is named."""
    async with database.read() as connection:
        claims = await _claims(connection, station)
        centre = _by_key(await rows.centre_totals(connection, first=first, last=last, station=station))
        delivered = None
        if integration is not None:
            delivered = _by_key(
                await rows.centre_totals(
                    connection, first=first, last=last, station=station, delivered_to=integration
                )
            )
    return judge(claims, centre, delivered, first, last)


async def lacking(connection: AsyncConnection, station: str | None) -> list[Total]:
    """Totals of which a station with nothing left to send says more than the centre has (I1)."""
    claims = await _claims(connection, station)
    dates = [key[1] for claim in claims.values() for key in claim.totals]
    if not dates:
        return []
    centre = _by_key(await rows.centre_totals(connection, first=min(dates), last=max(dates), station=station))
    compared = judge(claims, centre, None, min(dates), max(dates))
    # The other way round is no loss: a replaced PC does not know what its station sold before.
    return [total for total in disagreeing(compared) if total.station and total.station[0] > total.centre[0]]


async def _claims(connection: AsyncConnection, station: str | None) -> dict[str, Claim]:
    unsettled = await rows.unsettled_stations(connection)
    received = await rows.last_received_ms(connection)
    discarded, damaged = taken_out(await rows.discarded_documents(connection, station))
    return {
        row.code: replace(
            claim_of(row, unsettled, received.get(row.station_no)),
            discarded=discarded.get(row.code, {}),
            guess=row.code in damaged,
        )
        for row in await rows.stations_for_status(connection)
        if station is None or row.code == station
    }


def taken_out(found: Iterable[AnyRow]) -> tuple[dict[str, dict[Key, tuple[int, int]]], set[str]]:
    """What discarded documents add up to, by station; and the stations of which that cannot be said. Pure."""
    sums: dict[str, dict[Key, tuple[int, int]]] = {}
    damaged = set()
    for row in found:
        paid = None if row.damaged else _paid(row)
        if paid is None:
            damaged.add(row.station)
            continue
        of_station = sums.setdefault(row.station, {})
        for key, amount in paid:
            count, total = of_station.get(key, (0, 0))
            of_station[key] = count + 1, total + amount
    return sums, damaged


def _paid(row: AnyRow) -> list[tuple[Key, int]] | None:
    """The payments of a stored document, None where it cannot be read."""
    try:
        date, content = parse_object(row.header)["business_date"], parse_object(row.payload)
        return [
            ((row.station, date, one["type"], content["currency"]), int(one["amount_minor"]))
            for one in content.get("payments", ())
        ]
    except (BadInput, KeyError, TypeError, ValueError):
        return None


def claim_of(row: AnyRow, unsettled: set[int], received_ms: int | None) -> Claim:
    """What a station's row says about its totals."""
    report = parse_object(row.report) if row.report else {}
    totals = {
        (row.code, total["business_date"], total["type"], total["currency"]): (
            total["count"],
            total["amount_minor"],
        )
        for total in report.get("day_totals", ())
    }
    first = min((key[1] for key in totals), default=None)
    if not report:
        return Claim(totals, first, "has not reported yet")
    if report.get("backlog"):
        return Claim(totals, first, f"{report['backlog']} documents not sent yet")
    if row.station_no in unsettled:
        return Claim(totals, first, "documents not applied yet: waiting, parked or held")
    if received_ms is not None and row.report_ms < received_ms + REPORT_MARGIN_MS:
        return Claim(totals, first, "its report is older than its newest documents", aged=True)
    return Claim(totals, first, "", unheard=report.get("poke", 0) < row.poke)


def judge(
    claims: dict[str, Claim],
    centre: dict[Key, tuple[int, int]],
    delivered: dict[Key, tuple[int, int]] | None,
    first: str,
    last: str,
) -> list[Total]:
    """Put the three sides beside each other. Pure."""
    keys = set(centre) | {key for claim in claims.values() for key in claim.totals if first <= key[1] <= last}
    result = []
    for key in sorted(keys):
        claim = claims.get(key[0])
        at_centre = centre.get(key, (0, 0))
        at_station, agrees, note = _station_side(key, claim, at_centre)
        at_target = delivered.get(key, (0, 0)) if delivered is not None else None
        if at_target is not None and at_target != at_centre and agrees is not False:
            agrees, note = None, note or "not all delivered yet"
        result.append(Total(key, at_station, at_centre, at_target, agrees, note))
    return result


def _station_side(
    key: Key, claim: Claim | None, at_centre: tuple[int, int]
) -> tuple[tuple[int, int] | None, bool | None, str]:
    if claim is None:
        return (
            None,
            None,
            "a foreign system reports no totals" if "@" in key[0] else "no such station any more",
        )
    said = claim.totals.get(key)
    if claim.unfit and not (claim.aged and said == at_centre):
        return said, None, claim.unfit
    if claim.first_date is None or key[1] < claim.first_date:
        return None, None, "older than what the station reports"
    said = said or (0, 0)
    if said == at_centre:
        return said, True, ""
    count, amount = claim.discarded.get(key, (0, 0))
    if said == (at_centre[0] + count, at_centre[1] + amount):
        return said, True, f"{count} more at the station: discarded by HQ"
    if claim.guess and said[0] > at_centre[0]:
        return (
            said,
            None,
            "HQ discarded a damaged document of this station: `documents list --state discarded`",
        )
    if said[0] > at_centre[0]:
        return said, False, "the station has more: `counterflow-agent verify` there, `verify` here"
    if claim.unheard:
        return said, None, "the centre has more; the station has not answered HQ's call yet"
    return (
        said,
        False,
        "the centre has more: sold by an earlier journal of this station, or doubled: `verify` tells",
    )


def _by_key(found: Iterable[AnyRow]) -> dict[Key, tuple[int, int]]:
    return {
        (row.station, row.business_date, row.type, row.currency): (row.payments, int(row.amount_minor))
        for row in found
    }


def disagreeing(totals: Sequence[Total]) -> list[Total]:
    """Those that were compared and differ."""
    return [total for total in totals if total.agrees is False]
