"""The door for documents of systems without an agent: posted with an Idempotency-Key, asked for by doc_id.

Its key says whose documents they are and of which outlet; a key sees the documents of its own outlet alone.
"""

from __future__ import annotations

import pydantic
from aiohttp import web

from central.api.http import KEY, Auth, endpoint, read_model, reply
from central.centre import Centre
from central.db import documents as rows
from central.intake.submitted import Request, Submitted, Taken, code_of
from shared.canonical import parse_object
from shared.clock import rfc3339
from shared.errors import BadInput, NotAllowed, NotFound
from shared.ids import parse_doc_id

KEY_MAX_CHARS = 200
REPEATED_HEADER = "Idempotency-Replayed"


class DeliveryState(pydantic.BaseModel):
    """How far it is on its way to one system.

    `state`: gathering (for its group or its time), grouped (its group carries it), ready, waiting (for a code), leased,
    parked, skipped (it has no such effect) or done.
    """

    integration: str
    effect: str
    state: str


class DocumentState(pydantic.BaseModel):
    """`state`: pending, waiting (for a document that it names), parked, held, discarded or applied; `why` if not."""

    doc_id: str
    kind: str
    number: str
    business_date: str
    received: str
    state: str
    why: str | None
    replaces: str | None
    deliveries: list[DeliveryState]


class ForeignApi:
    def __init__(self, centre: Centre) -> None:
        self._centre = centre

    @endpoint(
        "POST",
        "/v1/documents",
        auth=Auth.DOCUMENTS,
        summary="Hand in a document; the header Idempotency-Key is needed, and the same one brings the same answer.",
        request=Submitted,
        reply=Taken,
        status=201,
    )
    async def post(self, request: web.Request) -> web.StreamResponse:
        key = request.headers.get("Idempotency-Key", "")
        if not key:
            raise BadInput(
                "no Idempotency-Key came: after a lost answer the document would be doubled",
                hint="draw a UUID with the document, send it, and keep it until the answer is there",
                code="idempotency-key-missing",
            )
        if len(key) > KEY_MAX_CHARS:
            raise BadInput(
                f"the Idempotency-Key has {len(key)} characters; it takes 1 to {KEY_MAX_CHARS}",
                code="invalid-fields",
            )
        source, outlet = _bound(request)
        submitted = await read_model(request, Submitted)
        answer = await self._centre.foreign.take(Request(source, outlet, submitted, key))
        headers = {REPEATED_HEADER: "true"} if answer.repeated else None
        return reply(request, answer.body, status=answer.status, headers=headers)

    @endpoint(
        "GET",
        "/v1/documents/{doc_id}",
        auth=Auth.DOCUMENTS,
        summary="What became of a document that was handed in, and where it was delivered.",
        reply=DocumentState,
    )
    async def show(self, request: web.Request) -> web.StreamResponse:
        source, outlet = _bound(request)
        doc_id = parse_doc_id(request.match_info["doc_id"])
        async with self._centre.database.read() as connection:
            found = await rows.document_numbers(connection, doc_id.bytes)
            row = await rows.one_document(connection, found[0]) if found else None
            if row is None or row.station != code_of(source, outlet):
                raise NotFound(
                    f"no document {doc_id} was handed in by {source} for {outlet}",
                    hint="post it again with its Idempotency-Key: the answer has its doc_id",
                )
            deliveries = await rows.deliveries_of(connection, row.doc_no)
        header = parse_object(row.sealed_header)
        return reply(
            request,
            DocumentState(
                doc_id=str(doc_id),
                kind=header["kind"],
                number=header["number"],
                business_date=header["business_date"],
                received=rfc3339(row.received_ms),
                state=row.state,
                why=row.detail or row.why,
                replaces=header.get("replaces"),
                deliveries=[
                    DeliveryState(integration=each.integration, effect=each.effect, state=each.state)
                    for each in deliveries
                ],
            ),
        )


def _bound(request: web.Request) -> tuple[str, str]:
    """Whose documents they are, as the key says."""
    key = request[KEY]
    if key.source is None or key.outlet is None:
        raise NotAllowed(f'the API key "{key.who}" is bound to no source and outlet')
    return key.source, key.outlet
