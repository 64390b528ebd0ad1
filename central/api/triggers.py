"""The door at which other systems say that something has changed: their pulls are run at once instead of at their time.

What they send is not looked at; what has changed is asked for in the usual way, so a lost or doubled call does no harm.
"""

from __future__ import annotations

from aiohttp import web

from central.api.admin.shapes.integrations import Asked
from central.api.http import Auth, bearer, endpoint, raw_body, reply
from central.centre import Centre

BODY_MAX_BYTES = 1 << 20


class TriggersApi:
    """`/v1/triggers`."""

    def __init__(self, centre: Centre) -> None:
        self._triggers = centre.triggers

    @endpoint(
        "POST",
        "/v1/triggers/{integration}",
        auth=Auth.ANYONE,
        summary="Run an integration's pulls now; needs its trigger secret or an admin key as bearer token",
        reply=Asked,
        query={"pull": "only this one"},
        status=202,
    )
    async def fire(self, request: web.Request) -> web.StreamResponse:
        credential = bearer(request)
        await raw_body(request, body_max=BODY_MAX_BYTES, digest=False)
        asked = await self._triggers.fire(
            request.match_info["integration"], credential, request.query.get("pull")
        )
        return reply(request, Asked(pulls=list(asked)), status=202)
