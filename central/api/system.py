"""What machines ask of a node: is it alive, is it ready, which version, which figures, which operations."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from sqlalchemy.exc import SQLAlchemyError

from central.api.http import ENDPOINTS, Auth, endpoint, reply
from central.api.openapi import describe
from central.centre import Centre
from central.db import schema
from central.monitoring.collect import collect
from central.monitoring.metrics import CONTENT_TYPE
from shared import PROTOCOL_VERSION, __version__
from shared.errors import Unavailable


class SystemApi:
    """The doors beside the product's own."""

    def __init__(self, centre: Centre) -> None:
        self._centre = centre
        self._described: dict[str, Any] | None = None

    @endpoint("GET", "/healthz", auth=Auth.ANYONE, summary="The process answers")
    async def health(self, request: web.Request) -> web.StreamResponse:
        return reply(request, {"status": "ok"})

    @endpoint(
        "GET", "/readyz", auth=Auth.ANYONE, summary="The database is there and has this version's schema"
    )
    async def ready(self, request: web.Request) -> web.StreamResponse:
        try:
            async with self._centre.database.read() as connection:
                found = await schema.current(connection)
        except (SQLAlchemyError, OSError) as error:
            raise Unavailable(
                f"the database does not answer: {type(error).__name__}",
                hint="stations sell on meanwhile",
                retry_after_s=5,
            ) from None
        if found != schema.HEAD:
            raise Unavailable(
                f"the database has schema {found or '(none)'}, this version needs {schema.HEAD}",
                hint="run `counterflow-central migrate`, or start the version that fits",
                code="wrong-schema",
                retry_after_s=30,
            )
        return reply(request, {"status": "ready", "schema": found})

    @endpoint("GET", "/version", auth=Auth.ANYONE, summary="Version, protocol and the centre's id")
    async def version(self, request: web.Request) -> web.StreamResponse:
        return reply(
            request, {"version": __version__, "protocol": PROTOCOL_VERSION, "centre": self._centre.centre_id}
        )

    @endpoint("GET", "/metrics", auth=Auth.READ, summary="Figures for Prometheus", media="text/plain")
    async def metrics(self, request: web.Request) -> web.StreamResponse:
        facts = await collect(self._centre.database)
        return reply(request, self._centre.metrics.render(facts), media=CONTENT_TYPE)

    @endpoint("GET", "/openapi.json", auth=Auth.ANYONE, summary="All operations as OpenAPI 3.1")
    async def openapi(self, request: web.Request) -> web.StreamResponse:
        if self._described is None:
            known = request.app[ENDPOINTS]
            self._described = describe(known)
        return reply(request, self._described)
