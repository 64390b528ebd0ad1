"""A throw-away PostgreSQL for tests: its own folder, its own port, ended by its own process id.

PostgreSQL refuses to run as root; started by root we hand folder and processes to the user `postgres` (or `nobody`).
Rule: nothing of an installed cluster is touched. Invariant: after `close` neither process nor folder is left.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Literal, Self

from tests.support.processes import free_port

START_DEADLINE_S = 60.0
STOP_DEADLINE_S = 60.0
PORT_ATTEMPTS_MAX = 5
CONNECTIONS_MAX = 200
EMPTY = "template0"
"""The database of every server that nothing is in."""
DONE = "that was all of it"

StopMode = Literal["smart", "fast", "immediate"]
STOP_SIGNALS: dict[StopMode, signal.Signals] = {
    "smart": signal.SIGTERM,  # waits for the clients
    "fast": signal.SIGINT,  # ends them, writes a checkpoint
    "immediate": getattr(signal, "SIGQUIT", signal.SIGTERM),  # as a power cut: recovery at the next start
}


class PostgresUnavailable(Exception):
    """No PostgreSQL server program on this machine; the text says how to get one."""


class PostgresFailed(Exception):
    """The server did not start or stop; the text holds the end of its log."""


def find_postgres() -> Path:
    """Return the folder of the newest server programs.

    Raises:
        PostgresUnavailable: there are none.
    """

    def version(folder: Path) -> float:
        try:
            return float(folder.parent.name)
        except ValueError:
            return 0.0

    roots = (Path("/usr/lib/postgresql"), Path("/opt/homebrew/opt"), Path("C:/Program Files/PostgreSQL"))
    folders = [folder for root in roots for folder in root.glob("*/bin") if any(folder.glob("initdb*"))]
    if folders:
        return max(folders, key=version)
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    raise PostgresUnavailable("no initdb on this machine; on Debian: sudo apt install postgresql-15")


def _server_user() -> str | None:
    """Return the user the server runs as, or None for our own."""
    if sys.platform == "win32" or os.geteuid() != 0:
        return None
    import pwd

    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        return "nobody"


class PostgresCluster:
    """One server with its data in a temporary folder.

    Args:
        fsync: off makes tests quick where no power cut is played.
        settings: more server settings, by name.
    """

    def __init__(self, *, fsync: bool = True, settings: dict[str, str] | None = None) -> None:
        self.programs = find_postgres()
        self.fsync = fsync
        self.settings = settings or {}
        self.port = 0
        self._user = _server_user()
        self._folder: Path | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._databases = 0
        self._psql: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def folder(self) -> Path:
        assert self._folder is not None, "the cluster was never started"
        return self._folder

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    @property
    def pid(self) -> int:
        assert self._server is not None, "the cluster does not run"
        return self._server.pid

    def is_running(self) -> bool:
        return self._server is not None and self._server.poll() is None

    def start(self) -> None:
        """Start the server and wait until it answers; after a stop it comes back with its data and port."""
        if self.is_running():
            return
        if self._folder is None:
            self._make_folder()
        for _ in range(PORT_ATTEMPTS_MAX):
            self.port = self.port or free_port()
            self._launch()
            if self._wait_until_ready():
                return
            taken = "Address already in use" in self._log_tail()
            self._server = None
            if not taken:
                break
            self.port = 0
        raise PostgresFailed(f"PostgreSQL did not start; the end of its log:\n{self._log_tail()}")

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop the server and keep its data."""
        self._end_psql()
        server, self._server = self._server, None
        if server is None or server.poll() is not None:
            return
        server.send_signal(STOP_SIGNALS[mode])
        try:
            server.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
            raise PostgresFailed(
                f"PostgreSQL did not stop ({mode}) in {STOP_DEADLINE_S:.0f} s; log:\n{self._log_tail()}"
            ) from None

    def close(self) -> None:
        """Stop the server and remove its data."""
        try:
            self.stop("immediate")
        finally:
            folder, self._folder = self._folder, None
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)

    def create_database(self, original: str = EMPTY) -> str:
        """Make a copy of *original*, to which nobody is connected; its URL for SQLAlchemy with asyncpg."""
        self._databases += 1
        name = f"test_{self._databases}"
        self._administer(f"CREATE DATABASE {name} TEMPLATE {original} STRATEGY file_copy")
        return f"postgresql+asyncpg://counterflow@127.0.0.1:{self.port}/{name}"

    def drop_database(self, url: str) -> None:
        """Remove the database of *url*, with whoever is still connected to it."""
        self._administer(f"DROP DATABASE IF EXISTS {url.rpartition('/')[2]} WITH (FORCE)")

    def run_sql(self, statement: str, database: str = "postgres") -> str:
        """Run one statement with psql and return its bare output."""
        done = subprocess.run(
            [*self._psql_argv(database), "-c", statement],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if done.returncode != 0:
            raise PostgresFailed(f"{statement}: {done.stderr.strip()}")
        return done.stdout.strip()

    def _administer(self, statement: str) -> None:
        """Run one statement in a psql that stays: its start takes as long as making a database."""
        psql = self._psql
        if psql is None or psql.poll() is not None:
            psql = self._psql = subprocess.Popen(
                self._psql_argv("postgres"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        assert psql.stdin is not None
        assert psql.stdout is not None
        said = ""
        with contextlib.suppress(BrokenPipeError):
            psql.stdin.write(f"{statement};\n\\echo {DONE}\n")
            psql.stdin.flush()
        for line in psql.stdout:
            if line.strip() == DONE:
                return
            said += line
        self._end_psql()
        raise PostgresFailed(f"{statement}: {said.strip()}")

    def _end_psql(self) -> None:
        psql, self._psql = self._psql, None
        if psql is not None:
            psql.kill()
            psql.communicate()

    def _psql_argv(self, database: str) -> list[str]:
        argv = [str(self.programs / "psql"), "-h", "127.0.0.1", "-p", str(self.port), "-U", "counterflow"]
        argv += ["-d", database, "--no-psqlrc", "--quiet", "--tuples-only", "--no-align"]
        return [*argv, "-v", "ON_ERROR_STOP=1"]

    def _make_folder(self) -> None:
        # Not pytest's tmp_path: its parents are closed to other users.
        self._folder = Path(tempfile.mkdtemp(prefix="counterflow-postgres-"))
        if self._user is not None:
            shutil.chown(self._folder, self._user)
        argv = [
            str(self.programs / "initdb"),
            "--pgdata",
            str(self._folder / "data"),
            "--username",
            "counterflow",
        ]
        argv += ["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"]
        try:
            subprocess.run(
                argv, check=True, capture_output=True, text=True, cwd=self._folder, **self._as_user()
            )
        except subprocess.CalledProcessError as error:
            self.close()
            raise PostgresFailed(f"initdb failed: {error.stderr}") from error

    def _launch(self) -> None:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": str(CONNECTIONS_MAX),
            "fsync": "on" if self.fsync else "off",
            "full_page_writes": "on" if self.fsync else "off",
            **self.settings,
        }
        argv = [str(self.programs / "postgres"), "-D", str(self.folder / "data")]
        for name, value in settings.items():
            argv += ["-c", f"{name}={value}"]
        with open(self.log, "ab") as log:
            self._server = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, **self._as_user()
            )

    def _as_user(self) -> dict[str, Any]:
        if self._user is None:
            return {}
        import grp
        import pwd

        group = grp.getgrgid(pwd.getpwnam(self._user).pw_gid).gr_name
        return {"user": self._user, "group": group, "extra_groups": []}

    def _wait_until_ready(self) -> bool:
        # The server writes its state into the eighth line of this file.
        pid_file = self.folder / "data" / "postmaster.pid"
        deadline = time.monotonic() + START_DEADLINE_S
        while time.monotonic() < deadline and self.is_running():
            try:
                lines = pid_file.read_text(encoding="ascii").splitlines()
            except OSError:
                lines = []
            if len(lines) > 7 and lines[7].strip() == "ready" and lines[0].strip() == str(self.pid):
                return True
            time.sleep(0.02)
        if self._server is not None and self._server.poll() is None:
            self._server.kill()
            self._server.wait()
        return False

    def _log_tail(self) -> str:
        try:
            return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])
        except OSError as error:
            return f"(no log: {error})"
