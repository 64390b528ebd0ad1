"""What a station asks of the centre about its documents: hello, enrolment, session, push, history.

The catalog's endpoints are `central/api/catalog.py`. Doors only: bytes are bounded and checked here, and everything
that decides lies in `central/registry` and `central/intake`.
"""

from __future__ import annotations

import pydantic
from aiohttp import web

from central.api.http import SESSION, STATION, Auth, endpoint, query_int, raw_body, read_model, reply
from central.centre import Centre
from shared.canonical import parse_object
from shared.ids import parse_epoch
from shared.journal import BATCH_MAX_BYTES, BATCH_MAX_RAW_BYTES
from shared.protocol import framing, problems, wire
from shared.protocol.messages import (
    EnrollReply,
    EnrollRequest,
    Hello,
    PushEnvelope,
    PushReply,
    SessionReply,
    SessionRequest,
)


class StationApi:
    """Endpoints of the upward line."""

    def __init__(self, centre: Centre) -> None:
        self._centre = centre

    @endpoint(
        "GET", "/v1/hello", auth=Auth.ANYONE, summary="A nonce, the time, versions and limits", reply=Hello
    )
    async def hello(self, request: web.Request) -> web.StreamResponse:
        return reply(request, await self._centre.sessions.hello())

    @endpoint(
        "POST",
        "/v1/enroll",
        auth=Auth.ANYONE,
        summary="Become a station with a code from HQ",
        request=EnrollRequest,
        reply=EnrollReply,
    )
    async def enroll(self, request: web.Request) -> web.StreamResponse:
        return reply(request, await self._centre.enrolment.enroll(await read_model(request, EnrollRequest)))

    @endpoint(
        "POST",
        "/v1/session",
        auth=Auth.ANYONE,
        summary="Say who is speaking and how far its epochs are",
        request=SessionRequest,
        reply=SessionReply,
    )
    async def session(self, request: web.Request) -> web.StreamResponse:
        claimed = parse_object(await raw_body(request))
        try:
            message = SessionRequest.model_validate(claimed)
        except pydantic.ValidationError as error:
            raise problems.from_validation(error, "body") from None
        return reply(request, await self._centre.sessions.open(claimed, message))

    @endpoint(
        "POST",
        "/v1/journal",
        auth=Auth.SESSION,
        summary="Documents of one epoch: an envelope line, then a header and a payload line for each",
        request=PushEnvelope,
        reply=PushReply,
    )
    async def push(self, request: web.Request) -> web.StreamResponse:
        body = await raw_body(request, body_max=BATCH_MAX_BYTES, raw_max=BATCH_MAX_RAW_BYTES)
        envelope, lines = framing.split(body)
        acked = await self._centre.intake.push(request[SESSION], envelope, lines)
        return reply(request, acked._asdict())

    @endpoint(
        "GET",
        "/v1/journal",
        auth=Auth.STATION,
        summary="A station's own documents, to be read back after a loss",
        query={"epoch": "32 hexadecimal digits", "after": "the position to go on after"},
        media=wire.NDJSON,
    )
    async def history(self, request: web.Request) -> web.StreamResponse:
        epoch = parse_epoch(request.query.get("epoch", ""))
        after = query_int(request, "after", 0, 0, 2**62)
        envelope, lines = await self._centre.intake.history(request[STATION], epoch, after)
        return reply(request, framing.join(envelope, lines), media=wire.NDJSON)
