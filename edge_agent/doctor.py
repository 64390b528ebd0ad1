"""Tell from what was found why a station does not reach its centre, and what to do. Pure: facts in, findings out.

The order is the order of causes: what breaks early explains what breaks later, so a check whose cause failed is told
as skipped and not as a second fault. `edge_agent/probes.py` gathers the facts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

CLOCK_WARN_MS = 60_000
FSYNC_WARN_MS = 50.0
DISK_WARN_BYTES = 1 << 30
DISK_FAIL_BYTES = 64 << 20

# X509_V_ERR_* of OpenSSL, stable for decades.
_NOT_YET_VALID, _EXPIRED = 9, 10
_SELF_SIGNED = (18, 19)
_UNKNOWN_ISSUER = (2, 20, 21)
_WRONG_HOST = (62, 64)


class State(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's table."""

    check: str
    state: State
    what: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Reach:
    """The way to the centre (or to the proxy) below HTTP. Errors are empty where a step worked."""

    host: str
    port: int
    addresses: tuple[str, ...] = ()
    dns_error: str = ""
    dns_unanswered: bool = False
    tcp_error: str = ""
    tcp_refused: bool = False
    tcp_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Certificate:
    """What the server showed, trusted or not."""

    names: tuple[str, ...]
    issuer: str
    not_before_ms: int
    not_after_ms: int


