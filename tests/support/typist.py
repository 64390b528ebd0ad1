"""HQ's hands: commands of `counterflow-central` typed against a centre of this process, over real HTTP."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from typer.testing import CliRunner

from central.cli import app
from tests.support.hq import HQ


class Typist:
    """Types commands against a centre; each runs in a thread, as it has a loop of its own."""

    def __init__(self, hq: HQ) -> None:
        self.hq = hq

    async def __call__(self, *words: str, code: int = 0) -> str:
        """Type a command that ends with *code*; returns data and talk."""

        def run() -> Any:
            return CliRunner().invoke(app, ["--url", self.hq.url, "--key", self.hq.key, *words])

        result = await asyncio.to_thread(run)
        assert result.exit_code == code, result.output
        return str(result.stdout + result.stderr)

    async def json(self, *words: str) -> Any:
        """What a command prints for scripts."""
        return json.loads(await self(*words, "--json"))
