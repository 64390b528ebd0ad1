"""Admin API: documents, and those that are stuck: waiting, parked, held."""

from __future__ import annotations

import base64
import re
from typing import Any

import orjson
from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from central.api.admin.part import PAGING, Part, after_number, choice, next_of, page_of, who
from central.api.admin.shapes.documents import (
    DeliveryOfDocument,
    DocumentDetail,
    DocumentRow,
    Documents,
    Event,
    ParkedGroup,
    ParkedGroups,
    ParkedList,
    ParkedRow,
    Position,
    Repair,
    Repaired,
    Stuck,
    StuckRow,
)
from central.api.http import Auth, endpoint, read_model, reply
from central.db import overview as rows
from central.db.database import AnyRow
from central.intake.parked import Correction
from shared.clock import rfc3339
from shared.errors import BadInput, NotFound
from shared.ids import parse_doc_id, reference

HELD_WHYS = ("quarantine", "retired-key", "conflict", "damaged")
CONFLICTS_MAX = 5_000
_REFERENCE = re.compile(r"^([A-Z2-7]{10})-([1-9][0-9]{0,17})$")


class DocumentsApi(Part):
    """What the tills sent."""

    @endpoint(
        "GET",
        "/v1/admin/documents",
        auth=Auth.READ,
        summary="Documents, newest first",
        reply=Documents,
        query={
            "station": "of this station",
            "store": "of this store's stations",
            "kind": "applied ones of this kind",
            "date": "applied ones of this business date",
            "number": "applied ones with this number",
            "state": " or ".join(rows.STATES),
            **PAGING,
        },
    )
    async def list_documents(self, request: web.Request) -> web.StreamResponse:
        limit = page_of(request)
        query = request.query
        async with self.centre.database.read() as connection:
            found = await rows.list_documents(
                connection,
                before=after_number(request),
                limit=limit,
                station=query.get("station"),
                store=query.get("store"),
                kind=query.get("kind"),
                business_date=query.get("date"),
                number=query.get("number"),
                state=choice(request, "state", rows.STATES),
            )
        items = [DocumentRow(**_document(row)) for row in found]
        return reply(
            request,
            Documents(items=items, next=next_of(items, limit)),
        )

    @endpoint(
        "GET",
        "/v1/admin/documents/{id}",
        auth=Auth.READ,
        summary="A document by its doc_id, its number at the centre, or the reference printed on the receipt",
        reply=DocumentDetail,
    )
    async def show_document(self, request: web.Request) -> web.StreamResponse:
        asked = request.match_info["id"]
        async with self.centre.database.read() as connection:
            doc_nos = await self._find(connection, asked)
            if not doc_nos:
                raise NotFound(
                    f'there is no document "{asked}"',
                    hint="if its station has a backlog, it is still there: `counterflow-central stations show CODE`",
                )
            row = await rows.one_document(connection, doc_nos[0])
            positions = await rows.positions_of(connection, row.station_no, row.doc_no)
            lines, payments = await rows.rows_of(connection, row.station_no, row.doc_no)
            deliveries = await rows.deliveries_of(connection, row.doc_no)
        detail = DocumentDetail(
            **_document(row),
            header=_object(row.header),
            payload=_object(row.payload),
            repaired=_object(row.repaired) if row.repaired else None,
            repaired_by=row.repaired_by,
            detail=row.detail,
            attempts=row.attempts,
            history=_history(row.history),
            waits_for=_uuid(row.reference),
            positions=[
                Position(epoch=place.epoch.hex(), seq=place.seq, reference=reference(place.epoch, place.seq))
                for place in positions
            ],
            lines=[_row(line) for line in lines],
            payments=[_row(payment) for payment in payments],
            deliveries=[
                DeliveryOfDocument(
                    integration=delivery.integration,
                    effect=delivery.effect,
                    state=delivery.state,
                    batch=delivery.batch_id,
                )
                for delivery in deliveries
            ],
        )
        return reply(request, detail)

    async def _find(self, connection: AsyncConnection, asked: str) -> list[int]:
        if asked.isascii() and asked.isdigit() and len(asked) <= 18:
            return [int(asked)] if await rows.document_exists(connection, int(asked)) else []
        if printed := _REFERENCE.match(asked):
            # 50 bits: six bytes and the first two bits of the seventh.
            prefix = base64.b32decode(printed[1] + "======")[:6]
            found = await rows.document_at(
                connection, prefix + bytes(10), prefix + b"\xff" * 10, int(printed[2])
            )
            return [row.doc_no for row in found if reference(row.epoch, int(printed[2])) == asked]
        try:
            doc_id = parse_doc_id(asked)
        except BadInput:
            raise BadInput(
                f'"{asked}" is neither a doc_id nor a printed reference',
                hint="a doc_id has 36 characters, a reference looks like ABCDEFGHIJ-123; "
                "a receipt's number is found by `documents list --number`",
            ) from None
        doc_nos = await rows.document_numbers(connection, doc_id.bytes)
        if not doc_nos:
            conflicts = await rows.conflict_headers(connection, CONFLICTS_MAX)
            doc_nos = [row.doc_no for row in conflicts if (_object(row.header) or {}).get("doc_id") == asked]
        return doc_nos

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
        items = [StuckRow(**_stuck(row), why=row.why, waits_for=_uuid(row.reference)) for row in found]
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
        await self.note(
            request, "parked.repair", {**repair.model_dump(exclude_none=True), "applied": done.applied}
        )
        return reply(
            request, Repaired(tried=done.tried, applied=done.applied, still_parked=done.still_parked)
        )


def _document(row: AnyRow) -> dict[str, Any]:
    header = _object(row.header) or {}
    return {
        "doc_no": row.doc_no,
        "doc_id": _text(header.get("doc_id")),
        "station": row.station,
        "store": row.store,
        "kind": _text(header.get("kind")),
        "number": _text(header.get("number")),
        "business_date": _text(header.get("business_date")),
        "received": rfc3339(row.received_ms),
        "state": row.state,
        "why": row.why,
        "total_minor": row.total_minor,
        "currency": row.currency,
    }


def _stuck(row: AnyRow) -> dict[str, Any]:
    header = _object(row.header) or {}
    return {
        "doc_no": row.doc_no,
        "doc_id": _text(header.get("doc_id")),
        "station": row.station,
        "kind": _text(header.get("kind")),
        "number": _text(header.get("number")),
        "since": rfc3339(row.since_ms),
    }


def _row(row: AnyRow) -> dict[str, Any]:
    hidden = ("station_no", "doc_no")
    return {name: value for name, value in row._mapping.items() if name not in hidden and value is not None}


def _object(raw: bytes | None) -> dict[str, Any] | None:
    """What stored bytes say, or None where they are not a JSON object (damaged on the station's disk)."""
    try:
        value = orjson.loads(raw or b"")
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _uuid(raw: bytes | None) -> str | None:
    if raw is None:
        return None
    text = bytes(raw).hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}" if len(text) == 32 else text


def _history(text: str | None) -> list[Event]:
    return [Event(at=rfc3339(event["at_ms"]), what=event["what"]) for event in orjson.loads(text or "[]")]
