"""A program of ours that is loaded once and started many times: a start is a fork behind its imports.

Tests that kill processes hundreds of times would spend most of their time on imports. What is forked is a process of
its own, with the program's own `main`, arguments, environment and exit; only the imports lie before the fork.

Rule 1: the template has no threads, no loop and no open files but its two pipes when it forks.
Rule 2: when the tests are gone, the template reads the end of its pipe and takes its processes with it.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import typer

ROOT = Path(__file__).resolve().parents[2]
POLL_S = 0.005
LOADED = {
    "central.cli": ("central.cli", "central.server", "central.logs", "alembic.command"),
    "edge_agent.cli": ("edge_agent.lean", "edge_agent.cli", "edge_agent.agent", "edge_agent.commands"),
}
"""What a process of a program imports before it works, in that order; of others, the program alone."""


class Forked:
    """A process of a template, with what `Process` asks of a `subprocess.Popen`."""

    def __init__(self, template: Template, pid: int) -> None:
        self._template = template
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._template.ask({"ended": self.pid})
        return self.returncode

    def wait(self) -> int:
        while (code := self.poll()) is None:
            time.sleep(POLL_S)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:  # until it is asked for it keeps its number
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


class Template:
    """A loaded program. Use as `with`; its processes end with it."""

    def __init__(self, program: str) -> None:
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.template", program],
            env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __enter__(self) -> Template:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()

    def start(
        self,
        arguments: Sequence[str],
        env: Mapping[str, str],
        cwd: Path,
        log: Path,
        out: Path | None = None,
    ) -> Forked:
        """Start the program in *cwd*; stderr is appended to *log*, and stdout too unless *out* is given."""
        told = {"arguments": list(arguments), "env": dict(env), "cwd": os.fspath(cwd)}
        return Forked(self, self.ask({**told, "log": os.fspath(log), "out": os.fspath(out or log)}))

    def ask(self, question: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question).encode() + b"\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the template has ended with {self._process.poll()}"
        return json.loads(answer)


class Templates(NamedTuple):
    """The programs of a chain, loaded already; None where each start loads anew."""

    centre: Template | None = None
    agent: Template | None = None


def _serve() -> dict[str, Any] | None:
    """Answer until the pipe ends (None); in a forked process, what it is to be."""
    running: set[int] = set()
    for line in sys.stdin.buffer:
        question = json.loads(line)
        if "ended" in question:
            pid, status = os.waitpid(question["ended"], os.WNOHANG)
            running.discard(pid)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        else:
            answer = os.fork()
            if answer == 0:
                return question
            running.add(answer)
        os.write(1, json.dumps(answer).encode() + b"\n")
    for pid in running:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return None


def _become(wanted: dict[str, Any]) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    out, log = (
        os.open(wanted[name], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644) for name in ("out", "log")
    )
    for number, opened in enumerate((nothing, out, log)):
        os.dup2(opened, number)
        os.close(opened)
    os.chdir(wanted["cwd"])
    os.environ.clear()
    os.environ.update(wanted["env"])
    sys.argv[1:] = wanted["arguments"]
    importlib.reload(
        sys.modules["shared.faultpoints"]
    )  # the one module that reads the environment at its import


def main() -> None:
    program = sys.argv[1]
    for name in LOADED.get(program, (program,)):
        importlib.import_module(name)
    if program == "central.cli":
        # Each start would make all its commands anew: a fifth of what a centre does until it is killed.
        loaded = sys.modules[program]
        loaded.app = typer.main.get_command(loaded.app)
    gc.collect()
    gc.freeze()
    wanted = _serve()
    if wanted is not None:
        _become(wanted)
        sys.modules[program].main()


if __name__ == "__main__":
    main()
