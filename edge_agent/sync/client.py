"""Speak HTTP with the centre: one method per endpoint, and one gate that every answer passes.

Rule 1: only an answer that proves to be the centre's (protocol header, echoed request id, digest) is returned or
raised as `Refused`; a captive portal, a redirect, another station's body or a cut one is `ConnectionFailed`.
Rule 2: every wait has an end: connecting, each read and the request as a whole; every body has a size bound.
Rule 3: nothing is retried here; the lines (`edge_agent/sync/loop.py`) decide when to try again.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pydantic

from edge_agent.sync import download_file
from edge_agent.sync.addresses import RememberingResolver
from shared import __version__
from shared.canonical import canonical, parse_object
from shared.errors import BadInput, ConnectionFailed, CounterflowError
from shared.protocol import framing, wire
from shared.protocol.messages import (
    ChangesEnvelope,
    EnrollReply,
    EnrollRequest,
    Hello,
    Manifest,
    PushReply,
    Report,
    SessionReply,
    SessionRequest,
)
from shared.protocol.problems import CONTENT_TYPE, name_of

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 30.0
"""Between two reads; an answer that stops flowing is given up."""
REQUEST_TIMEOUT_S = 60.0
"""Of one request as a whole, so that a byte a second wedges nothing."""
SNAPSHOT_TIMEOUT_S = 1_800.0
ANSWER_MAX_BYTES = 32 << 20
ANSWER_MAX_RAW_BYTES = 128 << 20
CONNECTIONS_MAX = 6
DNS_CACHE_S = 300

Model = TypeVar("Model", bound=pydantic.BaseModel)


class Refused(CounterflowError):
    """The centre understood and said no: its problem document, with the status and when to come back."""

    code = "refused"

    def __init__(self, problem: Mapping[str, Any], status: int, retry_after_s: float | None) -> None:
        what = str(problem.get("detail") or f"the centre refused with status {status}")
        super().__init__(what, hint=str(problem.get("hint", "")), code=name_of(dict(problem)) or None)
        self.problem = problem
        self.http_status = status
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is the centre's; `body` with its content coding undone."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Route:
    """How the centre is reached.

    `ca_file` replaces the system's certificates; `proxy` is a URL, or "system" for what the environment says.
    """

    server_url: str
    ca_file: Path | None = None
    proxy: str = ""


class CentreClient:
    """The centre's endpoints as methods. One per identity; `close` ends its connections."""

    def __init__(self, route: Route) -> None:
        self.route = route
        self._base = route.server_url.rstrip("/")
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _http(self) -> aiohttp.ClientSession:
        # Made at the first request: a session belongs to a running loop, and an idle one costs nothing.
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=CONNECTIONS_MAX,
                resolver=RememberingResolver(),
                ttl_dns_cache=DNS_CACHE_S,
                ssl=tls_context(self.route) if self._base.startswith("https") else True,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                auto_decompress=False,
                trust_env=self.route.proxy == "system",
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": f"counterflow-agent/{__version__}", "Accept-Encoding": "zstd"},
            )
        return self._session

    @asynccontextmanager
    async def _send(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], timeout_s: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Perform one exchange; whatever goes wrong below HTTP is `ConnectionFailed`."""
        proxy = self.route.proxy if self.route.proxy not in ("", "system") else None
        timeout = aiohttp.ClientTimeout(
            total=timeout_s,
            sock_connect=CONNECT_TIMEOUT_S,
            sock_read=max(READ_TIMEOUT_S, timeout_s if path.startswith("/v1/wait") else 0),
        )
        try:
            async with self._http().request(
                method,
                self._base + path,
                data=body,
                headers=headers,
                timeout=timeout,
                proxy=proxy,
                allow_redirects=False,
            ) as response:
                yield response
        except TimeoutError:
            raise ConnectionFailed(
                f"{self._base} did not answer in time", hint="`counterflow-agent doctor` looks for the cause"
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            raise ConnectionFailed(
                f"{self._base} was not reached: {_short(error)}", hint=_why(error)
            ) from error

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        token: str | None = None,
        timeout_s: float = REQUEST_TIMEOUT_S,
        headers: Mapping[str, str] | None = None,
        media: str = "application/json",
        packed: tuple[bytes, Mapping[str, str]] | None = None,
    ) -> Answer:
        """Send one request and return the centre's answer.

        Args:
            packed: the body as it travels and its headers, where the caller packed it ahead of time.
        Raises:
            ConnectionFailed: no answer, or none that is surely the centre's answer to this request.
            Refused: the centre's own problem document.
        """
        request_id = secrets.token_hex(8)
        travelling, frame = packed or wire.pack(body)
        send_headers = {**frame, wire.REQUEST_ID_HEADER: request_id, **(headers or {})}
        if travelling:
            send_headers["Content-Type"] = media
        if token is not None:
            send_headers["Authorization"] = f"Bearer {token}"
        async with self._send(method, path, travelling or None, send_headers, timeout_s) as response:
            raw = await _read(response)
        return _judge(response, raw, request_id)

    # ---- identity and sessions ----

    async def hello(self) -> Hello:
        return _model(Hello, await self.request("GET", "/v1/hello"))

    async def enroll(self, request: EnrollRequest) -> EnrollReply:
        return _model(
            EnrollReply,
            await self.request("POST", "/v1/enroll", body=canonical(request.model_dump(mode="json"))),
        )

    async def open_session(self, request: SessionRequest) -> SessionReply:
        return _model(
            SessionReply,
            await self.request("POST", "/v1/session", body=canonical(request.model_dump(mode="json"))),
        )

    # ---- up ----

    async def push(self, token: str, packed: tuple[bytes, Mapping[str, str]]) -> PushReply:
        """Push a batch that `edge_agent/sync/batch.py` sealed and packed."""
        return _model(
            PushReply,
            await self.request("POST", "/v1/journal", token=token, packed=packed, media=wire.NDJSON),
        )

    async def history(
        self, token: str, epoch: str, after: int
    ) -> tuple[dict[str, Any], list[tuple[bytes, bytes]]]:
        """Read back documents of an epoch (R7): the envelope, and (header, payload) of each in order."""
        answer = await self.request("GET", f"/v1/journal?epoch={epoch}&after={after}", token=token)
        try:
            envelope, lines = framing.split(answer.body)
            return envelope, framing.pairs(lines)
        except BadInput as error:
            raise _garbled(error) from error

    async def report(self, token: str, report: Report) -> None:
        await self.request("POST", "/v1/report", token=token, body=canonical(report.model_dump(mode="json")))

    # ---- down ----

    async def manifest(self, token: str, etag: str | None = None) -> tuple[Manifest | None, str]:
        """The scopes of this station and the manifest's ETag; None when it is still the one of *etag*."""
        headers = {"If-None-Match": etag} if etag else {}
        answer = await self.request("GET", "/v1/manifest", token=token, headers=headers)
        if answer.status == 304:
            return None, etag or ""
        return _model(Manifest, answer), answer.headers.get("ETag", "")

    async def changes(
        self, token: str, scope: str, gen: str, after: int
    ) -> tuple[ChangesEnvelope, Sequence[bytes]]:
        """One page of a scope's changes: its envelope and one payload line for each row."""
        answer = await self.request("GET", f"/v1/scopes/{scope}/{gen}/changes?after={after}", token=token)
        try:
            envelope, lines = framing.split(answer.body)
            page = ChangesEnvelope.model_validate(envelope)
        except (BadInput, pydantic.ValidationError) as error:
            raise _garbled(error) from error
        if len(lines) != len(page.rows):
            raise _garbled(f"{len(page.rows)} rows are announced and {len(lines)} follow")
        return page, lines

    async def snapshot(self, token: str, sha256: str, target: Path, size_bytes: int | None = None) -> Path:
        """Fetch an immutable snapshot into *target*, going on where an earlier try stopped.

        Raises:
            ConnectionFailed: it did not arrive whole, or its SHA-256 is another (what came is thrown away).
        """
        part = target.with_name(target.name + ".part")
        held = await asyncio.to_thread(download_file.size_of, part)
        request_id = secrets.token_hex(8)
        headers = {
            **wire.pack(b"")[1],
            wire.REQUEST_ID_HEADER: request_id,
            "Authorization": f"Bearer {token}",
        }
        if held:
            headers["Range"] = f"bytes={held}-"
        async with self._send(
            "GET", f"/v1/snapshots/{sha256}", None, headers, SNAPSHOT_TIMEOUT_S
        ) as response:
            if response.status not in (200, 206):
                if response.status == 416:
                    await asyncio.to_thread(part.unlink, missing_ok=True)
                _judge(response, await _read(response), request_id)
                raise ConnectionFailed(
                    f"the snapshot was answered with status {response.status}", code="wrong-answer"
                )
            start = held if response.status == 206 else 0
            if start and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                raise ConnectionFailed(
                    "the snapshot's answer goes on at another place than asked", code="wrong-answer"
                )
            # No request id is asked of this answer, since a cache may give it; the SHA-256 of the file is its proof.
            arrived = await download_file.receive(
                response.content.iter_chunked(1 << 18), part, start, size_bytes
            )
        await download_file.finish(part, target, arrived, sha256)
        return target

    async def wait(self, token: str, etag: str, timeout_s: float) -> str | None:
        """Sleep at the centre until the manifest is another than *etag*: its new ETag, or None when the time is up."""
        answer = await self.request(
            "GET",
            f"/v1/wait?seen={_quoted(etag)}&timeout={timeout_s:.0f}",
            token=token,
            timeout_s=timeout_s + CONNECT_TIMEOUT_S,
        )
        return None if answer.status == 204 else answer.headers.get("ETag", "")


