"""Admin API: documents that are stuck: waiting, parked, held; and their repair."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from central.api.admin.part import PAGING, Part, after_number, choice, next_of, page_of, who
from central.api.admin.shapes.documents import (
    Decided,
    Decision,
    ParkedGroup,
    ParkedGroups,
    ParkedList,
    ParkedRow,
    Repair,
    Repaired,
    StaysHeld,
    Stuck,
    StuckRow,
)
from central.api.admin.stored import as_object, as_text, as_uuid
from central.api.http import Auth, endpoint, read_model, reply
from central.db import documents as rows
from central.db.database import AnyRow
from central.db.held import Choice
from central.intake.held import Content
from central.intake.parked import Correction
from shared.clock import rfc3339
from shared.errors import NotFound
from shared.ids import parse_doc_id

HELD_WHYS = ("quarantine", "retired-key", "conflict", "damaged")


class StuckApi(Part):
    """What needs somebody."""

    @endpoint(
        "GET",
        "/v1/admin/waiting",
        auth=Auth.READ,
        summary="Documents that wait for another",
        reply=Stuck,
        query=PAGING,
    )
    async def list_waiting(self, request: web.Request) -> web.StreamResponse:
        limit = page_of(request)
        async with self.centre.database.read() as connection:
            found = await rows.list_waiting(connection, after=after_number(request) or 0, limit=limit)
        items = [StuckRow(**_stuck(row), why=row.why, waits_for=as_uuid(row.reference)) for row in found]
        return reply(request, Stuck(items=items, next=next_of(items, limit)))

    @endpoint(
        "GET",
        "/v1/admin/held",
        auth=Auth.READ,
        summary="Documents that are kept, but not applied until HQ decides",
        reply=Stuck,
        query={"station": "of this station", "why": " or ".join(HELD_WHYS), **PAGING},
    )
    async def list_held(self, request: web.Request) -> web.StreamResponse:
        limit = page_of(request)
        async with self.centre.database.read() as connection:
            found = await rows.list_held(
                connection,
                after=after_number(request) or 0,
                limit=limit,
                station=request.query.get("station"),
                why=choice(request, "why", HELD_WHYS),
            )
        items = [StuckRow(**_stuck(row), why=row.why) for row in found]
        return reply(request, Stuck(items=items, next=next_of(items, limit)))

    @endpoint(
        "POST",
        "/v1/admin/held/decide",
        auth=Auth.ADMIN,
        summary="Apply or discard held conflicts and damaged documents, many at once",
        request=Decision,
        reply=Decided,
    )
    async def decide_held(self, request: web.Request) -> web.StreamResponse:
        asked = await read_model(request, Decision)
        choice = Choice(asked.doc_nos, asked.why, asked.station)
        desk, name = self.centre.held, who(request)
        if asked.decision == "discard":
            done = await desk.discard(choice, reason=asked.reason, who=name)
        else:
            content = Content(asked.header, asked.payload)
            done = await desk.apply(choice, reason=asked.reason, who=name, content=content)
            self.centre.applier.wake.set()
        if not (done.applied or done.discarded or done.refused):
            raise NotFound("no such document is held", hint="`counterflow-central held list` shows them")
        refused = [StaysHeld(doc_no=one.doc_no, why=one.why) for one in done.refused]
        return reply(
            request, Decided(applied=list(done.applied), discarded=list(done.discarded), refused=refused)
        )

    @endpoint(
        "GET",
        "/v1/admin/parked",
        auth=Auth.READ,
        summary="Parked documents, grouped by root cause",
        reply=ParkedGroups,
    )
    async def parked_groups(self, request: web.Request) -> web.StreamResponse:
        async with self.centre.database.read() as connection:
            found = await rows.parked_groups(connection)
        items = [
            ParkedGroup(
                reason=row.reason,
                documents=row.documents,
                stations=row.stations,
                since=rfc3339(row.since_ms),
                example=row.example,
            )
            for row in found
        ]
        return reply(request, ParkedGroups(items=items))

    @endpoint(
        "GET",
        "/v1/admin/parked/documents",
        auth=Auth.READ,
        summary="Parked documents one by one",
        reply=ParkedList,
        query={"reason": "of this group", "station": "of this station", **PAGING},
    )
    async def list_parked(self, request: web.Request) -> web.StreamResponse:
        limit = page_of(request)
        async with self.centre.database.read() as connection:
            found = await rows.list_parked(
                connection,
                after=after_number(request) or 0,
                limit=limit,
                reason=request.query.get("reason"),
                station=request.query.get("station"),
            )
        items = [
            ParkedRow(**_stuck(row), why=row.reason, detail=row.detail, attempts=row.attempts)
            for row in found
        ]
        return reply(
            request,
            ParkedList(items=items, next=next_of(items, limit)),
        )

    @endpoint(
        "POST",
        "/v1/admin/parked/repair",
        auth=Auth.ADMIN,
        summary="Correct parked documents of one cause together, or only try them again",
        request=Repair,
        reply=Repaired,
    )
    async def repair(self, request: web.Request) -> web.StreamResponse:
        repair = await read_model(request, Repair)
        doc_nos = None
        if repair.doc_ids is not None:
            async with self.centre.database.read() as connection:
                doc_nos = []
                for doc_id in repair.doc_ids:
                    found = await rows.document_numbers(connection, parse_doc_id(doc_id).bytes)
                    if not found:
                        raise NotFound(f'there is no document "{doc_id}"')
                    doc_nos += found
        done = await self.centre.parked.repair(
            reason=repair.reason,
            doc_nos=doc_nos,
            correction=Correction(values=repair.set, payload=repair.payload),
            who=who(request),
        )
        if done.tried == 0:
            chosen = f'for "{repair.reason}"' if repair.reason is not None else "under these doc_ids"
            raise NotFound(
                f"no document is parked {chosen}", hint="`counterflow-central parked list` shows the reasons"
            )
        if done.applied:
            self.centre.applier.applied.set()
        return reply(
            request, Repaired(tried=done.tried, applied=done.applied, still_parked=done.still_parked)
        )


def _stuck(row: AnyRow) -> dict[str, Any]:
    header = as_object(row.header) or {}
    return {
        "doc_no": row.doc_no,
        "doc_id": as_text(header.get("doc_id")),
        "station": row.station,
        "kind": as_text(header.get("kind")),
        "number": as_text(header.get("number")),
        "since": rfc3339(row.since_ms),
    }
