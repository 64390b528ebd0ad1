"""The centre's address, also while the name server is away."""

from __future__ import annotations

import socket

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from edge_agent.sync.addresses import RememberingResolver


class NameServer(AbstractResolver):
    """Answers, or is away."""

    def __init__(self) -> None:
        self.address: str | None = "192.0.2.1"

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if self.address is None:
            raise OSError("no answer")
        return [ResolveResult(hostname=host, host=self.address, port=port, family=family, proto=0, flags=0)]

    async def close(self) -> None: ...


async def test_the_last_answer_is_used_while_the_name_server_is_away() -> None:
    """A dead DNS does not take a living line down; when it is back its answer counts."""
    server = NameServer()
    resolver = RememberingResolver(server)
    await resolver.resolve("hq.example", 443)
    server.address = None
    assert (await resolver.resolve("hq.example", 443))[0]["host"] == "192.0.2.1"
    server.address = "192.0.2.2"
    assert (await resolver.resolve("hq.example", 443))[0]["host"] == "192.0.2.2"


async def test_an_unknown_name_stays_an_error() -> None:
    """Nothing was remembered for it."""
    server = NameServer()
    server.address = None
    with pytest.raises(OSError, match="no answer"):
        await RememberingResolver(server).resolve("hq.example", 443)
