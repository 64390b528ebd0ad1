"""Where a publication is live: on how many of how many tills, which ones wait and why, and how long it took.

Decided from what the stations report and never from what was sent to them: live is a till whose own count and digest
of the scope are HQ's. The decision is pure; `Rollouts` fetches the facts for it in one view.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from central.catalog.reports import Reached, read_reached
from central.db import reports as db
from central.db import station_scopes
from central.db.catalog import ScopeState
from central.db.database import Database
from shared.canonical import parse_object
from shared.catalog.scopes import check_scope, scopes_of
from shared.errors import BadInput, NotFound

OFFLINE_AFTER_MS = 180_000
"""A station that was not heard of for so long counts as offline."""


@dataclass(frozen=True, slots=True)
class StationFacts:
    """A station as a rollout looks at it: `reported` is scope -> (gen, seq, count, digest) of its last report."""

    station: str
    store: str
    state: str
    quarantined: bool
    last_seen_ms: int | None
    created_ms: int
    names: Sequence[str]
    reported: Mapping[str, tuple[str, int, int, str]] | None
    reached: Reached


@dataclass(frozen=True, slots=True)
class Target:
    """What a scope's stations shall have. `is_head`: the newest seq, for which digests can be compared."""

    state: ScopeState
    seq: int
    published_ms: int | None

    @property
    def is_head(self) -> bool:
        return self.seq == self.state.head


class WaitingStation(BaseModel):
    """A till that does not have it yet. `why`: not-enrolled, quarantined, never-reported, offline, behind, differs."""

    station: str
    store: str
    why: str
    detail: str
    last_seen_ms: int | None


class Rollout(BaseModel):
    """Lags count from the publication (or the till's creation) to its first report of it, at the centre's clock."""

    scope: str | None
    seq: int | None
    published_ms: int | None
    stations: int
    live: int
    waiting: list[WaitingStation]
    lag_p50_ms: int | None
    lag_p99_ms: int | None


def judge(station: StationFacts, targets: Sequence[Target], now_ms: int) -> tuple[str, str] | None:
    """Why a station does not have all *targets*, in one word and a sentence; None when it has."""
    if station.state != "active":
        return (
            "not-enrolled",
            "no machine is enrolled for it" if station.state == "new" else "its machine waits for approval",
        )
    lacking = _lacking(station, targets)
    if lacking is None:
        return None
    if station.quarantined:
        return "quarantined", "two machines use its identity; release it first"
    if station.reported is None:
        return "never-reported", "it has not reported yet"
    if station.last_seen_ms is None or now_ms - station.last_seen_ms > OFFLINE_AFTER_MS:
        return "offline", lacking[1]
    return lacking


def _lacking(station: StationFacts, targets: Sequence[Target]) -> tuple[str, str] | None:
    reported = station.reported or {}
    for target in targets:
        state = target.state
        gen, seq, count, digest = reported.get(state.scope, ("", 0, 0, ""))
        if gen != state.gen.hex():
            return (
                "behind",
                f"it has nothing of {state.scope} yet"
                if not gen
                else f"its {state.scope} is of an older generation",
            )
        if seq < target.seq:
            return "behind", f"{state.scope} is at {seq}, {target.seq - seq} behind"
        if seq == state.head and (count, digest) != (state.digest.count, state.digest.hex):
            return (
                "differs",
                f"{state.scope} at {seq} has {count} rows and another digest than HQ's {state.digest.count}",
            )
    return None


def lags(station: StationFacts, targets: Sequence[Target]) -> list[int]:
    """How long each of the targets took to this station, where that is known, in ms."""
    found = []
    for target in targets:
        reached = station.reached.get(target.state.scope)
        # A station that has moved on since reached this target earlier than it says.
        if (
            reached
            and target.published_ms is not None
            and reached[:2] == (target.state.gen.hex(), target.seq)
        ):
            found.append(max(0, reached[2] - max(target.published_ms, station.created_ms)))
    return found


def percentile(values: Sequence[int], share: float) -> int | None:
    """The smallest value that at least *share* of all do not exceed."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -int(-len(ordered) * share // 1) - 1))]


def assess(
    stations: Sequence[StationFacts],
    targets: Mapping[str, Target],
    now_ms: int,
    scope: str | None = None,
) -> Rollout:
    """The state of a rollout.

    Args:
        stations: all but revoked ones.
        targets: by scope; each station is judged by those that it belongs to.
        scope: only stations of this scope count; all of them when None.
    """
    concerned = [station for station in stations if scope is None or scope in station.names]
    waiting: list[WaitingStation] = []
    took: list[int] = []
    for station in concerned:
        own = [targets[name] for name in station.names if name in targets]
        why = judge(station, own, now_ms)
        if why is None:
            took += lags(station, own)
        else:
            waiting.append(
                WaitingStation(
                    station=station.station,
                    store=station.store,
                    why=why[0],
                    detail=why[1],
                    last_seen_ms=station.last_seen_ms,
                )
            )
    target = targets.get(scope) if scope else None
    return Rollout(
        scope=scope,
        seq=target.seq if target else None,
        published_ms=target.published_ms
        if target
        else max((t.published_ms or 0 for t in targets.values()), default=None),
        stations=len(concerned),
        live=len(concerned) - len(waiting),
        waiting=waiting,
        lag_p50_ms=percentile(took, 0.50),
        lag_p99_ms=percentile(took, 0.99),
    )


class Rollouts:
    """Fetches the facts of a rollout."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, scope: str | None = None, seq: int | None = None) -> Rollout:
        """The rollout of a scope at a seq (its newest when None), or of everything.

        Raises:
            NotFound: nothing was ever published into that scope.
            BadInput: no scope to a seq, or a seq that was never published.
        """
        if seq is not None and scope is None:
            raise BadInput("a seq says nothing without its scope", hint="name the scope too")
        async with self._database.read() as connection:
            now_ms = await self._database.now_ms(connection)
            names = None if scope is None else [check_scope(scope)]
            offers = await station_scopes.scope_offers(self._database, connection, names)
            if scope is not None and scope not in offers:
                raise NotFound(f'nothing was ever published into the scope "{scope}"')
            times = await db.head_times(connection)
            targets = {
                name: Target(state, state.head, times.get(state.scope_no))
                for name, (state, _) in offers.items()
            }
            if scope is not None and seq is not None:
                state = targets[scope].state
                if not 0 < seq <= state.head:
                    raise BadInput(f'"{scope}" has seqs up to {state.head}; {seq} is none of them')
                targets = {scope: Target(state, seq, await db.published_ms(connection, state.scope_no, seq))}
            members = await station_scopes.members(self._database, connection)
            rows = await db.station_rows(connection)
        stations = [
            _facts(row, members[row.station_no])
            for row in rows
            if row.state != "revoked" and row.station_no in members
        ]
        return assess(stations, targets, now_ms, scope)


def _facts(row: db.StationRow, member: station_scopes.Member) -> StationFacts:
    return StationFacts(
        station=member.membership.station,
        store=member.membership.store,
        state=row.state,
        quarantined=row.quarantined,
        last_seen_ms=row.last_seen_ms,
        created_ms=row.created_ms,
        names=scopes_of(member.membership),
        reported=_reported(parse_object(row.report)) if row.report else None,
        reached=read_reached(row.reached),
    )


def _reported(report: dict[str, Any]) -> dict[str, tuple[str, int, int, str]]:
    return {one["scope"]: (one["gen"], one["seq"], one["count"], one["digest"]) for one in report["scopes"]}
