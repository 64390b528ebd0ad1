"""Real processes of ours for the system tests: started, asked, killed, and never left behind.

Rule 1: waiting is asking again until a deadline, never a sleep of a guessed length.
Rule 2: what a process said goes to its log file; a failure shows the end of it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

import aiohttp

from tests.support.template import Forked, Template

ROOT = Path(__file__).resolve().parents[2]
POLL_S = 0.02
START_DEADLINE_S = 30.0
STOP_DEADLINE_S = 20.0
LOG_TAIL_LINES = 40


class ProcessFailed(AssertionError):
    """A process did not do what the test waited for; the text holds the end of its log."""


def free_port() -> int:
    """Return a port of this machine that nothing listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Process:
    """One operating-system process, with its output in a file.

    Args:
        name: what it is called in failures, and its log file's name.
        argv: the command; `python("-m", "central.cli", "serve")` for ours.
        folder: where the log goes and where it runs unless *cwd* says otherwise.
        env: variables on top of ours.
        template: the program of *argv*, loaded already; a start forks it instead of loading it again.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        folder: Path,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        template: Template | None = None,
    ) -> None:
        self.name = name
        self.argv = list(argv)
        self.cwd = cwd or folder
        self.env = dict(env or {})
        self.log_file = folder / f"{name}.log"
        self.template = template
        self._process: subprocess.Popen[bytes] | Forked | None = None

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} was never started"
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Return how it ended (a signal as its negative number), or None while it runs."""
        assert self._process is not None, f"{self.name} was never started"
        return self._process.poll()

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, or start it again after its end; the log goes on in the same file."""
        assert not self.is_running(), f"{self.name} runs already as {self.pid}"
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        env = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **self.env}
        if self.template is not None:
            self._process = self.template.start(self.argv[3:], env, self.cwd, self.log_file)
            return
        with open(self.log_file, "ab") as log:
            self._process = subprocess.Popen(
                self.argv,
                env=env,
                cwd=self.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    async def wait_until_healthy(self, url: str, *, deadline_s: float = START_DEADLINE_S) -> None:
        """Wait until `GET {url}/healthz` answers 200."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as http:

            async def answers() -> bool:
                try:
                    async with http.get(f"{url.rstrip('/')}/healthz") as answer:
                        return answer.status == 200
                except (aiohttp.ClientError, TimeoutError):
                    return False

            until = time.monotonic() + deadline_s
            while not await answers():
                self._expect(self.is_running(), f"ended (exit code {self.exit_code}) before it was healthy")
                self._expect(time.monotonic() < until, f"did not answer {url}/healthz in {deadline_s:.0f} s")
                await asyncio.sleep(POLL_S)

    async def wait_for_log(self, text: str, *, deadline_s: float = START_DEADLINE_S) -> None:
        """Wait until its output holds *text*."""
        await self._until(lambda: text in self.log(), f"did not say {text!r}", deadline_s)

    async def wait(self, *, deadline_s: float = STOP_DEADLINE_S) -> int:
        """Wait until it has ended and return its exit code."""
        await self._until(lambda: not self.is_running(), "did not end", deadline_s)
        code = self.exit_code
        assert code is not None
        return code

    def kill(self) -> None:
        """End it as a power cut does (SIGKILL)."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def terminate(self) -> None:
        """Ask it to end."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def pause(self) -> None:
        """Hold it as a frozen machine is held (SIGSTOP; not on Windows)."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    async def stop(self, *, deadline_s: float = STOP_DEADLINE_S) -> None:
        """Ask it to end, wait, and kill it when it does not."""
        self.terminate()
        try:
            await self._until(lambda: not self.is_running(), "did not end when asked", deadline_s)
        finally:
            self.kill()

    def log(self) -> str:
        try:
            return self.log_file.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""

    def log_tail(self, lines: int = LOG_TAIL_LINES) -> str:
        return "\n".join(self.log().splitlines()[-lines:])

    async def _until(self, reached: Callable[[], bool], told: str, deadline_s: float) -> None:
        until = time.monotonic() + deadline_s
        while not reached():
            self._expect(time.monotonic() < until, f"{told} in {deadline_s:.0f} s")
            await asyncio.sleep(POLL_S)

    def _expect(self, holds: bool, told: str) -> None:
        if not holds:
            raise ProcessFailed(f"{self.name} {told}; the end of {self.log_file}:\n{self.log_tail()}")


def python(*args: str) -> list[str]:
    """Return the command that runs *args* with the Python of the tests."""
    return [sys.executable, *args]
