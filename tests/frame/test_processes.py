"""Processes of ours in tests: waited for, killed, and telling the end of their log when they fail."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.processes import Process, ProcessFailed, free_port, python
from tests.support.template import Template

pytestmark = pytest.mark.system

SERVER = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/healthz" else 404)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", {port}), Handler).serve_forever()
"""


async def test_healthy_killed_and_started_again(processes: Callable[..., Process]) -> None:
    port = free_port()
    server = processes("server", python("-c", SERVER.format(port=port)))
    await server.wait_until_healthy(f"http://127.0.0.1:{port}")
    first = server.pid
    server.kill()
    assert await server.wait() == (-signal.SIGKILL if sys.platform != "win32" else 1)
    server.start()
    await server.wait_until_healthy(f"http://127.0.0.1:{port}")
    assert server.pid != first
    await server.stop()
    assert not server.is_running()


async def test_early_end_shows_the_log(processes: Callable[..., Process]) -> None:
    process = processes("centre", python("-c", "raise SystemExit('no licence for this shop')"))
    with pytest.raises(ProcessFailed, match=r"(?s)centre ended \(exit code 1\).*no licence for this shop"):
        await process.wait_until_healthy(f"http://127.0.0.1:{free_port()}")


async def test_environment_and_output(processes: Callable[..., Process]) -> None:
    process = processes("echo", python("-c", "import os; print(os.environ['TILL'])"), env={"TILL": "till-7"})
    assert await process.wait() == 0
    await process.wait_for_log("till-7")


async def test_waiting_has_a_deadline(processes: Callable[..., Process]) -> None:
    process = processes("idle", python("-c", "import signal; signal.pause()"))
    with pytest.raises(ProcessFailed, match="idle did not end in 0 s"):
        await process.wait(deadline_s=0.1)


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")
async def test_a_forked_process_is_what_one_that_was_loaded_is(tmp_path: Path) -> None:
    """Arguments, environment, output, exit code and death are the process's own."""
    with Template("edge_agent.cli") as template:

        def forked(*arguments: str, **env: str) -> Process:
            argv = python("-m", "edge_agent.cli", *arguments)
            process = Process("forked", argv, tmp_path, env=env, template=template)
            process.start()
            return process

        assert await forked("no-such-command").wait() == 2
        stranger = forked("run", COUNTERFLOW_AGENT_DATA_DIR=str(tmp_path / "till"))
        assert await stranger.wait() == 78
        assert str(tmp_path / "till") in stranger.log()
        killed = forked("--help")
        killed.pause()
        killed.kill()
        assert await killed.wait() == -signal.SIGKILL
