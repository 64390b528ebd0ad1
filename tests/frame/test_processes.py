"""Processes of ours in tests: waited for, killed, and telling the end of their log when they fail."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable

import pytest

from tests.support.processes import Process, ProcessFailed, free_port, python

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
