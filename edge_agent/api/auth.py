"""Who may use the local API: programs of this PC that can read the token, and no web page that was not let in.

Three locks, each against something else: the Host header must name this machine (a page cannot rebind its DNS name
to us), an Origin must be one that the operator allowed, and the token must be there (another user's program, or a
page's plain form, does not have it).
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Collection
from pathlib import Path

from aiohttp import hdrs, web

from edge_agent.keyfile import write_durably
from shared.errors import NotAllowed, NotAuthenticated

LOCAL_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})


def load_token(path: Path) -> str:
    """The token of this instance; drawn at the first start, readable by the agent's user only (0600)."""
    try:
        token = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        token = ""
    if not token:
        token = secrets.token_urlsafe(32)
        write_durably(path, token.encode("ascii") + b"\n")
    return token


class Guard:
    """Checks a request's headers; the port is the one that the API really listens on."""

    def __init__(self, token: str, allowed_origins: Collection[str] = ()) -> None:
        self._credential = f"Bearer {token}".encode()
        self._allowed_origins = frozenset(allowed_origins)

    def check_source(self, request: web.Request) -> None:
        """Raise `NotAllowed` unless the request was meant for this machine and no foreign page sent it."""
        host = request.headers.get(hdrs.HOST, "")
        if not is_local(host):
            raise NotAllowed(
                f'the Host header "{host}" does not name this machine',
                hint="call http://127.0.0.1:PORT",
                code="foreign-host",
            )
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is not None and not self.is_allowed_origin(origin, host):
            raise NotAllowed(
                f"pages of {origin} may not use this station",
                hint="name the origin in the setting allowed_origins",
                code="foreign-origin",
            )

    def check_token(self, request: web.Request) -> None:
        """Raise `NotAuthenticated` unless the token is there."""
        given = request.headers.get(hdrs.AUTHORIZATION, "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(given, self._credential):
            raise NotAuthenticated(
                "the local API needs this station's token",
                hint='send "Authorization: Bearer TOKEN"; it stands in the file "token" of the data folder',
            )

    def is_allowed_origin(self, origin: str, host: str) -> bool:
        """Whether a page of *origin* may call: the API's own pages, and those that the operator named."""
        return origin in self._allowed_origins or (
            origin.startswith("http://") and origin.removeprefix("http://") == host
        )


def is_local(host: str) -> bool:
    """Whether a Host header (`name` or `name:port`) names this machine."""
    if host.count(":") == 1:
        host = host.partition(":")[0]
    elif host.startswith("["):
        host = host.rpartition("]")[0] + "]"
    return host.lower() in LOCAL_NAMES