@dataclass(frozen=True, slots=True)
class Talk:
    """One request to /v1/hello. `verify_code` is OpenSSL's when the certificate was not accepted."""

    error: str = ""
    tls_error: str = ""
    verify_code: int | None = None
    certificate: Certificate | None = None
    status: int | None = None
    is_ours: bool = False
    server_date_ms: int | None = None
    device_ms: int | None = None
    content_type: str = ""
    location: str = ""
    via: str = ""
    proxy_refused: str = ""
    other_centre: bool = False
    session_refusal: str = ""
    session_tried: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that was found out."""

    sqlite_version: str
    sqlite_safe: bool
    data_dir: str
    disk_error: str
    disk_free_bytes: int | None
    fsync_ms: float | None
    identity_error: str
    station: str
    agent_pid: int | None
    server_url: str
    proxy: str
    reach: Reach | None
    talk: Talk | None


def diagnose(facts: Facts) -> list[Finding]:
    """All findings, in the order of causes."""
    return [*_machine(facts), *_identity(facts), *_line(facts)]


def has_failed(findings: list[Finding]) -> bool:
    return any(finding.state is State.FAIL for finding in findings)


def _machine(facts: Facts) -> Iterator[Finding]:
    if facts.sqlite_safe:
        yield Finding("sqlite", State.OK, f"SQLite {facts.sqlite_version}")
    else:
        yield Finding(
            "sqlite",
            State.FAIL,
            f"SQLite {facts.sqlite_version} can lose commits in WAL mode",
            "install the pysqlite3 wheel that the agent asks for; it brings 3.51.3 or later",
        )
    if facts.disk_error:
        yield Finding(
            "disk",
            State.FAIL,
            f"{facts.data_dir} cannot be written: {facts.disk_error}",
            "look at the disk and the rights",
        )
        return
    free = facts.disk_free_bytes or 0
    state = State.FAIL if free < DISK_FAIL_BYTES else State.WARN if free < DISK_WARN_BYTES else State.OK
    yield Finding(
        "disk",
        state,
        f"{free >> 20} MiB free in {facts.data_dir}",
        "" if state is State.OK else "free space on this disk",
    )
    if facts.fsync_ms is not None:
        slow = facts.fsync_ms > FSYNC_WARN_MS
        hint = "each sale waits this long; a disk of its own for data_dir would help" if slow else ""
        yield Finding(
            "fsync", State.WARN if slow else State.OK, f"a durable write takes {facts.fsync_ms:.1f} ms", hint
        )


def _identity(facts: Facts) -> Iterator[Finding]:
    if facts.identity_error:
        yield Finding(
            "enrolment",
            State.FAIL,
            facts.identity_error,
            "get a code from HQ and run: counterflow-agent enroll CODE --server URL",
        )
    else:
        yield Finding("enrolment", State.OK, f"this is station {facts.station}")
    if facts.agent_pid is None:
        yield Finding(
            "agent",
            State.WARN,
            "the agent is not running",
            "start its service, or run: counterflow-agent run",
        )
    else:
        yield Finding("agent", State.OK, f"the agent runs as process {facts.agent_pid}")


def _line(facts: Facts) -> Iterator[Finding]:
    reach, talk = facts.reach, facts.talk
    if reach is None:
        yield Finding("line", State.SKIPPED, "no server_url is known", "enrol, or set server_url")
        return
    # "system" names no proxy: there the way to the centre itself was looked at.
    by_proxy = "://" in facts.proxy
    target = f"the proxy {reach.host}" if by_proxy else reach.host
    if reach.dns_error:
        yield _dns(reach, target, by_proxy)
        return
    yield Finding("dns", State.OK, f"{target} is {', '.join(reach.addresses)}")
    if reach.tcp_error:
        yield _tcp(reach, target, by_proxy)
        return
    yield Finding("tcp", State.OK, f"port {reach.port} of {target} answers in {reach.tcp_ms or 0:.0f} ms")
    if talk is None:
        return
    if talk.proxy_refused:
        yield Finding(
            "proxy",
            State.FAIL,
            f"the proxy refused: {talk.proxy_refused}",
            "look at the setting proxy and its user and password",
        )
        return
    if facts.server_url.startswith("https"):
        tls = _tls(facts, talk)
        yield tls
        if tls.state is State.FAIL:
            if tls.check != "clock":
                yield from _clock(talk)
            return
    elif not _stays_here(reach):
        hint = "give the centre a certificate and write https:// in server_url"
        yield Finding("tls", State.WARN, "documents travel unencrypted, and anybody may answer", hint)
    yield from _http(facts, talk)


def _stays_here(reach: Reach) -> bool:
    """Whether nothing leaves this machine, so that there is nobody to read along."""
    return bool(reach.addresses) and all(
        address.startswith("127.") or address == "::1" for address in reach.addresses
    )


def _dns(reach: Reach, target: str, by_proxy: bool) -> Finding:
    if reach.dns_unanswered:
        # Nobody answered at all: that is a dead line, not a wrong name.
        return Finding(
            "line",
            State.FAIL,
            f"the line is dead: no name server answers ({reach.dns_error})",
            "look at cable, Wi-Fi and router; selling goes on",
        )
    return Finding(
        "dns",
        State.FAIL,
        f"the name {target} is not found: {reach.dns_error}",
        f"look at {'the setting proxy' if by_proxy else 'server_url'}, or at the DNS of this network",
    )


def _tcp(reach: Reach, target: str, by_proxy: bool) -> Finding:
    if reach.tcp_refused:
        return Finding(
            "tcp",
            State.FAIL,
            f"{target} refuses port {reach.port}",
            "the proxy is not running, or the setting proxy names another port; of the centre this says nothing"
            if by_proxy
            else "the machine is there and the centre is not running, or the port is wrong",
        )
    return Finding(
        "line", State.FAIL, f"the line is dead: {target} port {reach.port} does not answer ({reach.tcp_error})",
        "look at cable, router and firewall; selling goes on",
    )  # fmt: skip


def _tls(facts: Facts, talk: Talk) -> Finding:
    if talk.verify_code is None and not talk.tls_error:
        return Finding("tls", State.OK, "the certificate is accepted")
    code, shown = talk.verify_code, talk.certificate
    names = ", ".join(shown.names) if shown else "another name"
    if code in (_EXPIRED, _NOT_YET_VALID):
        return _certificate_time(talk)
    if code in _WRONG_HOST:
        return Finding(
            "tls", State.FAIL, f"the certificate is for {names}, not for the host in {facts.server_url}",
            "look at server_url; or a captive portal shows its own certificate",
        )  # fmt: skip
    if code in _SELF_SIGNED:
        return Finding(
            "tls", State.FAIL, f"the certificate is signed by nobody we trust but itself ({names})",
            "set ca_file to the centre's certificate; if it is not yours, somebody reads along: ask HQ",
        )  # fmt: skip
    if code in _UNKNOWN_ISSUER:
        issuer = shown.issuer if shown else "an unknown issuer"
        return Finding(
            "tls", State.FAIL, f"the certificate is signed by {issuer}, which is not trusted here",
            "set ca_file to that issuer's certificate; a proxy that opens TLS shows its own issuer here",
        )  # fmt: skip
    return Finding(
        "tls",
        State.FAIL,
        f"TLS failed: {talk.tls_error}",
        "look at the port in server_url: it may speak plain HTTP or an old TLS",
    )


def _certificate_time(talk: Talk) -> Finding:
    """An expired certificate and a wrong clock look the same to TLS; the server's own Date tells them apart."""
    shown, date_ms = talk.certificate, talk.server_date_ms
    if shown and date_ms is not None and shown.not_before_ms <= date_ms <= shown.not_after_ms:
        return Finding(
            "clock",
            State.FAIL,
            "this machine's clock is wrong, so the centre's certificate looks out of date",
            "set the clock; selling goes on",
        )
    if talk.verify_code == _NOT_YET_VALID:
        return Finding(
            "tls",
            State.FAIL,
            "the centre's certificate is not valid yet",
            "HQ must look at it; if this machine's clock is wrong, set it",
        )
    return Finding(
        "tls",
        State.FAIL,
        "the centre's certificate has expired",
        "HQ must renew it; nothing is to be done here, selling goes on",
    )


