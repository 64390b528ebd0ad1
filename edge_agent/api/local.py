"""The local HTTP API: what POS software on this PC talks to, with or without a line to the centre.

A document is answered 201 once it is on the disk, and only then may a receipt print. Repeating a request is always
safe: the same Idempotency-Key, or the same doc_id, brings the first answer again (200). Every refusal is a problem
document (RFC 9457).
"""

from __future__ import annotations

import logging
import platform
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from aiohttp import hdrs, web

import shared
import shared.sqlite
from edge_agent.api.auth import Guard
from edge_agent.db.journal import Journal
from edge_agent.intake.accept import Intake
from shared.canonical import canonical, parse_object
from shared.errors import BadInput, CounterflowError, MethodNotAllowed, NotFound, TooLarge
from shared.ids import parse_doc_id
from shared.journal import DOCUMENT_MAX_BYTES
from shared.protocol import problems

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

BODY_MAX_BYTES = DOCUMENT_MAX_BYTES + (64 << 10)
"""Of a request; a document that is too large by little is told so by the intake, in its own words."""
_JSON = {hdrs.CONTENT_TYPE: "application/json"}


class LocalApi:
    """The endpoints of one station.

    Args:
        status: what `GET /v1/station` answers.
        ready: whether the station can sell, and what is wrong if not.
        sync_now: lets every line to the centre look at once.
    """

    def __init__(
        self,
        intake: Intake,
        journal: Journal,
        guard: Guard,
        *,
        status: Callable[[], Awaitable[Mapping[str, Any]]],
        ready: Callable[[], tuple[bool, list[str]]],
        sync_now: Callable[[], None],
    ) -> None:
        self._intake = intake
        self._journal = journal
        self._guard = guard
        self._status = status
        self._ready = ready
        self._sync_now = sync_now

    def make_app(self, more: Iterable[web.RouteDef] = ()) -> web.Application:
        """The application, with *more* routes (the catalog's) behind the same guard."""
        app = web.Application(client_max_size=BODY_MAX_BYTES)
        for method, path, handler in (
            (hdrs.METH_POST, "/v1/documents", self.accept),
            (hdrs.METH_GET, "/v1/documents/{doc_id}", self.document),
            (hdrs.METH_POST, "/v1/sync", self.sync),
            (hdrs.METH_GET, "/v1/station", self.station),
        ):
            app.router.add_route(method, path, self._guarded(handler))
        for route in more:
            app.router.add_route(route.method, route.path, self._guarded(route.handler))
        for path, handler in (
            ("/healthz", self.health),
            ("/readyz", self.readiness),
            ("/version", self.version),
        ):
            app.router.add_get(path, self._told(handler))
        # The server's own 404 and 405 would be plain text.
        app.router.add_route(hdrs.METH_ANY, "/{anything:(?s:.*)}", self._told(self.nothing))
        return app

    # ---- documents ----

    async def accept(self, request: web.Request) -> web.Response:
        """POST /v1/documents: make a submission durable."""
        if hdrs.CONTENT_ENCODING in request.headers:
            raise BadInput(
                "the local API takes plain JSON, without Content-Encoding", code="unknown-encoding"
            )
        body = await request.read()
        key = request.headers.get("Idempotency-Key")
        if key is None and not parse_object(body, "the submission").get("doc_id"):
            raise BadInput(
                "neither an Idempotency-Key nor a doc_id came: after a lost answer the sale would be doubled",
                hint="draw a UUID with the receipt, send it as Idempotency-Key, keep it until the answer is there",
                code="idempotency-key-missing",
            )
        accepted, repeated = await self._intake.accept(body, idempotency_key=key, source="api")
        return web.Response(
            body=canonical(accepted.model_dump()), status=200 if repeated else 201, headers=_JSON
        )

    async def document(self, request: web.Request) -> web.Response:
        """GET /v1/documents/{doc_id}: accepted, sent or safe, and its position."""
        status = await self._journal.status_of(str(parse_doc_id(request.match_info["doc_id"])))
        return _json(status.model_dump())

    # ---- the station ----

    async def sync(self, request: web.Request) -> web.Response:
        """POST /v1/sync: look at once, in both directions."""
        self._sync_now()
        return _json({"asked": True}, status=202)

    async def station(self, request: web.Request) -> web.Response:
        """GET /v1/station: backlog, last contact, scopes, alarms, epochs, versions."""
        return _json(await self._status())

    async def health(self, request: web.Request) -> web.Response:
        """GET /healthz: the process answers."""
        return _json({"status": "ok"})

    async def readiness(self, request: web.Request) -> web.Response:
        """GET /readyz: the station can sell."""
        ready, reasons = self._ready()
        return _json({"ready": ready, "reasons": reasons}, status=200 if ready else 503)

    async def version(self, request: web.Request) -> web.Response:
        """GET /version: of the agent, its protocol and what it runs on."""
        return _json(
            {
                "agent": shared.__version__,
                "protocol": shared.PROTOCOL_VERSION,
                "python": platform.python_version(),
                "sqlite": ".".join(map(str, shared.sqlite.version())),
            }
        )

    async def nothing(self, request: web.Request) -> web.Response:
        """Any other path or method."""
        allowed: set[str] = set()
        for resource in request.app.router.resources():
            allowed |= (await resource.resolve(request))[1]
        if allowed := allowed - {hdrs.METH_ANY}:
            raise MethodNotAllowed(
                f"{request.path} does not take {request.method}",
                hint=f"it takes {', '.join(sorted(allowed))}",
            )
        raise NotFound(f"{request.method} {request.path} is not an operation of the local API")

    # ---- the frame ----

    def _guarded(self, handler: Any) -> Handler:
        async def serve(request: web.Request) -> web.StreamResponse:
            self._guard.check_token(request)
            response: web.StreamResponse = await handler(request)
            return response

        return self._told(serve)

    def _told(self, handler: Handler) -> Handler:
        """Check where a request comes from, and turn errors into problem documents."""

        async def serve(request: web.Request) -> web.StreamResponse:
            try:
                self._guard.check_source(request)
                return await handler(request)
            except CounterflowError as error:
                return _problem(error)
            except web.HTTPRequestEntityTooLarge:
                return _problem(TooLarge(f"the body has more than {BODY_MAX_BYTES} bytes"))
            except web.HTTPException:
                raise
            except Exception:
                log.exception("local_request_failed", extra={"method": request.method, "path": request.path})
                return _problem(
                    CounterflowError("the agent met an error of its own", hint="its log says which")
                )

        return serve


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(body=canonical(body), status=status, headers=_JSON)


def _problem(error: CounterflowError) -> web.Response:
    headers = {hdrs.CONTENT_TYPE: problems.CONTENT_TYPE}
    if "retry_after_s" in error.extra:
        headers[hdrs.RETRY_AFTER] = str(error.extra["retry_after_s"])
    return web.Response(body=problems.problem_bytes(error), status=error.status, headers=headers)
