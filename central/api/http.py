"""The doors' frame: endpoints declared with their models, bodies read within bounds, every refusal a problem document.

An API is a class whose methods carry `@endpoint(...)`; `mount` puts them into the application, checks who calls, and
remembers them for `/openapi.json`. Nothing of an answer leaves without the protocol header, its digest and the
request's id, so that a station can tell ours from a captive portal's.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, TypeVar

import pydantic
from aiohttp import StreamReader, web

from central.db.failures import storage_problem
from central.identities import KeyIdentity, StationIdentity
from central.registry.secrets import Session
from shared.canonical import canonical
from shared.errors import (
    BadInput,
    CounterflowError,
    MethodNotAllowed,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    TooLarge,
    Unavailable,
)
from shared.protocol import problems, wire

logger = logging.getLogger(__name__)
BODY_MAX_BYTES = 2 << 20
"""Of a request as it travels."""
RAW_MAX_BYTES = 64 << 20
"""Of a request once unpacked."""
BODY_TIMEOUT_S = 120
"""A body that takes longer is cut off: 2 MiB need a line of 140 kbit/s, a sale hardly any."""

Handler = Callable[[Any, web.Request], Awaitable[web.StreamResponse]]
Model = TypeVar("Model", bound=pydantic.BaseModel)


class Auth(StrEnum):
    """Who may call an endpoint."""

    ANYONE = "anyone"
    STATION = "station"  # a session token
    SESSION = (
        "session"  # a session token whose age and station's row the handler checks in its own transaction
    )
    READ = "read"  # an API key of role read or admin
    ADMIN = "admin"  # an API key of role admin
    FEED = "feed"  # an API key of role feed, read or admin
    DOCUMENTS = "documents"  # an API key of role documents


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One operation, as code serves it and `/openapi.json` describes it."""

    method: str
    path: str
    auth: Auth
    summary: str
    request: type[pydantic.BaseModel] | None = None
    reply: Any = None
    query: Mapping[str, str] = field(default_factory=dict)  # name -> description
    status: int = 200
    media: str = "application/json"


STATION: web.RequestKey[StationIdentity] = web.RequestKey("station", StationIdentity)
SESSION: web.RequestKey[Session] = web.RequestKey("session", Session)
KEY: web.RequestKey[KeyIdentity] = web.RequestKey("key", KeyIdentity)
REQUEST_ID: web.RequestKey[str] = web.RequestKey("request_id", str)


class Authenticator(Protocol):
    """What `mount` asks; both raise `NotAuthenticated`."""

    async def station(self, token: str) -> StationIdentity: ...

    def session(self, token: str) -> Session: ...

    async def key(self, key: str) -> KeyIdentity: ...


def endpoint(
    method: str,
    path: str,
    *,
    auth: Auth,
    summary: str,
    request: type[pydantic.BaseModel] | None = None,
    reply: Any = None,
    query: Mapping[str, str] | None = None,
    status: int = 200,
    media: str = "application/json",
) -> Callable[[Handler], Handler]:
    """Declare a method of an API class as an operation."""

    def mark(handler: Handler) -> Handler:
        handler.endpoint = Endpoint(method, path, auth, summary, request, reply, query or {}, status, media)  # type: ignore[attr-defined]
        return handler

    return mark


ENDPOINTS: web.AppKey[list[Endpoint]] = web.AppKey("endpoints", list[Endpoint])


def mount(app: web.Application, api: object, authenticator: Authenticator) -> None:
    """Add every endpoint of *api* to the application."""
    known = app.setdefault(ENDPOINTS, [])
    for name in dir(type(api)):
        operation: Endpoint | None = getattr(getattr(type(api), name), "endpoint", None)
        if operation is not None:
            known.append(operation)
            app.router.add_route(
                operation.method, operation.path, _guarded(getattr(api, name), operation, authenticator)
            )