def _http(facts: Facts, talk: Talk) -> Iterator[Finding]:
    if talk.error:
        yield Finding(
            "http",
            State.FAIL,
            f"the line breaks off: {talk.error}",
            "try again; if it stays, a firewall or proxy cuts the connection",
        )
        return
    if not talk.is_ours:
        yield _stranger(talk)
        yield from _clock(talk)
        return
    yield Finding("http", State.OK, f"the centre answers (status {talk.status})")
    yield from _clock(talk)
    if talk.other_centre:
        yield Finding(
            "session",
            State.FAIL,
            "this is another centre than the one that enrolled this station",
            "look at server_url, or enrol with a code from it",
        )
    elif talk.session_refusal:
        yield Finding(
            "session",
            State.FAIL,
            f"the centre refuses this station: {talk.session_refusal}",
            "ask HQ; documents wait here",
        )
    elif talk.session_tried:
        yield Finding("session", State.OK, "the centre knows this station and its key")


def _stranger(talk: Talk) -> Finding:
    answered = f"status {talk.status}, {talk.content_type or 'no content type'}"
    if talk.location:
        return Finding(
            "proxy",
            State.FAIL,
            f"something else answers and sends us to {talk.location}",
            "a captive portal: sign in to this network with a browser",
        )
    if talk.via:
        return Finding(
            "proxy",
            State.FAIL,
            f"a proxy answers instead of the centre ({talk.via}, {answered})",
            "ask for the centre's address to be let through",
        )
    if talk.content_type.startswith("text/html") and talk.status == 200:
        return Finding(
            "proxy",
            State.FAIL,
            f"a web page answers instead of the centre ({answered})",
            "a captive portal or proxy: sign in with a browser, or look at server_url",
        )
    return Finding(
        "http",
        State.FAIL,
        f"what answers is not a Counterflow centre ({answered})",
        "look at server_url; a gateway before the centre may be up while the centre is down",
    )


def _clock(talk: Talk) -> Iterator[Finding]:
    if talk.server_date_ms is None or talk.device_ms is None:
        return
    skew_ms = talk.device_ms - talk.server_date_ms
    if abs(skew_ms) > CLOCK_WARN_MS:
        direction = "ahead" if skew_ms > 0 else "behind"
        yield Finding(
            "clock",
            State.WARN,
            f"this machine's clock is {abs(skew_ms) // 1000} s {direction}",
            "turn on time synchronisation; no document is refused for it",
        )
    else:
        yield Finding("clock", State.OK, f"the clock is right to {abs(skew_ms) / 1000:.1f} s")
