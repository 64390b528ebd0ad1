"""Admin API: deliveries that cannot go, by root cause; their history, their repair, and when the rest is through."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web

from central.api.admin.part import PAGING, Part, page_of, time_or_none, who
from central.api.admin.shapes.deliveries import DeliveriesMoved
from central.api.admin.shapes.desk import (
    AttemptRow,
    Attempts,
    DeliveryGroup,
    DeliveryGroups,
    DeliveryHistory,
    InGroup,
    OutlookRow,
    ParkedDeliveries,
    ParkedDelivery,
    SendAgain,
    WrittenRow,
)
from central.api.admin.stored import as_object, as_text
from central.api.http import Auth, endpoint, read_model, reply
from central.db import attempts
from central.db import documents as rows
from central.db.database import AnyRow
from central.deliveries.desk import Correction
from central.deliveries.group_plan import name_of
from shared.clock import rfc3339
from shared.errors import BadInput, NotFound
from shared.ids import parse_doc_id


class DeskApi(Part):
    """What needs somebody before it can be delivered."""

    @endpoint(
        "GET",
        "/v1/admin/deliveries/parked",
        auth=Auth.READ,
        summary="Deliveries that cannot go, grouped by root cause; those that wait for a code among them",
        reply=DeliveryGroups,
    )
    async def delivery_groups(self, request: web.Request) -> web.StreamResponse:
        items = [
            DeliveryGroup(
                integration=group.integration,
                reason=group.reason,
                deliveries=group.deliveries,
                stations=group.stations,
                since=rfc3339(group.since_ms),
                example=group.example,
                waits=group.waits_for is not None,
            )
            for group in await self.centre.desk.groups()
        ]
        return reply(request, DeliveryGroups(items=items))

    @endpoint(
        "GET",
        "/v1/admin/integrations/{name}/parked",
        auth=Auth.READ,
        summary="Parked deliveries one by one, with the record that was refused",
        reply=ParkedDeliveries,
        query={"reason": "of this group", **PAGING},
    )
    async def parked_deliveries(self, request: web.Request) -> web.StreamResponse:
        limit = page_of(request)
        found = await self.centre.desk.parked(
            request.match_info["name"], request.query.get("reason"), _after(request), limit
        )
        last = f"{found[-1].doc_no}/{found[-1].effect}" if len(found) == limit else None
        return reply(request, ParkedDeliveries(items=[_parked(row) for row in found], next=last))

    @endpoint(
        "POST",
        "/v1/admin/integrations/{name}/retry",
        auth=Auth.ADMIN,
        summary="Send parked deliveries again, all, of one reason or of some documents; corrected if need be",
        request=SendAgain,
        reply=DeliveriesMoved,
    )
    async def send_again(self, request: web.Request) -> web.StreamResponse:
        body = await read_model(request, SendAgain)
        name = request.match_info["name"]
        doc_nos = None
        if body.doc_ids is not None:
            doc_nos = [number for doc_id in body.doc_ids for number in await self._numbers(doc_id)]
        detail = {"name": name, **body.model_dump(exclude_none=True)}
        count = await self.centre.desk.send_again(
            name,
            reason=body.reason,
            doc_nos=doc_nos,
            correction=Correction(body.set, body.record),
            who=who(request),
            audited=self.note(request, "deliveries.retry", detail),
        )
        return reply(request, DeliveriesMoved(deliveries=count))

    @endpoint(
        "GET",
        "/v1/admin/integrations/{name}/outlook",
        auth=Auth.READ,
        summary="How fast deliveries get done, and when the backlog is through",
        reply=OutlookRow,
    )
    async def outlook(self, request: web.Request) -> web.StreamResponse:
        found = await self.centre.desk.outlook(request.match_info["name"])
        return reply(
            request,
            OutlookRow(
                left=found.left,
                per_minute=found.per_minute,
                through=time_or_none(found.through_ms),
                gathering=found.gathering,
            ),
        )

    @endpoint(
        "GET",
        "/v1/admin/batches/{batch_id}/attempts",
        auth=Auth.READ,
        summary="Attempts at a batch, newest first, with masked requests and answers",
        reply=Attempts,
    )
    async def list_attempts(self, request: web.Request) -> web.StreamResponse:
        batch_id = request.match_info["batch_id"]
        async with self.centre.database.read() as connection:
            found = await attempts.of_batch(connection, batch_id)
        return reply(request, Attempts(items=[_attempt(row, batch_id, None, None) for row in found]))

    @endpoint(
        "GET",
        "/v1/admin/documents/{doc_id}/deliveries",
        auth=Auth.READ,
        summary="What was tried with a document's deliveries, and what other systems call what it became",
        reply=DeliveryHistory,
    )
    async def delivery_history(self, request: web.Request) -> web.StreamResponse:
        doc_nos = await self._numbers(request.match_info["doc_id"])
        tried, written, groups = await self.centre.desk.history(doc_nos)
        names = {one.integration_no: one.name for one in await self.centre.integrations.list()}
        return reply(
            request,
            DeliveryHistory(
                attempts=[
                    _attempt(row, row.batch_id, names.get(row.integration_no), row.effect) for row in tried
                ],
                written=[
                    WrittenRow(
                        integration=names.get(row.integration_no, ""),
                        effect=row.effect,
                        part=row.part,
                        id=row.id,
                        number=row.number,
                        at=rfc3339(row.at_ms),
                    )
                    for row in written
                ],
                groups=[
                    InGroup(
                        integration=names.get(row.integration_no, ""),
                        effect=row.effect,
                        group_no=row.group_no,
                        group=name_of(row.group_key, row.correction),
                        state=row.state,
                        documents=row.size,
                    )
                    for row in groups
                ],
            ),
        )

    async def _numbers(self, doc_id: str) -> list[int]:
        async with self.centre.database.read() as connection:
            found = await rows.document_numbers(connection, parse_doc_id(doc_id).bytes)
        if not found:
            raise NotFound(f'there is no document "{doc_id}"')
        return list(found)


def _after(request: web.Request) -> tuple[int, str]:
    text = request.query.get("after")
    if text is None:
        return -1, ""
    number, slash, effect = text.partition("/")
    if not slash or not number.isascii() or not number.isdigit():
        raise BadInput(f'query parameter after="{text}" is no cursor', hint="take `next` of the page before")
    return int(number), effect


def _parked(row: AnyRow) -> ParkedDelivery:
    header = as_object(row.header) or {}
    return ParkedDelivery(
        doc_no=row.doc_no,
        doc_id=as_text(header.get("doc_id")),
        effect=row.effect,
        station=row.station,
        kind=as_text(header.get("kind")),
        number=as_text(header.get("number")),
        since=rfc3339(row.since_ms),
        reason=row.reason or "",
        batch_id=row.batch_id,
        record=orjson.loads(row.record) if row.record is not None else None,
    )


def _attempt(row: AnyRow, batch_id: str, integration: str | None, effect: str | None) -> AttemptRow:
    exchanges: list[Any] = orjson.loads(row.exchanges)
    return AttemptRow(
        at=rfc3339(row.at_ms),
        integration=integration,
        effect=effect,
        batch_id=batch_id,
        sent=row.sent,
        outcome=row.outcome,
        took_ms=row.took_ms,
        done=row.done,
        error=row.error,
        exchanges=exchanges,
    )