def _guarded(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    operation: Endpoint,
    authenticator: Authenticator,
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def serve(request: web.Request) -> web.StreamResponse:
        request_id = _name(request)
        try:
            if operation.auth is Auth.STATION:
                request[STATION] = await authenticator.station(bearer(request))
            elif operation.auth is Auth.SESSION:
                request[SESSION] = authenticator.session(bearer(request))
            elif operation.auth is not Auth.ANYONE:
                request[KEY] = _allowed(await authenticator.key(bearer(request)), operation.auth)
            return await handler(request)
        except CounterflowError as error:
            return refusal(request, error)
        except web.HTTPException:
            raise
        except Exception as error:
            # Most often the database is away: the caller is told so, and never that there is nothing.
            logger.exception("request_failed", extra={"path": operation.path, "request_id": request_id})
            return refusal(request, storage_problem(error))

    return serve


def _name(request: web.Request) -> str:
    """The id under which the request is answered and logged: the caller's, or a fresh one."""
    request_id = request[REQUEST_ID] = request.headers.get(wire.REQUEST_ID_HEADER) or secrets.token_hex(8)
    return request_id


@web.middleware
async def refuse_in_our_words(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Make a problem document of what aiohttp itself refuses: a path or method that is no operation's."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        if REQUEST_ID not in request:
            _name(request)
        answer = refusal(request, _in_our_words(request, error))
        if "Allow" in error.headers:
            answer.headers["Allow"] = error.headers["Allow"]
        return answer


def _in_our_words(request: web.Request, error: web.HTTPException) -> CounterflowError:
    asked = f"{request.method} {request.path}"
    hint = "/openapi.json lists the operations"
    if isinstance(error, web.HTTPMethodNotAllowed):
        return MethodNotAllowed(
            f"{asked} is not an operation; the path takes {', '.join(sorted(error.allowed_methods))}",
            hint=hint,
        )
    if error.status == 404:
        return NotFound(f"{asked} is not an operation", hint=hint)
    if error.status == 413:
        return TooLarge(f"{asked}: {error.reason}")
    return BadInput(f"{asked}: {error.reason}")


_ROLES = {
    Auth.READ: {"read", "admin"},
    Auth.ADMIN: {"admin"},
    Auth.FEED: {"feed", "read", "admin"},
    Auth.DOCUMENTS: {"documents"},
}


def _allowed(identity: KeyIdentity, needed: Auth) -> KeyIdentity:
    roles = _ROLES[needed]
    if identity.role not in roles:
        raise NotAllowed(
            f'the API key "{identity.who}" has the role {identity.role}; this needs {" or ".join(sorted(roles))}'
        )
    return identity


def bearer(request: web.Request) -> str:
    """The credential of the Authorization header."""
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not value:
        raise NotAuthenticated("this needs a credential", hint='send the header "Authorization: Bearer ..."')
    return value.strip()


async def raw_body(
    request: web.Request, *, body_max: int = BODY_MAX_BYTES, raw_max: int = RAW_MAX_BYTES, digest: bool = True
) -> bytes:
    """The body, its digest checked and its coding undone, both within bounds.

    Raises:
        TooLarge: above *body_max* as it travels (nothing beyond is read) or *raw_max* once unpacked.
        BadInput: it does not fit its digest, or is not of its coding.
    """
    if (request.content_length or 0) > body_max:
        raise TooLarge(f"the body has {request.content_length} bytes; at most {body_max} are taken here")
    content = request.content
    # A small body is there as soon as its headers are; only a longer one has to be waited for.
    body = content.read_nowait() if content.is_eof() else await _received(content, body_max)
    if len(body) > body_max:
        raise _too_long(body_max)
    if digest or wire.DIGEST_HEADER in request.headers:
        wire.check_digest(body, request.headers)
    return wire.unpack(body, request.headers.get("Content-Encoding"), raw_max)


async def _received(content: StreamReader, body_max: int) -> bytes:
    parts = []
    size = 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for part in content.iter_any():
                size += len(part)
                if size > body_max:
                    raise _too_long(body_max)
                parts.append(part)
    except ConnectionError:
        # Nobody is there to hear it; a line that broke is no error of this server.
        raise BadInput("the connection broke before the body was whole") from None
    except TimeoutError:
        raise Unavailable(
            f"the body did not arrive within {BODY_TIMEOUT_S} seconds", code="too-slow"
        ) from None
    return b"".join(parts)


def _too_long(body_max: int) -> TooLarge:
    return TooLarge(f"the body has more than {body_max} bytes; at most that many are taken here")


async def read_model(
    request: web.Request, model: type[Model], *, body_max: int = BODY_MAX_BYTES, digest: bool = False
) -> Model:
    """The body as *model*; `BadInput` names every wrong field."""
    body = await raw_body(request, body_max=body_max, digest=digest)
    try:
        return model.model_validate_json(body)
    except pydantic.ValidationError as error:
        raise problems.from_validation(error, "body") from None


def query_int(request: web.Request, name: str, default: int, low: int, high: int) -> int:
    """A whole number of the query string within bounds."""
    text = request.query.get(name)
    if text is None:
        return default
    try:
        value = int(text)
    except ValueError:
        raise BadInput(f'query parameter {name}="{text}" is not a whole number') from None
    if not low <= value <= high:
        raise BadInput(f"query parameter {name}={value} must be between {low} and {high}")
    return value


def reply(
    request: web.Request,
    body: bytes | pydantic.BaseModel | dict[str, Any] | list[Any],
    *,
    status: int = 200,
    media: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """An answer in the protocol's frame, compressed where the caller takes zstd."""
    if isinstance(body, pydantic.BaseModel):
        body = canonical(body.model_dump(mode="json"))
    elif not isinstance(body, bytes):
        body = canonical(body)
    packed, frame = wire.pack(body, "zstd" in request.headers.get("Accept-Encoding", ""))
    return framed(request, packed, frame, status=status, media=media, headers=headers)


def framed(
    request: web.Request,
    packed: bytes,
    frame: Mapping[str, str],
    *,
    status: int = 200,
    media: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """An answer whose body is packed already (one that is kept for many stations)."""
    return web.Response(
        body=packed,
        status=status,
        headers={
            **frame,
            **(headers or {}),
            "Content-Type": media,
            wire.REQUEST_ID_HEADER: request.get(REQUEST_ID, ""),
        },
    )


def refusal(request: web.Request, error: CounterflowError) -> web.Response:
    """A problem document."""
    headers = {"Retry-After": str(error.extra["retry_after_s"])} if "retry_after_s" in error.extra else None
    body = problems.problem_bytes(error, request.get(REQUEST_ID, ""))
    return reply(request, body, status=error.status, media=problems.CONTENT_TYPE, headers=headers)
