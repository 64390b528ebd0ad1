"""Admin API: documents."""

from __future__ import annotations

import base64
import re
from typing import Any

import orjson
from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from central.api.admin.part import PAGING, Part, after_number, choice, next_of, page_of
from central.api.admin.shapes.documents import (
    DeliveryOfDocument,
    DocumentDetail,
    DocumentRow,
    Documents,
    Event,
    Position,
)
from central.api.admin.stored import as_object, as_text, as_uuid
from central.api.http import Auth, endpoint, reply
from central.db import documents as rows
from central.db.database import AnyRow
from shared.clock import rfc3339
from shared.errors import BadInput, NotFound
from shared.ids import parse_doc_id, reference

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
            paper, links, units = await rows.paper_of(connection, row.station_no, row.doc_no)
            deliveries = await rows.deliveries_of(connection, row.doc_no)
        detail = DocumentDetail(
            **_document(row),
            header=as_object(row.sealed_header),
            payload=as_object(row.payload),
            repaired=as_object(row.repaired) if row.repaired else None,
            repaired_by=row.repaired_by,
            detail=row.detail,
            attempts=row.attempts,
            history=_history(row.history),
            waits_for=as_uuid(row.reference),
            positions=[
                Position(epoch=place.epoch.hex(), seq=place.seq, reference=reference(place.epoch, place.seq))
                for place in positions
            ],
            lines=[_row(line) for line in lines],
            payments=[_row(payment) for payment in payments],
            paper=_row(paper) if paper is not None else None,
            based_on=[{**_row(link), "doc_id": as_uuid(link.doc_id)} for link in links],
            units=[_row(unit) for unit in units],
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
            doc_nos = [
                row.doc_no for row in conflicts if (as_object(row.header) or {}).get("doc_id") == asked
            ]
        return doc_nos


def _document(row: AnyRow) -> dict[str, Any]:
    header = as_object(row.header) or {}
    return {
        "doc_no": row.doc_no,
        "doc_id": as_text(header.get("doc_id")),
        "station": row.station,
        "store": row.store,
        "kind": as_text(header.get("kind")),
        "number": as_text(header.get("number")),
        "business_date": as_text(header.get("business_date")),
        "received": rfc3339(row.received_ms),
        "state": row.state,
        "why": row.why,
        "total_minor": row.total_minor,
        "currency": row.currency,
    }


def _row(row: AnyRow) -> dict[str, Any]:
    hidden = ("station_no", "doc_no")
    return {name: value for name, value in row._mapping.items() if name not in hidden and value is not None}


def _history(text: str | None) -> list[Event]:
    return [Event(at=rfc3339(event["at_ms"]), what=event["what"]) for event in orjson.loads(text or "[]")]
