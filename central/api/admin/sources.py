"""Admin API: sources of documents, their duplicate checks, and what came twice."""

from __future__ import annotations

from aiohttp import web

from central.api.admin.part import Part, page_of, time_or_none, who
from central.api.admin.shapes.sources import (
    DuplicateRow,
    Duplicates,
    NewPolicy,
    NewSource,
    OutletOfSource,
    SourceList,
    SourceRow,
)
from central.api.admin.stored import as_object, as_text
from central.api.http import Auth, endpoint, read_model, reply
from central.db import foreign as rows
from central.intake.duplicates import Policy, policies_of
from shared.clock import rfc3339


class SourcesApi(Part):
    """Foreign systems that hand in documents."""

    @endpoint(
        "GET",
        "/v1/admin/sources",
        auth=Auth.READ,
        summary="Sources of documents: their outlets, duplicate checks, and how many duplicates came",
        reply=SourceList,
    )
    async def list_sources(self, request: web.Request) -> web.StreamResponse:
        return reply(request, SourceList(items=await self._sources()))

    @endpoint(
        "POST",
        "/v1/admin/sources",
        auth=Auth.ADMIN,
        summary="Make a source of documents; then draw a key of role documents for each of its outlets",
        request=NewSource,
        reply=SourceList,
        status=201,
    )
    async def add_source(self, request: web.Request) -> web.StreamResponse:
        new = await read_model(request, NewSource)
        await self.centre.sources.add(new.source, who=who(request))
        return reply(request, SourceList(items=await self._sources()), status=201)

    @endpoint(
        "POST",
        "/v1/admin/sources/{source}/policies",
        auth=Auth.ADMIN,
        summary="Say what is done with duplicates of a kind",
        request=NewPolicy,
        reply=SourceList,
    )
    async def set_policy(self, request: web.Request) -> web.StreamResponse:
        new = await read_model(request, NewPolicy)
        policy = Policy(duplicate=new.duplicate, key=new.key)
        await self.centre.sources.set_policy(request.match_info["source"], new.kind, policy, who=who(request))
        return reply(request, SourceList(items=await self._sources()))

    @endpoint(
        "GET",
        "/v1/admin/sources/{source}/duplicates",
        auth=Auth.READ,
        summary="Documents of a source that came again and were refused or skipped, the last ones first",
        reply=Duplicates,
        query={"limit": "rows at most"},
    )
    async def list_duplicates(self, request: web.Request) -> web.StreamResponse:
        async with self.centre.database.read() as connection:
            found = await rows.duplicates(connection, request.match_info["source"], page_of(request))
        items = []
        for row in found:
            header = as_object(row.header) or {}
            items.append(
                DuplicateRow(
                    kind=row.kind,
                    key=row.key,
                    doc_id=as_text(header.get("doc_id")),
                    number=as_text(header.get("number")),
                    repeats=row.repeats,
                    last=rfc3339(row.repeated_ms),
                )
            )
        return reply(request, Duplicates(items=items))

    async def _sources(self) -> list[SourceRow]:
        async with self.centre.database.read() as connection:
            known = {row.source: row for row in await rows.list_sources(connection)}
            desks = await rows.desks(connection)
            repeats = await rows.repeats(connection)
        outlets: dict[str, list[OutletOfSource]] = {name: [] for name in known}
        for desk in desks:
            last = time_or_none(desk.last_ms) if desk.documents else None
            outlets.setdefault(desk.code.rpartition("@")[0], []).append(
                OutletOfSource(outlet=desk.store, documents=desk.documents, last=last)
            )
        return [
            SourceRow(
                source=name,
                created=rfc3339(known[name].created_ms) if name in known else None,
                policies=policies_of(known[name].policies) if name in known else {},
                outlets=found,
                duplicates=repeats.get(name, 0),
            )
            for name, found in sorted(outlets.items())
        ]
