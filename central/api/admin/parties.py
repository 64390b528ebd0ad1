"""Admin API: parties that are unclear, and reference values that were made in other systems."""

from __future__ import annotations

import orjson
from aiohttp import web

from central.api.admin.part import PAGING, Part, after_number, next_of, page_of, who
from central.api.admin.shapes.crossref import (
    CodeDecided,
    CodeDecision,
    ReferenceList,
    ReferenceRow,
    UnclearList,
    UnclearRow,
)
from central.api.http import Auth, endpoint, query_int, read_model, reply
from central.codes.desk import PartyDesk
from central.db import parties as rows
from shared.clock import rfc3339


class PartiesApi(Part):
    """Whom another system may have already."""

    @endpoint(
        "GET",
        "/v1/admin/parties/unclear",
        auth=Auth.READ,
        summary="Parties of which nobody can say whether a system has them",
        reply=UnclearList,
        query={"system": "of this system", "all": "1: also those that were decided", **PAGING},
    )
    async def list_unclear(self, request: web.Request) -> web.StreamResponse:
        limit = page_of(request)
        async with self.centre.database.read() as connection:
            found = await rows.list_unclear(
                connection,
                after=after_number(request) or 0,
                limit=limit,
                system=request.query.get("system"),
                open_only=not query_int(request, "all", 0, 0, 1),
            )
        items = [
            UnclearRow(
                system=row.system,
                party=row.party,
                name=row.name,
                tax_id=row.tax_id,
                why=row.why,
                candidates=orjson.loads(row.candidates),
                since=rfc3339(row.first_ms),
                last=rfc3339(row.last_ms),
                decision=row.decision,
                chosen=row.chosen,
                by=row.by,
            )
            for row in found
        ]
        return reply(request, UnclearList(items=items, next=next_of(found, limit, "unclear_no")))

    @endpoint(
        "POST",
        "/v1/admin/parties/decide",
        auth=Auth.ADMIN,
        summary="Decide about an unclear party: use a record, create one, or ignore it",
        request=CodeDecision,
        reply=CodeDecided,
    )
    async def decide_party(self, request: web.Request) -> web.StreamResponse:
        wanted = await read_model(request, CodeDecision)
        needed = await PartyDesk(self.centre.database).decide(
            wanted.system, wanted.party, wanted.decision, wanted.id, who=who(request)
        )
        self.centre.codes_changed()
        return reply(request, CodeDecided(**wanted.model_dump(), deliveries=needed))

    @endpoint(
        "GET",
        "/v1/admin/references",
        auth=Auth.READ,
        summary="Reference values that were looked for in other systems, or made there",
        reply=ReferenceList,
        query={"system": "of this system", "target": "of this target", "limit": PAGING["limit"]},
    )
    async def list_references(self, request: web.Request) -> web.StreamResponse:
        async with self.centre.database.read() as connection:
            found = await rows.list_references(
                connection,
                limit=page_of(request),
                system=request.query.get("system"),
                target=request.query.get("target"),
            )
        items = [
            ReferenceRow(system=row.system, target=row.target, value=row.value, id=row.theirs, made=row.made)
            for row in found
        ]
        return reply(request, ReferenceList(items=items))