def _quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")


def tls_context(route: Route) -> Any:
    import ssl

    try:
        context = ssl.create_default_context(cafile=str(route.ca_file) if route.ca_file else None)
    except OSError as error:
        from shared.errors import ConfigError

        raise ConfigError(
            f"the certificate file {route.ca_file} cannot be used: {error}", hint="set ca_file to a PEM file"
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The body as it travelled, within the bound."""
    if (response.content_length or 0) > ANSWER_MAX_BYTES:
        raise ConnectionFailed(
            f"an answer of {response.content_length} bytes is more than is taken", code="wrong-answer"
        )
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > ANSWER_MAX_BYTES:
            raise ConnectionFailed(
                f"an answer of more than {ANSWER_MAX_BYTES} bytes is not taken", code="wrong-answer"
            )
        parts.append(part)
    return b"".join(parts)


def _judge(response: aiohttp.ClientResponse, raw: bytes, request_id: str) -> Answer:
    """Return the answer, or raise what it means."""
    wire.check_answer(response.status, response.headers, raw, request_id)
    try:
        body = wire.unpack(raw, response.headers.get("Content-Encoding"), ANSWER_MAX_RAW_BYTES)
    except BadInput as error:
        raise _garbled(error) from error
    if response.status < 300 or response.status == 304:
        return Answer(response.status, response.headers, body)
    if not response.headers.get("Content-Type", "").startswith(CONTENT_TYPE):
        raise ConnectionFailed(f"status {response.status} without a problem document", code="wrong-answer")
    try:
        problem = parse_object(body, "the problem document")
    except BadInput as error:
        raise _garbled(error) from error
    raise Refused(problem, response.status, _seconds(response.headers.get("Retry-After")))


def _model(model: type[Model], answer: Answer) -> Model:
    try:
        return model.model_validate_json(answer.body)
    except pydantic.ValidationError as error:
        raise _garbled(error) from error


def _garbled(error: object) -> ConnectionFailed:
    return ConnectionFailed(f"the centre's answer cannot be understood: {error}", code="wrong-answer")


def _seconds(text: str | None) -> float | None:
    # The date form of Retry-After is not used by the centre, and a wrong device clock would make nonsense of it.
    return float(text) if text is not None and text.isdigit() else None


def _short(error: BaseException) -> str:
    """An error below HTTP in few words; aiohttp's own would tell the host twice."""
    if isinstance(error, aiohttp.ClientConnectorDNSError | aiohttp.ClientConnectorError):
        return str(error.os_error.strerror or error.os_error)
    return str(error) or type(error).__name__


def _why(error: BaseException) -> str:
    """What to do about an error below HTTP, where its type tells."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "the centre's certificate is not accepted; `counterflow-agent doctor` tells why"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "the centre's name is not found: look at server_url and at the DNS"
    return ""
