"""The agent as a process of its own: it sells without a centre, one at a time, and says why it does not start."""

from __future__ import annotations

import json
import socket
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from central.centre import Centre
from edge_agent.config import AgentConfig
from edge_agent.enrolment import enroll
from tests.support.centre import add_station, open_centre
from tests.support.processes import Process, python
from tests.support.station import sale, served

pytestmark = pytest.mark.system


@pytest.fixture
async def centre(tmp_path: Path) -> AsyncIterator[Centre]:
    async with open_centre(f"sqlite+aiosqlite:///{tmp_path / 'central.db'}", tmp_path) as opened:
        yield opened


@pytest.fixture
async def data_dir(centre: Centre, tmp_path: Path) -> Path:
    """The folder of a station that was enrolled while the centre could be reached; it cannot be any more."""
    folder = tmp_path / "till"
    async with served(centre) as url:
        await enroll(AgentConfig(data_dir=folder, server_url=url), await add_station(centre))
    return folder


class Till:
    """POS software on the same PC."""

    def __init__(self, data_dir: Path) -> None:
        self.url = f"http://127.0.0.1:{(data_dir / 'port').read_text().strip()}"
        self.headers = {"Authorization": f"Bearer {(data_dir / 'token').read_text().strip()}"}

    async def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        headers = {**self.headers, "Idempotency-Key": str(uuid.uuid4())}
        async with (
            aiohttp.ClientSession() as http,
            http.request(method, self.url + path, json=body, headers=headers) as answer,
        ):
            return answer.status, await answer.json(content_type=None)

    async def sell(self) -> dict[str, Any]:
        status, accepted = await self.call("POST", "/v1/documents", {"kind": "sale", "payload": sale()})
        assert status == 201, accepted
        return dict(accepted)


def agent(data_dir: Path, *command: str) -> list[str]:
    return python("-m", "edge_agent.cli", *command, "--data-dir", str(data_dir))


async def started(
    processes: Callable[..., Process], data_dir: Path, *options: str, name: str = "agent"
) -> Process:
    process = processes(name, agent(data_dir, "run", "--port", "0", *options))
    await process.wait_for_log("agent_listening")
    return process


async def test_it_sells_without_a_centre_and_tells_it_later(
    processes: Callable[..., Process], centre: Centre, data_dir: Path
) -> None:
    """With the line dead a sale is accepted; when the centre is back the document is there."""
    process = await started(processes, data_dir)
    accepted = await Till(data_dir).sell()
    assert (await Till(data_dir).call("GET", f"/v1/documents/{accepted['doc_id']}"))[1][
        "status"
    ] == "accepted"
    await process.stop()
    async with served(centre) as url:
        await started(processes, data_dir, "--server", url)
        await process.wait_for_log("documents_pushed")
        status, told = await Till(data_dir).call("GET", f"/v1/documents/{accepted['doc_id']}")
        assert (status, told["status"]) == (200, "sent")


async def test_it_stops_cleanly_and_leaves_no_port(processes: Callable[..., Process], data_dir: Path) -> None:
    """SIGTERM ends it with 0; nobody finds a port that nobody serves."""
    process = await started(processes, data_dir)
    await Till(data_dir).sell()
    process.terminate()
    assert await process.wait() == 0
    assert not (data_dir / "port").exists()


async def test_a_second_start_says_who_is_there(processes: Callable[..., Process], data_dir: Path) -> None:
    """Two processes never share a journal: the second ends with 75 and names the first."""
    first = await started(processes, data_dir)
    second = processes("second", agent(data_dir, "run", "--port", "0"))
    assert await second.wait() == 75
    assert str(first.pid) in second.log()


async def test_a_taken_port_is_told(processes: Callable[..., Process], data_dir: Path) -> None:
    """The message names the port and the setting; the exit code is that of something in use."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = processes("agent", agent(data_dir, "run", "--port", str(taken.getsockname()[1])))
        assert await process.wait() == 75
    assert "local_port" in process.log()


async def test_not_enrolled_ends_with_78(processes: Callable[..., Process], tmp_path: Path) -> None:
    """Without an identity it says how to get one."""
    process = processes("agent", agent(tmp_path / "empty", "run"))
    assert await process.wait() == 78
    assert "enroll CODE" in process.log()


async def test_status_without_an_agent_ends_with_69(
    processes: Callable[..., Process], tmp_path: Path
) -> None:
    """Nobody there is told as not reachable."""
    process = processes("status", agent(tmp_path / "empty", "status"))
    assert await process.wait() == 69


async def test_status_and_sync_talk_to_the_running_agent(
    processes: Callable[..., Process], data_dir: Path
) -> None:
    """`status --json` is one JSON object on stdout."""
    await started(processes, data_dir)
    await Till(data_dir).sell()
    status = processes("status", agent(data_dir, "status", "--json"))
    assert await status.wait() == 0
    told = json.loads(status.log())
    assert (told["station"], told["backlog"], told["ready"]) == ("T-1", 1, True)
    sync = processes("sync", agent(data_dir, "sync"))
    assert await sync.wait() == 0


async def test_it_is_small(processes: Callable[..., Process], data_dir: Path) -> None:
    """The agent at rest stays small; what must not be in the process is not."""
    import psutil

    process = await started(processes, data_dir)
    loaded = {Path(region.path).name for region in psutil.Process(process.pid).memory_maps()}
    assert not any(name.startswith(("_greenlet", "cyextension")) for name in loaded)
    assert psutil.Process(process.pid).memory_info().rss < 70 << 20
