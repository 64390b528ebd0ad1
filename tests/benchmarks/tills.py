"""Tills that sell over HTTP as fast as they are answered, on a client so lean that the server is what is measured.

Each till is one kept connection with one request under way; requests lie ready as bytes. Client and server share the
machine, so every microsecond that the client saves is one that the server is not robbed of.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Selling:
    """How long it took, and how long each till waited for each answer."""

    seconds: float
    waits_s: list[float]


def post(port: int, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """A request as it travels."""
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def sell(port: int, tills: Sequence[Sequence[bytes]]) -> Selling:
    """Let every till send its requests, each after the answer to the one before.

    Raises:
        AssertionError: an answer was not 201.
    """
    connections = [await asyncio.open_connection("127.0.0.1", port) for _ in tills]
    waits_s: list[float] = []
    since = time.perf_counter()
    await asyncio.gather(
        *(
            _one_till(*connection, requests, waits_s)
            for connection, requests in zip(connections, tills, strict=True)
        )
    )
    seconds = time.perf_counter() - since
    for _, writer in connections:
        writer.close()
    return Selling(seconds, waits_s)


async def _one_till(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    requests: Sequence[bytes],
    waits_s: list[float],
) -> None:
    for request in requests:
        sent = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(_length(head))
        waits_s.append(time.perf_counter() - sent)
        assert head.startswith(b"HTTP/1.1 201"), f"a sale was answered {head!r} {body!r}"


def _length(head: bytes) -> int:
    lowered = head.lower()
    at = lowered.index(b"content-length:") + len(b"content-length:")
    return int(lowered[at : lowered.index(b"\r\n", at)])
