"""Calls to a Tryton server, and what its answers mean.

Tryton answers 200 also when it refuses: the error stands in the body. A session that has ended is renewed once and
unseen; nothing of the call was done then. Invariant: a call that may have changed something and got no readable answer
raises `NoAnswer`, and is repeated unseen only where its caller says that twice is no more than once.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp

from central.connectors.base import Exchange, NoAnswer, TargetAway, TargetDenies, TargetRejects, tell_nobody
from central.connectors.tryton import values

ANSWER_BYTES_MAX = 64 << 20
CHANGES = ("create", "write", "delete", "process", "post", "open", "cancel")
"""Methods after which the world is another one."""
TRIES = 3
"""Of what may be asked twice. A delivery is a dozen calls: on a line that loses one answer in three it would never get
through if each lost one ended it."""

_NOT_REACHED = aiohttp.ClientConnectorError
_LOST = (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError, aiohttp.ClientOSError)
# A timeout is not among them: the whole delivery has its time.


class SessionEnded(Exception):
    """The server does not know our session (any more)."""


@dataclass(slots=True)
class Session:
    """Who signs in where; outlives the connections, so that a sign-in serves many exchanges."""

    url: str
    database: str
    user: str
    password: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    context: dict[str, Any] = field(default_factory=dict)
    _signing_in: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    @property
    def address(self) -> str:
        return f"{self.url.rstrip('/')}/{self.database}/rpc/"


class Tryton:
    """One connection's worth of calls: `async with Tryton(session) as tryton`.

    Args:
        timeout_s: of one call.
        tell: gets every request and answer except those of the sign-in.
    """

    def __init__(
        self,
        session: Session,
        timeout_s: float = 30.0,
        tell: Callable[[Exchange], None] = tell_nobody,
    ) -> None:
        self._session = session
        self._timeout_s = timeout_s
        self._tell = tell
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._timeout_s))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._http is not None
        await self._http.close()

    async def call(
        self, method: str, *params: Any, context: dict[str, Any] | None = None, repeats: bool = False
    ) -> Any:
        """Call a method with our user's context, signing in where that is needed.

        Args:
            repeats: the call may change something, but twice no more than once: where the connection breaks before the
                answer is there, it is asked again at once, as reads are.
        Raises:
            TargetAway: it was not reached or is busy.
            TargetDenies: it does not let us in.
            TargetRejects: it refuses what was asked; `reason` says why.
            NoAnswer: the call may have changed something, and no answer came.
        """
        for first in (True, False):
            token = await self._token(renew=not first)
            try:
                all_of_it = {**self._session.context, **(context or {})}
                return await self._ask_again(method, [*params, all_of_it], token, repeats=repeats)
            except SessionEnded:
                self._session.token = None
        raise TargetDenies(
            f"Tryton at {self._session.url} ends every session of {self._session.user} at once",
            hint="look at [session] in the server's trytond.conf",
        )

    async def version(self) -> str:
        """The series of the server, asked without signing in."""
        return str(
            await self._ask(f"{self._session.url.rstrip('/')}/rpc/", "common.server.version", [], None)
        )

    async def _token(self, *, renew: bool) -> str:
        session = self._session
        async with session._signing_in:
            if session.token is None or renew:
                session.token = None
                session.token = token = await self._sign_in()
                preferences = "model.res.user.get_preferences"
                try:
                    session.context = await self._ask(session.address, preferences, [True, {}], token)
                except SessionEnded as error:
                    session.token = None
                    raise TargetDenies("Tryton does not know the session that it has just given") from error
                # Deactivated records are read too: their deactivation is what a till has to learn.
                session.context = {**session.context, "active_test": False}
            return session.token

    async def _sign_in(self) -> str:
        session = self._session
        params = [session.user, {"password": session.password}]
        try:
            user_id, token, *_ = await self._ask(session.address, "common.db.login", params, None, quiet=True)
        except SessionEnded as error:
            raise TargetDenies(
                f'Tryton does not let "{session.user}" into the database {session.database}',
                hint="check user and password, and that the user is active",
            ) from error
        except TargetRejects as error:
            # A server that has only just started does not know its own models yet.
            raise TargetAway(f"Tryton cannot sign anybody in just now: {error.what}") from error
        except (TypeError, ValueError) as error:
            raise TargetAway(f"what answers at {session.url} is not Tryton") from error
        return base64.b64encode(f"{session.user}:{user_id}:{token}".encode()).decode()

    async def _ask_again(
        self, method: str, params: Sequence[Any], token: str, *, repeats: bool = False
    ) -> Any:
        """Ask, and a few times more at once where the answer was lost on a connection that stood."""
        unanswered: NoAnswer | None = None
        for tries_left in reversed(range(TRIES)):
            try:
                return await self._ask(self._session.address, method, params, token)
            except NoAnswer as error:
                if not (repeats and tries_left and _broke(error)):
                    raise
                unanswered = error
            except TargetAway as error:
                if unanswered is not None:
                    raise unanswered from error  # the first one may have landed
                if not (tries_left and _broke(error)):
                    raise
        raise AssertionError("the last try either answers or raises")

    async def _ask(
        self, address: str, method: str, params: Sequence[Any], token: str | None, *, quiet: bool = False
    ) -> Any:
        assert self._http is not None
        changes = method.rpartition(".")[2] in CHANGES
        request = values.dumps({"id": 1, "method": method, "params": params})
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Session {token}"
        status, body, after_s = 0, b"", None
        try:
            async with self._http.post(
                address, data=request, headers=headers, allow_redirects=False
            ) as answer:
                status, after_s = answer.status, _seconds(answer.headers.get("Retry-After"))
                body = await _read(answer)
        except _NOT_REACHED as error:
            raise TargetAway(
                f"Tryton at {self._session.url} is not reached: {error.strerror or error}"
            ) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            why = f"{type(error).__name__}: {error}".rstrip(": ")
            raise _lost(method, why, changes=changes) from error
        finally:
            if not quiet:
                self._tell(Exchange(request.decode(), f"{status} {body.decode(errors='replace')}"))
        _judge_status(status, method, self._session, after_s, changes=changes)
        return _judge_body(body, method, self._session.url, changes=changes)


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_chunked(1 << 16):
        body += chunk
        if len(body) > ANSWER_BYTES_MAX:
            raise aiohttp.ClientPayloadError(f"an answer of more than {ANSWER_BYTES_MAX} bytes")
    return bytes(body)


def _broke(error: Exception) -> bool:
    """Whether the connection stood and broke off, so that asking again at once makes sense."""
    return isinstance(error.__cause__, _LOST) and not isinstance(error.__cause__, _NOT_REACHED)


def _lost(method: str, why: str, *, changes: bool) -> Exception:
    if changes:
        return NoAnswer(f"no answer from Tryton to {method}: {why}")
    return TargetAway(f"no answer from Tryton to {method}: {why}")


def _seconds(text: str | None) -> float | None:
    return float(text) if text and text.isdigit() else None


def _judge_status(
    status: int, method: str, session: Session, after_s: float | None, *, changes: bool
) -> None:
    match status:
        case 200:
            return
        case 401:
            raise SessionEnded
        case 403:
            raise TargetDenies(
                f"Tryton does not offer {method} to {session.user} (403)",
                hint="the module that brings it is not activated, or a proxy in front keeps us out",
            )
        case 404:
            raise TargetDenies(f"Tryton has no database {session.database} (404)", hint="check the setting")
        case 429 | 503:
            # Tryton's own 503 says that its database gave the transaction up: nothing of it was done.
            raise TargetAway(f"Tryton is busy ({status})", retry_after_s=after_s)
        case 413:
            raise TargetRejects("the batch is too large for Tryton (413)", reason="request too large")
    raise _lost(method, f"status {status}", changes=changes)


def _judge_body(body: bytes, method: str, url: str, *, changes: bool) -> Any:
    try:
        told = values.loads(body)
        if not isinstance(told, dict) or not told.keys() & {"result", "error"}:
            raise ValueError("neither result nor error")
    except ValueError as error:
        raise _lost(method, f"what answers at {url} is no Tryton: {error}", changes=changes) from error
    if "error" not in told:
        return told["result"]
    raise _said(told["error"], method)


def _said(error: Any, method: str) -> Exception:
    """What Tryton said in an answer of 200: it has rolled everything back then."""
    match error:
        case ["UserError", [str(message), *more]]:
            description = str(more[0]) if more and more[0] else ""
            return TargetRejects(f"Tryton: {message} {description}".rstrip(), reason=message)
        case ["UserWarning", [_, str(message), *_]]:
            return TargetRejects(
                f"Tryton warns: {message}",
                reason=message,
                hint="in Tryton's own client a person would confirm it",
            )
        case ["ConcurrencyException", *_]:
            return TargetAway("somebody else changed the same records in Tryton at that moment")
        case ["LoginException", *_]:
            return TargetDenies(
                "Tryton wants a further factor for the sign-in", hint="use a user with a password"
            )
        case [str(message), *_]:
            return TargetRejects(
                f"Tryton failed in {method}: {message}", reason=f"fault in Tryton: {message}"
            )
    return TargetRejects(f"Tryton failed in {method}: {error}", reason="fault in Tryton")
