"""Admin API: documents that are delivered together, what their groups wait for, and what people decide about them."""

from __future__ import annotations

from aiohttp import web

from central.api.admin.part import PAGING, Part, after_number, choice, next_of, page_of, time_or_none, who
from central.api.admin.shapes.groups import (
    DeliveryGroupRow,
    GroupDocument,
    GroupDocuments,
    GroupDone,
    GroupRows,
)
from central.api.admin.stored import as_object, as_text
from central.api.http import Auth, endpoint, reply
from shared.clock import rfc3339
from shared.errors import NotFound


class DocumentGroupsApi(Part):
    """Many documents that become one record of another system."""

    @endpoint(
        "GET",
        "/v1/admin/deliveries/groups",
        auth=Auth.READ,
        summary="Groups of documents that are delivered together, oldest first, and what they wait for",
        reply=GroupRows,
        query={"integration": "of this one", "state": "all: those that are done too", **PAGING},
    )
    async def document_groups(self, request: web.Request) -> web.StreamResponse:
        limit = page_of(request)
        found = await self.centre.group_desk.list(
            request.query.get("integration"),
            open_only=choice(request, "state", ("all",)) is None,
            after=after_number(request) or 0,
            limit=limit,
        )
        items = [
            DeliveryGroupRow(
                group_no=one.group_no,
                integration=one.integration,
                effect=one.effect,
                group=one.name,
                group_key=one.group_key,
                correction=one.correction,
                state=one.state,
                documents=one.documents,
                since=rfc3339(one.since_ms),
                closes=time_or_none(one.due_ms),
                closed=time_or_none(one.closed_ms),
                by=one.by,
                waits_for=one.waits_for,
            )
            for one in found
        ]
        return reply(request, GroupRows(items=items, next=next_of(items, limit, "group_no")))

    @endpoint(
        "GET",
        "/v1/admin/deliveries/groups/{group_no}/documents",
        auth=Auth.READ,
        summary="The documents of a group",
        reply=GroupDocuments,
        query=PAGING,
    )
    async def documents_of_group(self, request: web.Request) -> web.StreamResponse:
        limit = page_of(request)
        found = await self.centre.group_desk.documents(_number(request), after_number(request) or 0, limit)
        items = [
            GroupDocument(
                doc_no=row.doc_no,
                doc_id=as_text((as_object(row.header) or {}).get("doc_id")),
                station=row.station,
                kind=row.kind,
                number=row.number,
                currency=row.currency,
                total_minor=row.total_minor,
            )
            for row in found
        ]
        return reply(request, GroupDocuments(items=items, next=next_of(items, limit)))

    @endpoint(
        "POST",
        "/v1/admin/deliveries/groups/{group_no}/close",
        auth=Auth.ADMIN,
        summary="Close a group now; what comes later makes a correction of it",
        reply=GroupDone,
    )
    async def close_document_group(self, request: web.Request) -> web.StreamResponse:
        number = _number(request)
        note = self.note(request, "group.close", {"group": number})
        await self.centre.group_desk.close(number, who=who(request), audited=note)
        return reply(request, GroupDone(group_no=number))

    @endpoint(
        "POST",
        "/v1/admin/deliveries/groups/{group_no}/accept",
        auth=Auth.ADMIN,
        summary="Say that what the other system has under this group's key is this group",
        reply=GroupDone,
    )
    async def accept_document_group(self, request: web.Request) -> web.StreamResponse:
        number = _number(request)
        note = self.note(request, "group.accept", {"group": number})
        await self.centre.group_desk.accept(number, who=who(request), audited=note)
        return reply(request, GroupDone(group_no=number))


def _number(request: web.Request) -> int:
    text = request.match_info["group_no"]
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise NotFound(
            f'there is no group "{text}"', hint="`deliveries groups` lists them with their numbers"
        )
    return int(text)
