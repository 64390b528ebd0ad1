"""The doctor on real sockets: each way in which a station does not reach its centre is told apart."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from central.server import make_app
from edge_agent import doctor, probes
from edge_agent.config import AgentConfig
from edge_agent.doctor import Finding, State
from shared.clock import SystemClock
from tests.support.centre import open_centre
from tests.support.clock import ManualClock
from tests.support.processes import free_port
from tests.support.station import Station, served

NOW = datetime.now(UTC)


@dataclass
class Shown:
    """A certificate with its key as files."""

    cert: Path
    key: Path


def certificate(
    folder: Path,
    name: str,
    *,
    host: str = "127.0.0.1",
    not_before: datetime = NOW - timedelta(days=10),
    not_after: datetime = NOW + timedelta(days=10),
) -> Shown:
    """A self-signed certificate for *host*, which is its own issuer where it is trusted."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    try:
        alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        alternative = x509.DNSName(host)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    shown = Shown(folder / f"{name}.pem", folder / f"{name}.key")
    shown.cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    shown.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return shown


@asynccontextmanager
async def listening(app: web.Application, shown: Shown | None = None) -> AsyncIterator[str]:
    """The URL of *app*, with TLS if a certificate is given."""
    context = None
    if shown is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(shown.cert, shown.key)
    runner = web.AppRunner(app, auto_decompress=False, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield f"{'https' if shown else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def centre_app(tmp_path: Path) -> AsyncIterator[web.Application]:
    async with open_centre(f"sqlite+aiosqlite:///{tmp_path / 'central.db'}", tmp_path) as centre:
        yield make_app(centre)


def config(tmp_path: Path, url: str, ca: Shown | None = None) -> AgentConfig:
    return AgentConfig(data_dir=tmp_path / "till", server_url=url, ca_file=ca.cert if ca else None)


async def findings(settings: AgentConfig) -> dict[str, Finding]:
    """What the doctor finds, by check."""
    return {
        finding.check: finding for finding in doctor.diagnose(await probes.examine(settings, SystemClock()))
    }


async def test_a_healthy_line(tmp_path: Path) -> None:
    """TLS by our own certificate authority, clock right, key known: nothing to complain about but the idle agent."""
    shown = certificate(tmp_path, "hq")
    async with open_centre(f"sqlite+aiosqlite:///{tmp_path / 'central.db'}", tmp_path) as centre:
        async with served(centre) as plain:
            await Station(tmp_path / "till", plain).enroll(centre)
        async with listening(make_app(centre), shown) as url:
            found = await findings(config(tmp_path, url, shown))
    assert {check for check, finding in found.items() if finding.state is not State.OK} == {"agent"}
    assert {"sqlite", "disk", "fsync", "enrolment", "dns", "tcp", "tls", "http", "clock", "session"} <= set(
        found
    )


async def test_an_expired_certificate(tmp_path: Path) -> None:
    """The server's own clock says so too: HQ must renew it."""
    shown = certificate(tmp_path, "hq", not_after=NOW - timedelta(days=1))
    async with centre_app(tmp_path) as app, listening(app, shown) as url:
        found = await findings(config(tmp_path, url, shown))
    assert found["tls"].state is State.FAIL
    assert "expired" in found["tls"].what


def test_a_wrong_clock_is_not_taken_for_an_expired_certificate() -> None:
    """By the server's date the certificate is good, so it is this machine that lives in another year."""
    seen = doctor.Certificate(("hq",), "CN=hq", 1_000_000, 9_000_000)
    talk = doctor.Talk(
        tls_error="expired", verify_code=10, certificate=seen, server_date_ms=5_000_000, device_ms=50_000_000
    )
    tls = [finding for finding in doctor.diagnose(facts_with(talk)) if finding.check in ("tls", "clock")]
    assert [(finding.check, finding.state) for finding in tls] == [("clock", State.FAIL)]
    expired = doctor.diagnose(facts_with(replace(talk, server_date_ms=10_000_000, device_ms=10_000_000)))
    assert any("expired" in finding.what for finding in expired)


async def test_a_certificate_for_another_host(tmp_path: Path) -> None:
    """The names that it is for are told."""
    shown = certificate(tmp_path, "hq", host="hq.example")
    async with centre_app(tmp_path) as app, listening(app, shown) as url:
        found = await findings(config(tmp_path, url, shown))
    assert found["tls"].state is State.FAIL
    assert "hq.example" in found["tls"].what


async def test_a_certificate_that_nobody_vouches_for(tmp_path: Path) -> None:
    """Self-signed and not in ca_file: what to set is told."""
    shown = certificate(tmp_path, "hq")
    async with centre_app(tmp_path) as app, listening(app, shown) as url:
        found = await findings(config(tmp_path, url))
    assert found["tls"].state is State.FAIL
    assert "ca_file" in found["tls"].hint


async def test_plain_http_where_tls_was_expected(tmp_path: Path) -> None:
    """A port that speaks no TLS is neither a bad certificate nor a dead line."""
    async with centre_app(tmp_path) as app, listening(app) as url:
        found = await findings(config(tmp_path, url.replace("http", "https")))
    assert found["tls"].state is State.FAIL
    assert "plain HTTP" in found["tls"].hint


async def test_a_captive_portal(tmp_path: Path) -> None:
    """A web page, or being sent to one, is a portal and not the centre."""

    async def page(request: web.Request) -> web.Response:
        return web.Response(text="<h1>Guest Wi-Fi</h1>", content_type="text/html")

    async def away(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "http://portal.example/login"})

    for answer in (page, away):
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        async with listening(app) as url:
            found = await findings(config(tmp_path, url))
        assert found["proxy"].state is State.FAIL
        assert "portal" in found["proxy"].hint


