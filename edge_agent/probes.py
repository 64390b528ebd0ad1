"""Find out what `doctor.py` judges: touch the disk, the name server, the port, TLS and the centre, each within a bound.

Nothing is changed: the one session that is tried is a draining one that claims nothing, so it takes no part in the
centre's check for copies.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import shutil
import socket
import ssl
import time
from dataclasses import replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from edge_agent import doctor, identity, lock
from edge_agent.config import AgentConfig
from edge_agent.sync.client import CentreClient, Refused, Route, tls_context
from shared import journal, sqlite
from shared.canonical import canonical, parse_object
from shared.clock import Clock
from shared.errors import BadInput, ConfigError, CounterflowError
from shared.protocol import wire
from shared.protocol.messages import SessionRequest

STEP_TIMEOUT_S = 6.0
_FSYNCS = 5
_UNANSWERED = {socket.EAI_AGAIN, getattr(socket, "EAI_SYSTEM", socket.EAI_AGAIN)}


async def examine(config: AgentConfig, clock: Clock) -> doctor.Facts:
    """Gather all facts."""
    me: identity.Identity | None = None
    identity_error = ""
    try:
        me = identity.current(config.data_dir)
    except ConfigError as error:
        identity_error = error.what
    server_url = config.server_url or (me.record.server_url if me else "")
    disk_error, free_bytes, fsync_ms = await asyncio.to_thread(_disk, config.data_dir)
    reach = await _reach(config.proxy if "://" in config.proxy else server_url) if server_url else None
    talk = None
    if reach is not None and not (reach.dns_error or reach.tcp_error):
        talk = await _talk(Route(server_url, config.ca_file, config.proxy), me, clock)
    return doctor.Facts(
        sqlite_version=".".join(map(str, sqlite.version())),
        sqlite_safe=sqlite.is_safe(),
        data_dir=str(config.data_dir),
        disk_error=disk_error,
        disk_free_bytes=free_bytes,
        fsync_ms=fsync_ms,
        identity_error=identity_error,
        station=me.station if me else "",
        agent_pid=lock.holder(config.data_dir),
        server_url=server_url,
        proxy=config.proxy,
        reach=reach,
        talk=talk,
    )


def _disk(folder: Path) -> tuple[str, int | None, float | None]:
    """(error, free bytes, median milliseconds of a durable write) where the journal lies."""
    probe = folder / f".doctor-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        took_ms = []
        with open(probe, "wb") as file:
            for _ in range(_FSYNCS):
                start = time.perf_counter()
                file.write(b"x" * 4096)
                file.flush()
                os.fsync(file.fileno())
                took_ms.append((time.perf_counter() - start) * 1000)
        return "", shutil.disk_usage(folder).free, sorted(took_ms)[_FSYNCS // 2]
    except OSError as error:
        return str(error.strerror or error), None, None
    finally:
        probe.unlink(missing_ok=True)


async def _reach(url: str) -> doctor.Reach:
    """Name and port of a URL."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    reach = doctor.Reach(host, port)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(STEP_TIMEOUT_S):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError:
        return replace(reach, dns_error="no answer in time", dns_unanswered=True)
    except OSError as error:
        return replace(
            reach, dns_error=str(error.strerror or error), dns_unanswered=error.errno in _UNANSWERED
        )
    reach = replace(reach, addresses=tuple(dict.fromkeys(str(entry[4][0]) for entry in found)))
    start = time.perf_counter()
    try:
        async with asyncio.timeout(STEP_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return replace(reach, tcp_error="no answer in time")
    except OSError as error:
        refused = isinstance(error, ConnectionRefusedError) or "refused" in str(error).lower()
        return replace(reach, tcp_error=str(error.strerror or error), tcp_refused=refused)
    writer.close()
    return replace(reach, tcp_ms=(time.perf_counter() - start) * 1000)


async def _talk(route: Route, me: identity.Identity | None, clock: Clock) -> doctor.Talk:
    """One request to the centre; when its certificate is not accepted, one more that only looks at it."""
    verify: Any = tls_context(route) if route.server_url.startswith("https") else True
    try:
        talk = await _hello(route, verify, clock)
    except aiohttp.ClientConnectorCertificateError as error:
        code = getattr(error.certificate_error, "verify_code", None)
        talk = doctor.Talk(tls_error=str(error.certificate_error), verify_code=code or 0)
        return await _look_unverified(route, talk, clock)
    except aiohttp.ClientConnectorSSLError as error:
        return doctor.Talk(tls_error=str(error))
    except aiohttp.ClientHttpProxyError as error:
        return doctor.Talk(proxy_refused=f"{error.status} {error.message}")
    except (aiohttp.ClientError, OSError) as error:
        return doctor.Talk(error=str(error) or type(error).__name__)
    if not talk.is_ours or me is None:
        return talk
    return await _sign_in(route, me, talk, clock)


async def _hello(route: Route, verify: Any, clock: Clock) -> doctor.Talk:
    request_id = secrets.token_hex(8)
    headers = {wire.REQUEST_ID_HEADER: request_id, **wire.pack(b"")[1]}
    timeout = aiohttp.ClientTimeout(total=STEP_TIMEOUT_S)
    proxy = route.proxy if "://" in route.proxy else None
    async with (
        aiohttp.ClientSession(timeout=timeout, trust_env=route.proxy == "system") as http,
        http.get(
            f"{route.server_url.rstrip('/')}/v1/hello",
            headers=headers,
            ssl=verify,
            proxy=proxy,
            allow_redirects=False,
        ) as response,
    ):
        body = await response.content.read(1 << 16)
        is_ours = (
            wire.PROTOCOL_HEADER in response.headers
            and response.headers.get(wire.REQUEST_ID_HEADER) == request_id
        )
        return doctor.Talk(
            status=response.status,
            is_ours=is_ours,
            server_date_ms=_time_of(body) if is_ours else _date_of(response.headers.get("Date", "")),
            device_ms=clock.now_ms(),
            content_type=response.headers.get("Content-Type", ""),
            location=response.headers.get("Location", ""),
            via=response.headers.get("Via", response.headers.get("X-Cache", "")),
        )


async def _look_unverified(route: Route, talk: doctor.Talk, clock: Clock) -> doctor.Talk:
    """Whose certificate it is and what time the server has; nothing of ours is sent, nothing is believed."""
    try:
        seen = await _hello(route, False, clock)
        # Behind a proxy it would be asked past it; there the proxy's own answers say more.
        shown = None if "://" in route.proxy else await _certificate(route.server_url)
    except (aiohttp.ClientError, OSError):
        return talk
    return replace(
        seen, is_ours=False, certificate=shown, tls_error=talk.tls_error, verify_code=talk.verify_code
    )


async def _certificate(url: str) -> doctor.Certificate | None:
    """What the server shows to anybody; nothing is sent over this connection."""
    parts = urlsplit(url)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    async with asyncio.timeout(STEP_TIMEOUT_S):
        _, writer = await asyncio.open_connection(parts.hostname, parts.port or 443, ssl=context)
    raw = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    if raw is None:
        return None
    from cryptography import x509

    shown = x509.load_der_x509_certificate(raw)
    try:
        alternative = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = tuple(str(name.value) for name in alternative)
    except x509.ExtensionNotFound:
        names = (shown.subject.rfc4514_string(),)
    return doctor.Certificate(
        names=names,
        issuer=shown.issuer.rfc4514_string(),
        not_before_ms=round(shown.not_valid_before_utc.timestamp() * 1000),
        not_after_ms=round(shown.not_valid_after_utc.timestamp() * 1000),
    )


def _time_of(body: bytes) -> int | None:
    try:
        return int(parse_object(body)["time_ms"])
    except (BadInput, KeyError, TypeError, ValueError):
        return None


def _date_of(text: str) -> int | None:
    try:
        return round(parsedate_to_datetime(text).timestamp() * 1000)
    except ValueError:
        return None


async def _sign_in(route: Route, me: identity.Identity, talk: doctor.Talk, clock: Clock) -> doctor.Talk:
    """Ask whether the centre takes this station's key."""
    client = CentreClient(route)
    try:
        hello = await client.hello()
        if hello.centre != me.centre:
            return replace(talk, other_centre=True)
        await client.open_session(_claim_nothing(me, hello.nonce, clock))
        return replace(talk, session_tried=True)
    except Refused as refusal:
        return replace(talk, session_refusal=refusal.what)
    except CounterflowError as error:
        return replace(talk, error=error.what)
    finally:
        await client.close()


def _claim_nothing(me: identity.Identity, nonce: str, clock: Clock) -> SessionRequest:
    epoch = bytes(16)
    request = SessionRequest(
        station=me.station,
        public_key=me.public_key.hex(),
        nonce=nonce,
        current_epoch=epoch.hex(),
        epochs=[],
        drain=True,
        clock_ms=clock.now_ms(),
        signature="0" * 128,
    )
    claim = hashlib.sha256(canonical(request.model_dump(mode="json", exclude={"signature"}))).digest()
    return request.model_copy(
        update={"signature": me.sign(journal.session_message(me.station, nonce, epoch, claim)).hex()}
    )
