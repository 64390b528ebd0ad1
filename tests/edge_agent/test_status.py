"""The status page says when a line does no work, also while the others are up."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from edge_agent.agent import opened
from edge_agent.config import AgentConfig
from edge_agent.enrolment import enroll
from shared.clock import SystemClock
from tests.support.centre import add_station, open_centre
from tests.support.station import served


async def test_a_line_with_an_error_of_its_own_is_not_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prices come down, and yet a bug on the way up is an alarm until a step works again."""
    failed, worked = asyncio.Event(), asyncio.Event()

    async def fail() -> float:
        failed.set()
        raise TypeError("a bug")

    async def work() -> float:
        worked.set()
        return 30

    async with (
        open_centre(f"sqlite+aiosqlite:///{tmp_path / 'central.db'}", tmp_path) as centre,
        served(centre) as url,
    ):
        config = AgentConfig(data_dir=tmp_path / "till", server_url=url)
        await enroll(config, await add_station(centre))
        async with opened(config, SystemClock()) as agent, asyncio.timeout(20):
            monkeypatch.setattr(agent.upload, "step", fail)
            async with agent.lines():
                await failed.wait()
                await agent.sessions.token()  # the centre answers
                page = await agent.status.page()
                assert "upload: the agent met an error of its own" in page["line"]
                assert [alarm for alarm in page["alarms"] if "TypeError: a bug" in alarm]

                monkeypatch.setattr(agent.upload, "step", work)
                agent.sync_now()
                await worked.wait()
                await agent.sessions.token()
                page = await agent.status.page()
                assert (page["line"], page["alarms"]) == ("up", [])