async def test_a_proxy_that_answers_itself(tmp_path: Path) -> None:
    """An answer that names a proxy is told as one."""

    async def blocked(request: web.Request) -> web.Response:
        return web.Response(status=403, text="blocked", headers={"Via": "1.1 squid.shop"})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", blocked)
    async with listening(app) as url:
        found = await findings(config(tmp_path, url))
    assert "squid.shop" in found["proxy"].what


async def test_a_gateway_whose_centre_is_down(tmp_path: Path) -> None:
    """502 from what stands before the centre is not the centre."""

    async def away(request: web.Request) -> web.Response:
        return web.Response(status=502, text="bad gateway")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", away)
    async with listening(app) as url:
        found = await findings(config(tmp_path, url))
    assert found["http"].state is State.FAIL
    assert "gateway" in found["http"].hint


async def test_nobody_listens(tmp_path: Path) -> None:
    """A refused port: the machine is there, the centre is not."""
    found = await findings(config(tmp_path, f"http://127.0.0.1:{free_port()}"))
    assert found["tcp"].state is State.FAIL
    assert "http" not in found


async def test_nobody_listens_at_the_proxy(tmp_path: Path) -> None:
    """The proxy is down, and nothing is said of the centre; the system's proxies are not looked at here."""
    proxy = f"http://127.0.0.1:{free_port()}"
    found = await findings(config(tmp_path, "https://hq.example").model_copy(update={"proxy": proxy}))
    assert found["tcp"].state is State.FAIL
    assert "the proxy 127.0.0.1" in found["tcp"].what
    assert "setting proxy" in found["tcp"].hint
    assert "centre is not running" not in found["tcp"].hint
    found = await findings(
        config(tmp_path, f"http://127.0.0.1:{free_port()}").model_copy(update={"proxy": "system"})
    )
    assert "proxy" not in found["tcp"].what


def test_an_unknown_proxy_is_looked_for_in_its_setting() -> None:
    """The name that is not found is the proxy's, so server_url is not to blame."""
    unknown = doctor.Reach("proxy.shop", 3128, dns_error="unknown")
    finding = doctor.diagnose(replace(facts_with(None), proxy="http://proxy.shop:3128", reach=unknown))[-1]
    assert (finding.check, "setting proxy" in finding.hint) == ("dns", True)


async def test_a_line_that_swallows_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer within the time is a dead line."""
    monkeypatch.setattr(probes, "STEP_TIMEOUT_S", 0.2)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        port = deaf.getsockname()[1]
        fillers = []
        for _ in range(4):  # the backlog is full after these: nobody else gets an answer
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            fillers.append(filler)
        found = await findings(config(tmp_path, f"http://127.0.0.1:{port}"))
        for filler in fillers:
            filler.close()
    assert found["line"].state is State.FAIL
    assert "dead" in found["line"].what


def test_no_name_server_is_a_dead_line_and_an_unknown_name_is_not() -> None:
    """Silence of the DNS and its "no such name" have different causes."""
    silent = doctor.Reach("hq.example", 443, dns_error="try again", dns_unanswered=True)
    unknown = doctor.Reach("hq.example", 443, dns_error="unknown")
    assert doctor.diagnose(replace(facts_with(None), reach=silent))[-1].check == "line"
    assert doctor.diagnose(replace(facts_with(None), reach=unknown))[-1].check == "dns"


async def test_a_wrong_clock_is_a_warning(tmp_path: Path) -> None:
    """Selling goes on and nothing is refused for it; the doctor says how far it is off."""
    async with centre_app(tmp_path) as app, listening(app) as url:
        facts = await probes.examine(config(tmp_path, url), ManualClock(now_ms=946_684_800_000))
    (clock,) = (finding for finding in doctor.diagnose(facts) if finding.check == "clock")
    assert clock.state is State.WARN
    assert "behind" in clock.what


async def test_a_revoked_station(tmp_path: Path) -> None:
    """The centre answers and refuses: the reason is the centre's own."""
    async with (
        open_centre(f"sqlite+aiosqlite:///{tmp_path / 'central.db'}", tmp_path) as centre,
        served(centre) as url,
    ):
        await Station(tmp_path / "till", url).enroll(centre)
        async with centre.database.write() as connection:
            from central.db import registry

            station = await registry.station_by_code(connection, "T-1")
            assert station is not None
            await registry.update_station(connection, station.station_no, state="revoked")
        found = await findings(config(tmp_path, url))
    assert found["session"].state is State.FAIL
    assert "revoked" in found["session"].what


def test_an_unsafe_sqlite_and_a_full_disk_are_failures() -> None:
    """What endangers the journal itself is told first."""
    facts = replace(facts_with(None), sqlite_safe=False, sqlite_version="3.40.1", disk_free_bytes=1 << 20)
    states = {finding.check: finding.state for finding in doctor.diagnose(facts)}
    assert (states["sqlite"], states["disk"]) == (State.FAIL, State.FAIL)


def facts_with(talk: doctor.Talk | None) -> doctor.Facts:
    return doctor.Facts(
        sqlite_version="3.51.3",
        sqlite_safe=True,
        data_dir="/data",
        disk_error="",
        disk_free_bytes=1 << 40,
        fsync_ms=1.0,
        identity_error="",
        station="T-1",
        agent_pid=1,
        server_url="https://hq.example",
        proxy="",
        reach=doctor.Reach("hq.example", 443, addresses=("192.0.2.1",), tcp_ms=1.0),
        talk=talk,
    )
