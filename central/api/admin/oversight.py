"""Admin API: the centre at a glance, day totals, rollout, verify."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta

from aiohttp import web

from central import verify
from central.api.admin.part import Part
from central.api.admin.shapes.oversight import (
    FindingRow,
    IntegrationStatus,
    ScopeHead,
    StationCounts,
    Status,
    TotalRow,
    Totals,
    VerifyReport,
)
from central.api.http import Auth, endpoint, query_int, reply
from central.catalog.rollout import Rollout
from central.centre import Centre
from central.monitoring import totals
from central.monitoring.collect import Facts, attention, collect
from shared import __version__
from shared.clock import rfc3339
from shared.errors import BadInput, NotFound

TOTALS_DAYS = 7
TOTALS_DAYS_MAX = 62


class OversightApi(Part):
    """Whether all is well."""

    @endpoint("GET", "/v1/admin/status", auth=Auth.READ, summary="The centre at a glance", reply=Status)
    async def status(self, request: web.Request) -> web.StreamResponse:
        facts = await collect(self.centre.database)
        return reply(request, _status(facts, self.centre))

    @endpoint(
        "GET",
        "/v1/admin/totals",
        auth=Auth.READ,
        summary="Day totals: station = centre = delivered",
        reply=Totals,
        query={
            "station": "only this one",
            "first": f"business date, default {TOTALS_DAYS} days ago",
            "last": "business date, default tomorrow (stores may be ahead of UTC)",
            "integration": "also what was delivered to this system",
        },
    )
    async def totals(self, request: web.Request) -> web.StreamResponse:
        async with self.centre.database.read() as connection:
            now_ms = await self.centre.database.now_ms(connection)
        today = datetime.fromtimestamp(now_ms / 1000, UTC).date()
        first = _date(request, "first", today - timedelta(days=TOTALS_DAYS))
        last = _date(request, "last", today + timedelta(days=1))
        if (last - first).days > TOTALS_DAYS_MAX:
            raise BadInput(
                f"first and last lie {(last - first).days} days apart; at most {TOTALS_DAYS_MAX} are compared"
            )
        integration = request.query.get("integration")
        if integration is not None:
            await self.centre.integrations.get(integration)
        compared = await totals.compare(
            self.centre.database,
            first=first.isoformat(),
            last=last.isoformat(),
            station=request.query.get("station"),
            integration=integration,
        )
        items = [_total(total) for total in compared]
        return reply(request, Totals(items=items, agree=not totals.disagreeing(compared)))

    @endpoint(
        "GET",
        "/v1/admin/rollout",
        auth=Auth.READ,
        summary="What HQ published: live on how many stations, which wait and why, how long it took",
        reply=Rollout,
        query={
            "scope": "only this one, e.g. pricelist/RETAIL",
            "seq": "that publication; default: the newest",
        },
    )
    async def rollout(self, request: web.Request) -> web.StreamResponse:
        seq = query_int(request, "seq", 0, 0, 2**63 - 1) or None
        return reply(request, await self.centre.rollouts.of(request.query.get("scope"), seq))

    @endpoint(
        "GET",
        "/v1/admin/verify",
        auth=Auth.READ,
        summary="Prove the invariants that stored rows can show; takes minutes on a large database",
        reply=VerifyReport,
        query={"station": "only what this one sent"},
    )
    async def verify(self, request: web.Request) -> web.StreamResponse:
        station = request.query.get("station")
        if station is not None:
            await self._known(station)
        started_ms = self.centre.clock.tick_ms()
        report = await verify.verify(self.centre.database, station)
        return reply(
            request,
            VerifyReport(
                ok=report.ok,
                checked=report.checked,
                findings=[FindingRow(**asdict(finding)) for finding in report.findings],
                more=report.more,
                took_ms=self.centre.clock.tick_ms() - started_ms,
            ),
        )

    async def _known(self, station: str) -> None:
        facts = await collect(self.centre.database)
        if all(station != known.code for known in facts.stations):
            raise NotFound(
                f'there is no station "{station}"', hint="`counterflow-central stations list` shows them"
            )


def _date(request: web.Request, name: str, default: date) -> date:
    text = request.query.get(name)
    if text is None:
        return default
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise BadInput(
            f'query parameter {name}="{text}" is not a date', hint="write it as 2026-11-21"
        ) from None


def _total(total: totals.Total) -> TotalRow:
    station, business_date, kind, currency = total.key
    return TotalRow(
        station=station,
        business_date=business_date,
        type=kind,
        currency=currency,
        station_count=total.station[0] if total.station else None,
        station_minor=total.station[1] if total.station else None,
        centre_count=total.centre[0],
        centre_minor=total.centre[1],
        delivered_count=total.delivered[0] if total.delivered else None,
        delivered_minor=total.delivered[1] if total.delivered else None,
        agrees=total.agrees,
        note=total.note,
    )


def _status(facts: Facts, centre: Centre) -> Status:
    states = [station.state for station in facts.stations]
    return Status(
        version=__version__,
        centre=centre.centre_id,
        database="SQLite" if centre.database.is_sqlite else "PostgreSQL",
        time=rfc3339(facts.now_ms),
        stations=StationCounts(
            all=len(states),
            new=states.count("new"),
            waiting=states.count("waiting"),
            active=states.count("active"),
            revoked=states.count("revoked"),
            quarantined=sum(station.quarantined for station in facts.stations),
            silent=sum(station.silent(facts.now_ms) for station in facts.stations),
        ),
        documents=facts.documents,
        pending=facts.pending,
        oldest_pending_s=facts.oldest_pending_s,
        waiting=facts.waiting,
        parked=facts.parked,
        held=facts.held,
        backlog_at_stations=sum(station.backlog or 0 for station in facts.stations),
        integrations=[
            IntegrationStatus(
                name=one.name,
                enabled=one.enabled,
                problem=one.problem,
                ready=one.ready,
                unfinished=one.unfinished,
                gathering=one.gathering,
            )
            for one in facts.integrations
        ],
        scopes=[
            ScopeHead(
                scope=row.scope,
                gen=row.gen.hex(),
                head=row.head,
                rows=row.rows,
                digest=row.digest.hex(),
                snapshot_seq=row.snapshot_seq,
            )
            for row in facts.scopes
        ],
        attention=attention(facts, centre.config.minimum_agent),
    )
