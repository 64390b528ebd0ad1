"""Find the centre's address, also while the name server is away: the last good answer is better than none.

A wrong address does no harm: over TLS only the centre can answer there.
"""

from __future__ import annotations

import logging
import socket

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

log = logging.getLogger(__name__)


class RememberingResolver(AbstractResolver):
    """Asks the system and remembers what it said, one answer per name."""

    def __init__(self, resolver: AbstractResolver | None = None) -> None:
        self._resolver = resolver or ThreadedResolver()
        self._known: dict[tuple[str, int, int], list[ResolveResult]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of *host*; those of the last time where the name server does not answer now."""
        key = (host, port, family)
        try:
            self._known[key] = await self._resolver.resolve(host, port, family)
        except OSError as error:
            if key not in self._known:
                raise
            log.warning("name_server_away", extra={"host": host, "why": str(error)})
        return self._known[key]

    async def close(self) -> None:
        await self._resolver.close()
