"""Admin API: stations, and what HQ does to one of them or to many."""

from __future__ import annotations

import csv
import io

from aiohttp import web

from central.api.admin.codes import CodesApi
from central.api.admin.part import PAGING, choice, next_of, page_of, time_or_none, who
from central.api.admin.shapes.shape import CODE_DAYS, DAY_S
from central.api.admin.shapes.stations import (
    EnrolmentCode,
    EpochRow,
    GroupsChange,
    Imported,
    ImportedRow,
    KeyOfStation,
    Move,
    NewStation,
    Poke,
    Poked,
    Reinstate,
    Release,
    StationDetail,
    StationGroups,
    StationRow,
    Stations,
)
from central.api.http import Auth, endpoint, query_int, raw_body, read_model, reply
from central.db import stores as rows
from central.db.database import AnyRow
from central.registry import import_csv
from shared.canonical import parse_object
from shared.clock import rfc3339
from shared.errors import NotFound

STATES = ("new", "waiting", "active", "revoked", "quarantined")


class StationsApi(CodesApi):
    """The tills."""

    @endpoint(
        "GET",
        "/v1/admin/stations",
        auth=Auth.READ,
        summary="Stations by code",
        reply=Stations,
        query={"store": "of this store", "group": "of this group", "state": " or ".join(STATES), **PAGING},
    )
    async def list_stations(self, request: web.Request) -> web.StreamResponse:
        limit = page_of(request)
        async with self.centre.database.read() as connection:
            found = await rows.list_stations(
                connection,
                after=request.query.get("after", ""),
                limit=limit,
                store=request.query.get("store"),
                group=request.query.get("group"),
                state=choice(request, "state", STATES),
            )
            groups = await rows.groups_of(connection, [row.station_no for row in found])
        items = [_station(row, groups[row.station_no]) for row in found]
        return reply(request, Stations(items=items, next=next_of(items, limit, "code")))

    @endpoint(
        "POST",
        "/v1/admin/stations",
        auth=Auth.ADMIN,
        summary="Make a station and draw its enrolment code",
        request=NewStation,
        reply=EnrolmentCode,
        status=201,
    )
    async def add_station(self, request: web.Request) -> web.StreamResponse:
        new = await read_model(request, NewStation)
        code = await self.centre.registry.add_station(
            new.code,
            store=new.store,
            groups=new.groups,
            name=new.name,
            valid_s=new.code_days * DAY_S,
            who=who(request),
        )
        return reply(request, await self.code_of(code, new.code, new.code_days), status=201)

    @endpoint(
        "POST",
        "/v1/admin/stations/import",
        auth=Auth.ADMIN,
        summary="Make all stations of a CSV (code,store,groups,name) and draw their codes: all or none",
        reply=Imported,
        query={"dry_run": "1: only check the list", "code_days": "how long the codes may be used"},
    )
    async def import_stations(self, request: web.Request) -> web.StreamResponse:
        data = await raw_body(request, digest=False)
        dry_run = bool(query_int(request, "dry_run", 0, 0, 1))
        code_days = query_int(request, "code_days", CODE_DAYS, 1, 366)
        listed, errors = import_csv.parse(data)
        done = await self.centre.registry.import_stations(
            listed, errors, valid_s=code_days * DAY_S, dry_run=dry_run, who=who(request)
        )
        items = [
            ImportedRow(
                line=row.line,
                code=row.code,
                store=row.store,
                result=row.result,
                enrolment_code=row.enrolment_code,
            )
            for row in done
        ]
        expires = await self.expiry_of(code_days)
        if "text/csv" in request.headers.get("Accept", ""):
            return reply(request, codes_csv(items, expires), media="text/csv; charset=utf-8")
        return reply(request, Imported(dry_run=dry_run, expires=expires, items=items))

    @endpoint(
        "GET",
        "/v1/admin/stations/{code}",
        auth=Auth.READ,
        summary="All that is known of a station",
        reply=StationDetail,
    )
    async def show_station(self, request: web.Request) -> web.StreamResponse:
        code = request.match_info["code"]
        async with self.centre.database.read() as connection:
            found = await rows.list_stations(connection, limit=1, code=code)
            if not found:
                raise NotFound(
                    f'there is no station "{code}"', hint="`counterflow-central stations list` shows them"
                )
            station = found[0]
            groups = (await rows.groups_of(connection, [station.station_no]))[station.station_no]
            keys = await rows.keys_of(connection, station.station_no)
            epochs = await rows.epochs_of(connection, station.station_no)
        detail = StationDetail(
            **_station(station, groups).model_dump(),
            created=rfc3339(station.created_ms),
            last_number=max([station.last_number, *(epoch.last_number for epoch in epochs)]),
            keys=[
                KeyOfStation(
                    public_key=key.public_key.hex(), state=key.state, created=rfc3339(key.created_ms)
                )
                for key in keys
            ],
            epochs=[
                EpochRow(
                    epoch=epoch.epoch.hex(),
                    last=epoch.last,
                    safe=epoch.safe_seq,
                    created=rfc3339(epoch.created_ms),
                    updated=rfc3339(epoch.updated_ms),
                    current=epoch.epoch == station.current_epoch,
                    parent=epoch.parent.hex() if epoch.parent else None,
                    parent_last=epoch.parent_last,
                )
                for epoch in epochs
            ],
            report=parse_object(station.report) if station.report else None,
        )
        return reply(request, detail)

    @endpoint(
        "POST",
        "/v1/admin/stations/{code}/move",
        auth=Auth.ADMIN,
        summary="Put a station into another store",
        request=Move,
        reply=StationRow,
    )
    async def move_station(self, request: web.Request) -> web.StreamResponse:
        move = await read_model(request, Move)
        code = request.match_info["code"]
        await self.centre.registry.move_station(code, move.store, force=move.force, who=who(request))
        return reply(request, await self._station_row(code))

    @endpoint(
        "POST",
        "/v1/admin/stations/{code}/groups",
        auth=Auth.ADMIN,
        summary="Put a station into groups and take it out of others",
        request=GroupsChange,
        reply=StationGroups,
    )
    async def change_groups(self, request: web.Request) -> web.StreamResponse:
        change = await read_model(request, GroupsChange)
        code = request.match_info["code"]
        groups = await self.centre.registry.change_groups(code, change.add, change.remove, who=who(request))
        return reply(request, StationGroups(groups=groups))

    @endpoint(
        "POST",
        "/v1/admin/stations/poke",
        auth=Auth.ADMIN,
        summary='"Sync now" for a station, a store, a group, or all',
        request=Poke,
        reply=Poked,
    )
    async def poke(self, request: web.Request) -> web.StreamResponse:
        poke = await read_model(request, Poke)
        told = await self.centre.registry.poke(
            station=poke.station, store=poke.store, group=poke.group, who=who(request)
        )
        return reply(request, Poked(stations=told))

    @endpoint(
        "POST",
        "/v1/admin/stations/{code}/release",
        auth=Auth.ADMIN,
        summary="End a quarantine: what is held is applied",
        reply=Release,
    )
    async def release_station(self, request: web.Request) -> web.StreamResponse:
        released = await self.centre.registry.release_station(request.match_info["code"], who=who(request))
        self.centre.applier.wake.set()
        return reply(request, Release(was_quarantined=released.was_quarantined, documents=released.documents))

    @endpoint(
        "POST",
        "/v1/admin/stations/{code}/revoke",
        auth=Auth.ADMIN,
        summary="Take nothing more from this station's keys (a stolen PC)",
        reply=StationRow,
    )
    async def revoke_station(self, request: web.Request) -> web.StreamResponse:
        code = request.match_info["code"]
        await self.centre.registry.revoke_station(code, who=who(request))
        return reply(request, await self._station_row(code))

    @endpoint(
        "POST",
        "/v1/admin/stations/{code}/reinstate",
        auth=Auth.ADMIN,
        summary="Take a revoked station back with a new machine",
        request=Reinstate,
        reply=EnrolmentCode,
    )
    async def reinstate_station(self, request: web.Request) -> web.StreamResponse:
        body = await read_model(request, Reinstate)
        station = request.match_info["code"]
        code = await self.centre.registry.reinstate_station(
            station, valid_s=body.code_days * DAY_S, who=who(request)
        )
        return reply(request, await self.code_of(code, station, body.code_days))

    @endpoint(
        "POST",
        "/v1/admin/stations/{code}/approve",
        auth=Auth.ADMIN,
        summary="Take in a station that enrolled with a group's code",
        reply=StationRow,
    )
    async def approve_station(self, request: web.Request) -> web.StreamResponse:
        code = request.match_info["code"]
        await self.centre.registry.approve_station(code, who=who(request))
        return reply(request, await self._station_row(code))

    async def _station_row(self, code: str) -> StationRow:
        async with self.centre.database.read() as connection:
            row = (await rows.list_stations(connection, limit=1, code=code))[0]
            return _station(row, (await rows.groups_of(connection, [row.station_no]))[row.station_no])


def codes_csv(items: list[ImportedRow], expires: str) -> bytes:
    """The answer to an import as the list that goes to the installers."""
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(["code", "store", "result", "enrolment_code", "expires"])
    for row in items:
        table.writerow(
            [row.code, row.store, row.result, row.enrolment_code or "", expires if row.enrolment_code else ""]
        )
    return text.getvalue().encode()


def _station(row: AnyRow, groups: list[str]) -> StationRow:
    report = parse_object(row.report) if row.report else {}
    return StationRow(
        code=row.code,
        name=row.name,
        store=row.store,
        groups=groups,
        state=row.state,
        quarantined=row.quarantined,
        last_seen=time_or_none(row.last_seen_ms),
        reported=time_or_none(row.report_ms),
        backlog=report.get("backlog"),
        version=report.get("versions", {}).get("agent"),
        alarms=report.get("alarms", []),
    )
