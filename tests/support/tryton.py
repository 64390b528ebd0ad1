"""A real Tryton 8.2 server for tests: a process of its own over a database of the test's own.

The database is copied from a template that is made once per session (`tryton_template` in `tests/conftest.py`): Tryton
takes a minute to install its modules, a copy takes milliseconds.
"""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

from central.connectors.base import Exchange, tell_nobody
from central.connectors.tryton.rpc import Session, Tryton
from tests.support.processes import Process, ProcessFailed, free_port, python
from tests.support.tryton_process import DATABASE, PASSWORD

PROCESS = "tests.support.tryton_process"
START_DEADLINE_S = 60.0
CALL_S = 180.0
"""Of a call past the connector: Tryton books sales at the same time, on a machine that has more to do."""


class TrytonUnavailable(Exception):
    """Tryton's packages are not installed; the text says how to get them."""


def make_template(folder: Path) -> Path:
    """Make the database that tests copy; about a minute.

    Raises:
        TrytonUnavailable: there is no Tryton in this environment.
    """
    if importlib.util.find_spec("trytond") is None:
        raise TrytonUnavailable(
            "no trytond in this environment; `python3 run.py setup` installs the group erp"
        )
    done = subprocess.run(
        python("-m", PROCESS, "make", str(folder)), capture_output=True, text=True, check=False, timeout=280
    )
    if done.returncode:
        raise ProcessFailed(f"Tryton's database was not made: {done.stderr[-4_000:]}")
    return folder / f"{DATABASE}.sqlite"


class TrytonServer(Process):
    """One running server.

    Args:
        folder: of its own; its database and its log lie there.
        template: what `make_template` returned.
    """

    def __init__(self, folder: Path, template: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        super().__init__("tryton", python("-m", PROCESS, "serve", str(folder), str(self.port)), folder)
        self.database = folder / template.name
        self._sessions: dict[str, Session] = {}
        shutil.copy(template, self.database)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self.start()
        try:
            await self.wait_until_ready()
        except BaseException:
            await self.stop()
            raise
        return self

    async def wait_until_ready(self) -> None:
        await self.wait_for_log("Running on", deadline_s=START_DEADLINE_S)

    @contextlib.contextmanager
    def sql(self) -> Iterator[sqlite3.Connection]:
        """The database past the server, for what only a bad day does: a date that is set back, a session that ends."""
        with contextlib.closing(sqlite3.connect(self.database, timeout=30)) as connection, connection:
            yield connection

    def session(self, user: str = "admin", password: str = PASSWORD, url: str | None = None) -> Session:
        """Sign-in of *user*; `async with Tryton(session) as tryton` calls with it."""
        return Session(url or self.url, DATABASE, user, password)

    def calls(self, session: Session, tell: Callable[[Exchange], None] = tell_nobody) -> Tryton:
        """Calls that have the time they need."""
        return Tryton(session, CALL_S, tell)

    async def call(self, method: str, *params: Any, user: str = "admin") -> Any:
        """One call as *user*, with the user's own context; signed in once, which takes Tryton half a second."""
        async with self.calls(self._sessions.setdefault(user, self.session(user))) as tryton:
            return await tryton.call(method, *params)
