"""What a station asks of the centre about its documents: hello, enrolment, session, push, history.

The catalog's endpoints are `central/api/catalog.py`. Doors only: bytes are bounded and checked here, and everything
that decides lies in `central/registry` and `central/intake`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pydantic
from aiohttp import web

from central.api.http import Auth, endpoint, raw_body, read_model, reply
from shared.canonical import parse_object
from shared.protocol import problems
from shared.protocol.messages import EnrollReply, EnrollRequest, Hello, SessionReply, SessionRequest

if TYPE_CHECKING:
    from central.server import Centre


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
