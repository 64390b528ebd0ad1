"""The command line's way to a centre: where it is, with which key, and how its refusals become words.

Address and key come from options, then the environment (COUNTERFLOW_URL, COUNTERFLOW_KEY, COUNTERFLOW_CA), then what
`connect` saved. Only an answer in the protocol's frame is believed; a proxy's page is told as what it is.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import ssl
import tomllib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import aiohttp
import platformdirs

from shared.canonical import canonical, parse
from shared.errors import ConfigError, ConnectionFailed, CounterflowError
from shared.protocol import problems, wire

T = TypeVar("T")
DEFAULT_URL = "http://127.0.0.1:8470"
ANSWER_MAX_BYTES = 256 << 20
CONNECT_TIMEOUT_S = 10
ANSWER_TIMEOUT_S = 60
LONG_TIMEOUT_S = 6 * 3_600
"""`verify` walks over everything that was ever stored."""
PAGE_ROWS = 1_000


class Refused(CounterflowError):
    """The centre said no; its problem document in our words."""

    def __init__(self, problem: dict[str, Any], status: int) -> None:
        known = {"type", "title", "status", "detail", "hint", "retryable", "request_id"}
        extra = {name: value for name, value in problem.items() if name not in known}
        super().__init__(
            str(problem.get("detail") or problem.get("title") or f"the centre answered {status}"),
            hint=str(problem.get("hint", "")),
            code=problems.name_of(problem) or "refused",
            **extra,
        )
        self.http_status = status

    @property
    def exit_code(self) -> int:  # type: ignore[override]
        return 69 if self.http_status in (502, 503, 504, 507) else 1


@dataclass(frozen=True, slots=True)
class Connection:
    """What the command line was told about the centre, and where the rest may stand."""

    url: str | None
    key: str | None
    ca: Path | None
    saved_in: Path
    central_config: Path | None

    def resolved(self) -> tuple[str, str, Path | None]:
        """Address, key and authority.

        Raises:
            ConfigError: there is no key anywhere.
        """
        saved = _saved(self.saved_in)
        url = self.url or saved.get("url") or DEFAULT_URL
        # A key belongs to its centre: one that was saved for another address is not sent to this one.
        key = self.key or (saved.get("key") if url == saved.get("url") else None)
        if not key:
            raise ConfigError(
                f"there is no API key for {url}",
                hint="give --key or COUNTERFLOW_KEY, or save one: `counterflow-central connect URL`",
            )
        ca = self.ca or (Path(saved["ca"]) if saved.get("ca") else None)
        return url, key, ca


def config_file() -> Path:
    """Where `connect` saves address and key: this user's own configuration."""
    return Path(platformdirs.user_config_dir("counterflow-central", appauthor=False)) / "client.toml"


def save(path: Path, url: str, key: str, ca: Path | None) -> None:
    """Remember address and key, readable by this user only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = {"url": url, "key": key, **({"ca": str(ca.resolve())} if ca else {})}
    text = "".join(f"{name} = {canonical(value).decode()}\n" for name, value in values.items())
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(part, path)


def _saved(path: Path) -> dict[str, str]:
    try:
        return {name: str(value) for name, value in tomllib.loads(path.read_text(encoding="utf-8")).items()}
    except FileNotFoundError:
        return {}
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} cannot be read: {error}", hint="delete it and run `connect` again"
        ) from None


class AdminClient:
    """Requests to one centre."""

    def __init__(self, session: aiohttp.ClientSession, url: str, key: str) -> None:
        self._session = session
        self._url = url.rstrip("/")
        self._key = key

    async def get(self, path: str, *, timeout_s: float = ANSWER_TIMEOUT_S, **query: Any) -> Any:
        return await self.request("GET", path, query=query, timeout_s=timeout_s)

    async def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        return await self.request("POST", path, body=canonical(body or {}))

    async def patch(self, path: str, body: dict[str, Any]) -> Any:
        return await self.request("PATCH", path, body=canonical(body))

    async def pages(self, path: str, limit: int, **query: Any) -> list[Any]:
        """The first *limit* items of a list, over as many pages as it takes."""
        items: list[Any] = []
        after = None
        while len(items) < limit:
            page = await self.get(path, **query, after=after, limit=min(PAGE_ROWS, limit - len(items)))
            items += page["items"]
            after = page.get("next")
            if after is None:
                break
        return items

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, Any] | None = None,
        body: bytes | None = None,
        media: str = "application/json",
        timeout_s: float = ANSWER_TIMEOUT_S,
    ) -> Any:
        """One request; returns the answer's JSON.

        Raises:
            Refused: the centre answered with a problem.
            ConnectionFailed: it was not reached, or something else answered.
        """
        request_id = secrets.token_hex(8)
        headers = {
            "Authorization": f"Bearer {self._key}",
            "Accept-Encoding": "zstd",
            wire.REQUEST_ID_HEADER: request_id,
            **({"Content-Type": media} if body is not None else {}),
        }
        given = {name: str(value) for name, value in (query or {}).items() if value is not None}
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=CONNECT_TIMEOUT_S)
        try:
            async with self._session.request(
                method,
                self._url + path,
                params=given,
                data=body,
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
            ) as answer:
                raw = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise self._unreachable(error) from None
        wire.check_answer(answer.status, answer.headers, raw, request_id)
        text = wire.unpack(raw, answer.headers.get("Content-Encoding"), ANSWER_MAX_BYTES)
        value = parse(text, "the centre's answer") if text else {}
        if answer.status >= 400:
            raise Refused(value if isinstance(value, dict) else {}, answer.status)
        return value

    def _unreachable(self, error: Exception) -> ConnectionFailed:
        hint = "is it running, and is this its address? (--url, COUNTERFLOW_URL)"
        if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
            hint = "if the centre has a certificate of your own authority, name that with --ca"
            if "WRONG_VERSION_NUMBER" in str(error):
                hint = "it does not speak TLS there: is its address http://...?"
        elif isinstance(error, TimeoutError):
            return ConnectionFailed(f"{self._url} did not answer in time", hint=hint)
        elif isinstance(error, aiohttp.InvalidURL | ValueError):
            return ConnectionFailed(
                f'"{self._url}" is not an address', hint="write it like https://hq.example:8470"
            )
        return ConnectionFailed(f"the centre at {self._url} was not reached: {error}", hint=hint)


def part(text: str) -> str:
    """A value as one part of a path."""
    return quote(text, safe="")


def ask(connection: Connection, work: Callable[[AdminClient], Awaitable[T]]) -> T:
    """Run *work* with a client of the centre that the command line means."""
    url, key, ca = connection.resolved()

    async def run() -> T:
        context: ssl.SSLContext | bool = True
        if ca is not None:
            try:
                context = ssl.create_default_context(cafile=str(ca))
            except (OSError, ssl.SSLError) as error:
                raise ConfigError(f"{ca} is no file of certificates: {error}") from None
        connector = aiohttp.TCPConnector(ssl=context)
        async with aiohttp.ClientSession(
            connector=connector, auto_decompress=False, trust_env=True
        ) as session:
            return await work(AdminClient(session, url, key))

    return asyncio.run(run())
