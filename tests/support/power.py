"""A power cut between any two durable steps: commits, syncs, renames and deletions are counted, and the n-th kills.

After the cut nothing of that life does any durable step any more, as after SIGKILL. What a life wrote to a file and
did not sync is still there; lost pages are for the crash images of tests/faults.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from tests.support.outgoing import ClockedDatabase


class PowerCut(BaseException):
    """No handler of ours catches it."""


class Power:
    """Lasts for so many durable steps."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    @property
    def is_out(self) -> bool:
        return self._left < 0

    def step(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise PowerCut


class PoweredOs:
    """The `os` module, with every durable step preceded by one look at the power and followed by another."""

    def __init__(self, power: Power) -> None:
        self._power = power

    def __getattr__(self, name: str) -> Any:
        value = getattr(os, name)
        if name not in ("fsync", "replace", "rename", "unlink"):
            return value

        def act(*arguments: Any) -> Any:
            self._power.step()
            result = value(*arguments)
            self._power.step()
            return result

        return act


class PoweredDatabase(ClockedDatabase):
    """A database whose commits need power; set `power` to begin."""

    power: Power | None = None

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        async with super().write() as connection:
            yield connection
            if self.power:
                self.power.step()
        if self.power:
            self.power.step()
