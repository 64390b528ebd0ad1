"""Admin API: the cross-reference of codes in all systems."""

from __future__ import annotations

from aiohttp import web

from central.api.admin.part import PAGING, Part, after_number, next_of, page_of, time_or_none, who
from central.api.admin.shapes.crossref import (
    CodeList,
    CodeRow,
    CodesImported,
    DoubledList,
    DoubledRow,
    Merge,
    MergeDone,
    NewCounterpart,
    SearchNow,
    UnmatchedList,
    UnmatchedRow,
)
from central.api.http import Auth, endpoint, query_int, raw_body, read_model, reply
from central.codes.acts import CodeActs
from central.codes.cross_reference import Match
from central.codes.import_csv import parse
from central.db import codes as rows
from shared.clock import rfc3339

_OF = {"kind": "of this kind", "system": "of this system"}


class CrossrefApi(Part):
    """What each system calls our items, warehouses, parties and organisations."""

    @endpoint(
        "GET",
        "/v1/admin/crossref",
        auth=Auth.READ,
        summary="Codes with their counterparts",
        reply=CodeList,
        query={**_OF, "ours": "of this code of ours", "theirs": "of this code of theirs", **PAGING},
    )
    async def list_matches(self, request: web.Request) -> web.StreamResponse:
        limit = page_of(request)
        async with self.centre.database.read() as connection:
            found = await rows.list_matches(
                connection,
                after=after_number(request) or 0,
                limit=limit,
                **{name: request.query.get(name) for name in ("kind", "system", "ours", "theirs")},
            )
        items = [
            CodeRow(
                kind=row.kind,
                ours=row.ours,
                system=row.system,
                theirs=row.theirs,
                outlet=row.outlet,
                main=row.main,
                by=row.by,
                at=rfc3339(row.at_ms),
            )
            for row in found
        ]
        return reply(request, CodeList(items=items, next=next_of(found, limit, "match_no")))

    @endpoint(
        "GET",
        "/v1/admin/crossref/unmatched",
        auth=Auth.READ,
        summary="Codes that were looked up in vain",
        reply=UnmatchedList,
        query={**_OF, **PAGING},
    )
    async def list_unmatched(self, request: web.Request) -> web.StreamResponse:
        limit = page_of(request)
        async with self.centre.database.read() as connection:
            found = await rows.list_unmatched(
                connection,
                after=after_number(request) or 0,
                limit=limit,
                kind=request.query.get("kind"),
                system=request.query.get("system"),
            )
        items = [
            UnmatchedRow(
                kind=row.kind,
                system=row.system,
                outlet=row.outlet,
                ours=row.code if row.way == "out" else None,
                theirs=row.code if row.way == "in" else None,
                seen=row.seen,
                since=rfc3339(row.first_ms),
                last=rfc3339(row.last_ms),
                why=row.why,
                next=time_or_none(row.next_ms),
            )
            for row in found
        ]
        return reply(request, UnmatchedList(items=items, next=next_of(found, limit, "question_no")))

    @endpoint(
        "POST",
        "/v1/admin/crossref/search",
        auth=Auth.ADMIN,
        summary="Search now for the codes that deliveries wait for, without waiting until it is due",
        request=SearchNow,
        reply=SearchNow,
    )
    async def search_now(self, request: web.Request) -> web.StreamResponse:
        wanted = await read_model(request, SearchNow)
        await CodeActs(self.centre.database).search_now(wanted.system, who=who(request))
        self.centre.codes_changed()
        return reply(request, wanted)

    @endpoint(
        "GET",
        "/v1/admin/crossref/doubled",
        auth=Auth.READ,
        summary="Codes with several counterparts, of which nobody has chosen one",
        reply=DoubledList,
        query={**_OF, "limit": PAGING["limit"]},
    )
    async def list_doubled(self, request: web.Request) -> web.StreamResponse:
        found = await CodeActs(self.centre.database).doubled(
            limit=page_of(request), kind=request.query.get("kind"), system=request.query.get("system")
        )
        items = [
            DoubledRow(
                kind=one.kind,
                system=one.system,
                outlet=one.outlet,
                ours=list(one.ours),
                theirs=list(one.theirs),
            )
            for one in found
        ]
        return reply(request, DoubledList(items=items))

    @endpoint(
        "POST",
        "/v1/admin/crossref",
        auth=Auth.ADMIN,
        summary="Say what a system calls one of ours",
        request=NewCounterpart,
        reply=NewCounterpart,
    )
    async def set_code(self, request: web.Request) -> web.StreamResponse:
        new = await read_model(request, NewCounterpart)
        match = Match(new.kind, new.ours, new.theirs, new.outlet)
        ours = await CodeActs(self.centre.database).set(new.system, match, who=who(request))
        self.centre.codes_changed()
        return reply(request, new.model_copy(update={"ours": ours}))

    @endpoint(
        "POST",
        "/v1/admin/crossref/merge",
        auth=Auth.ADMIN,
        summary="Say that two codes of ours are one",
        request=Merge,
        reply=MergeDone,
    )
    async def merge_codes(self, request: web.Request) -> web.StreamResponse:
        wanted = await read_model(request, Merge)
        survivor, moved = await CodeActs(self.centre.database).merge(
            wanted.kind, wanted.gone, wanted.into, who=who(request)
        )
        self.centre.codes_changed()
        return reply(request, MergeDone(survivor=survivor, moved=moved))

    @endpoint(
        "POST",
        "/v1/admin/crossref/import",
        auth=Auth.ADMIN,
        summary="Set all codes of a CSV (kind,ours,system,theirs,outlet): all or none",
        reply=CodesImported,
        query={"dry_run": "1: only check the list"},
    )
    async def import_codes(self, request: web.Request) -> web.StreamResponse:
        data = await raw_body(request, digest=False)
        dry_run = bool(query_int(request, "dry_run", 0, 0, 1))
        listed, errors = parse(data)
        count = await CodeActs(self.centre.database).import_list(
            listed, errors, dry_run=dry_run, who=who(request)
        )
        self.centre.codes_changed()
        return reply(request, CodesImported(dry_run=dry_run, codes=count))
