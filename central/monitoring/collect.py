"""What the centre looks like just now: one consistent look at the database, for `status` and for `/metrics`.

Cheap by construction: it counts the small tables, reads one row per station, scope and open batch, and never walks
over documents. Rule: facts only; what somebody should do about them is worded by `attention`, which is pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import orjson

from central.db import overview as rows
from central.db.database import AnyRow, Database
from central.db.group_desk import waiting_counts
from shared.canonical import parse_object
from shared.errors import BadInput
from shared.versions import is_older

SILENT_MS = 5 * 60_000
"""A station reports at least every few minutes; one that was not seen for so long is out of reach."""
PENDING_LATE_S = 60


@dataclass(frozen=True, slots=True)
class StationFacts:
    code: str
    store: str
    state: str
    quarantined: bool
    last_seen_ms: int | None
    backlog: int | None
    oldest_unsent_ms: int | None
    version: str | None
    alarms: tuple[str, ...]

    def silent(self, now_ms: int) -> bool:
        return self.state == "active" and (
            self.last_seen_ms is None or now_ms - self.last_seen_ms > SILENT_MS
        )

    def older(self, minimum_agent: str) -> bool:
        return self.state == "active" and is_older(self.version or "", minimum_agent)


@dataclass(frozen=True, slots=True)
class IntegrationFacts:
    """`ready` documents have no batch yet; `unfinished` are in batches that are not done, by the batch's state.

    `gathering` ones wait for the close of their group, or for their schedule's time.
    """

    name: str
    enabled: bool
    paused_until_ms: int
    problem: str | None
    ready: int = 0
    unfinished: dict[str, int] = field(default_factory=dict)
    gathering: int = 0


@dataclass(frozen=True, slots=True)
class Facts:
    """One look."""

    now_ms: int
    stations: Sequence[StationFacts]
    integrations: Sequence[IntegrationFacts]
    scopes: Sequence[AnyRow]  # scope, gen, head, rows, digest, snapshot_seq
    documents: int
    pending: int
    oldest_pending_s: int
    waiting: int
    parked: int
    held: int
    troubles: Sequence[str] = ()  # of integrations: what a check found, which pull does not get through


async def collect(database: Database) -> Facts:
    """Look at everything in one consistent view."""
    async with database.read() as connection:
        now_ms = await database.now_ms(connection)
        counts = await rows.counts(connection)
        oldest_ms = await rows.oldest_pending_ms(connection) if counts["pending"] else None
        return Facts(
            now_ms=now_ms,
            stations=[_station(row) for row in await rows.stations_for_status(connection)],
            integrations=_integrations(
                await rows.deliveries_open(connection), await waiting_counts(connection)
            ),
            scopes=await rows.scope_heads(connection),
            documents=await rows.stored_documents(connection),
            pending=counts["pending"],
            oldest_pending_s=max(0, (now_ms - oldest_ms) // 1_000) if oldest_ms is not None else 0,
            waiting=counts["waiting"],
            parked=counts["parked"],
            held=counts["held"],
            troubles=_troubles(
                await rows.integration_findings(connection), await rows.failing_pulls(connection)
            ),
        )


def attention(facts: Facts, minimum_agent: str = "") -> list[str]:
    """What somebody should look at, most urgent first, each with the command that shows more.

    Args:
        minimum_agent: the oldest version of the agent that HQ wants to see; empty for any.
    """
    told = []
    quarantined = [station.code for station in facts.stations if station.quarantined]
    if quarantined:
        told.append(
            f"{_some(quarantined)} in quarantine: two machines used one identity; find the copy, "
            f"then `stations release {quarantined[0]}`"
        )
    if facts.oldest_pending_s > PENDING_LATE_S:
        told.append(
            f"{facts.pending} documents wait to be applied, the oldest for {facts.oldest_pending_s} s: "
            "see the server's log"
        )
    if facts.parked:
        told.append(f"{facts.parked} documents are parked: `parked list` groups them by cause")
    if facts.held:
        told.append(f"{facts.held} documents are held: `held list`")
    told += [f"integration {one.name}: {one.problem}" for one in facts.integrations if one.problem]
    told += facts.troubles
    alarms = [f"{station.code}: {alarm}" for station in facts.stations for alarm in station.alarms]
    told += [f"station {alarm}" for alarm in alarms[:10]]
    if len(alarms) > 10:
        told.append(f"{len(alarms) - 10} more alarms of stations: `stations list`")
    silent = [station.code for station in facts.stations if station.silent(facts.now_ms)]
    if silent:
        told.append(
            f"{_some(silent)} not seen for {SILENT_MS // 60_000} minutes: they sell on, and send later"
        )
    waiting = [station.code for station in facts.stations if station.state == "waiting"]
    if waiting:
        told.append(f"{_some(waiting)} waiting for approval: `stations approve {waiting[0]}`")
    old = [station.code for station in facts.stations if station.older(minimum_agent)]
    if old:
        told.append(f"{_some(old)} below agent version {minimum_agent}: install a newer agent there")
    return told


def _some(codes: Sequence[str]) -> str:
    shown = ", ".join(codes[:5])
    return (
        f"{len(codes)} stations ({shown}{', ...' if len(codes) > 5 else ''})"
        if len(codes) > 1
        else f"station {shown}"
    )


def _station(row: AnyRow) -> StationFacts:
    try:
        report = parse_object(row.report) if row.report else {}
    except BadInput:
        report = {}
    return StationFacts(
        code=row.code,
        store=row.store,
        state=row.state,
        quarantined=bool(row.quarantined),
        last_seen_ms=max((ms for ms in (row.last_seen_ms, row.report_ms) if ms is not None), default=None),
        backlog=report.get("backlog"),
        oldest_unsent_ms=report.get("oldest_unsent_ms"),
        version=report.get("versions", {}).get("agent"),
        alarms=tuple(report.get("alarms", ())),
    )


def _troubles(checked: Sequence[AnyRow], failing: Sequence[AnyRow]) -> list[str]:
    """Every part of an integration that somebody should look at, a line each."""
    drifted = [
        f"integration {row.name}: {finding['what']}: {finding['detail']}; `integrations check {row.name}`"
        for row in checked
        for finding in orjson.loads(row.findings)
        if not finding["ok"]
    ]
    return drifted + [
        f"integration {row.name}: pull {row.pull} failed {row.failures} times: {row.problem}; "
        f"`integrations runs {row.name}`"
        for row in failing
    ]


def _integrations(found: Sequence[AnyRow], gathering: Mapping[int, int]) -> list[IntegrationFacts]:
    ready: dict[str, int] = {}
    unfinished: dict[str, dict[str, int]] = {}
    for row in found:
        in_batches = unfinished.setdefault(row.name, {})
        if row.state == "ready":
            ready[row.name] = int(row.number)
        elif row.state is not None:
            in_batches[row.state.removeprefix("batch ")] = int(row.number)
    return [
        IntegrationFacts(
            row.name,
            row.enabled,
            row.paused_until_ms,
            row.problem,
            ready.get(row.name, 0),
            unfinished[row.name],
            gathering.get(row.integration_no, 0),
        )
        for row in {row.name: row for row in found}.values()
    ]
