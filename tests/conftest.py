"""What every test may ask for, and the groups that run.py chooses from.

Each test belongs to exactly one group: the most demanding of the markers it bears and of the folder it lies in.
With COUNTERFLOW_REQUIRE_ALL=1 a group of which nothing ran, only skips, is a failure: a machine that must run
everything may not pass by leaving something out.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hypothesis
import pytest
from _pytest.nodeid import NodeId

from tests.support.postgres import EMPTY, PostgresCluster, PostgresFailed, PostgresUnavailable
from tests.support.processes import Process
from tests.support.template import Template, Templates

# The most demanding first.
GROUPS = ("demo", "docs", "erp", "faults", "system", "simulation", "postgres", "unit")
FOLDERS = {name: name for name in GROUPS} | {"benchmarks": "system", "browser": "system"}
STARTING_PROCESSES = frozenset({"demo", "docs", "erp", "faults", "system"})

REQUIRE_ALL = os.environ.get("COUNTERFLOW_REQUIRE_ALL") == "1"
LONG = os.environ.get("COUNTERFLOW_LONG") == "1"
TESTS = Path(__file__).parent

# A busy machine is no failure of the code; the long run looks ten times as far.
hypothesis.settings.register_profile("short", deadline=None, print_blob=True)
hypothesis.settings.register_profile(
    "long", parent=hypothesis.settings.get_profile("short"), max_examples=1_000
)
hypothesis.settings.load_profile("long" if LONG else "short")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--group", action="append", choices=GROUPS, default=[], help="only this group; may be repeated"
    )


def group_of(markers: set[str], path: Path) -> str:
    """Return the group of a test from its markers and its file."""
    folders = path.relative_to(TESTS).parts[:-1] if path.is_relative_to(TESTS) else ()
    named = markers | {FOLDERS[folder] for folder in folders if folder in FOLDERS}
    return next((group for group in GROUPS if group in named), "unit")


def keep_together(item: pytest.Item, chain: str) -> None:
    """Let one of xdist's workers run all tests of a chain.

    xdist goes by the end of a test's id. Its own mark `xdist_group` writes it where pytest 9.2 no longer reads it, and
    says nothing (xdist 3.8.0); `tests/frame/test_groups.py` holds that this here works.
    """
    item._id = NodeId.parse(f"{item.nodeid}@{chain}")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = config.getoption("--group")
    kept: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        group = group_of({mark.name for mark in item.iter_markers()}, item.path)
        item.add_marker(group)
        item.user_properties.append(("group", group))
        if group in STARTING_PROCESSES and config.getoption("loadgroup", False):
            # One file's tests share a chain of processes, and follow each other; those of an ERP share its template.
            keep_together(item, group if group == "erp" else item.path.relative_to(TESTS).as_posix())
        (kept if not wanted or group in wanted else left_out).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept
    if os.environ.get("PYTEST_XDIST_WORKER"):
        # What takes longest and stays together comes first, what fills the last gaps comes last.
        items.sort(key=lambda item: GROUPS.index(dict(item.user_properties)["group"]))


class GroupReport:
    """Counts what ran in each group; on the process that reports, not on xdist's workers."""

    def __init__(self) -> None:
        self.ran: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        group = str(dict(report.user_properties).get("group", "unit"))
        self.seconds[group] += report.duration
        if report.skipped:
            self.skipped[group] += 1
        elif report.when == "call":
            self.ran[group] += 1

    def left_out(self) -> list[str]:
        """Return the groups of which every test was skipped."""
        return [group for group in GROUPS if self.skipped[group] and not self.ran[group]]

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if REQUIRE_ALL and self.left_out() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section("groups")
        for group in reversed(GROUPS):
            if self.ran[group] or self.skipped[group]:
                line = f"{group:<12}{self.ran[group]:>6} ran {self.skipped[group]:>5} skipped"
                terminalreporter.write_line(f"{line} {self.seconds[group]:>9.1f} s")
        if REQUIRE_ALL:
            for group in self.left_out():
                told = f"group {group}: everything was skipped, and COUNTERFLOW_REQUIRE_ALL wants it run"
                terminalreporter.write_line(f"ERROR {told}", red=True)


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(GroupReport(), "counterflow-groups")


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[PostgresCluster]:
    """One server for the whole run, with fsync off; a test of power cuts makes its own."""
    try:
        cluster = PostgresCluster(fsync=False)
    except PostgresUnavailable as reason:
        if REQUIRE_ALL:
            raise
        pytest.skip(str(reason))
    with cluster:
        yield cluster


@pytest.fixture
def postgres_url(postgres_cluster: PostgresCluster) -> Iterator[str]:
    """An empty PostgreSQL database of this test's own, as a URL for SQLAlchemy with asyncpg."""
    yield from _own_database(postgres_cluster, EMPTY)


def _own_database(cluster: PostgresCluster, original: str) -> Iterator[str]:
    url = cluster.create_database(original)
    yield url
    try:
        cluster.drop_database(url)
    except PostgresFailed:
        if cluster.is_running():
            raise


ON_BOTH = ("sqlite", pytest.param("postgres", marks=pytest.mark.postgres))


@pytest.fixture(params=ON_BOTH)
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without a table, once on SQLite and once on PostgreSQL: the same test runs on both."""
    if request.param == "sqlite":
        return _sqlite_url(tmp_path / "central.db")
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture(params=ON_BOTH)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database with all tables and nothing in them, once on SQLite and once on PostgreSQL.

    Each is a copy: making the tables takes longer than most tests take with them.
    """
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_with_tables"), tmp_path / "central.db")
        yield _sqlite_url(tmp_path / "central.db")
        return
    original = request.getfixturevalue("postgres_with_tables")
    yield from _own_database(request.getfixturevalue("postgres_cluster"), original)


@pytest.fixture(scope="session")
def sqlite_with_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("tables") / "central.db"
    _make_tables(_sqlite_url(file))
    return file


@pytest.fixture(scope="session")
def postgres_with_tables(postgres_cluster: PostgresCluster) -> str:
    url = postgres_cluster.create_database()
    _make_tables(url)
    return url.rpartition("/")[2]


def _sqlite_url(file: Path) -> str:
    return f"sqlite+aiosqlite:///{file}"


def _make_tables(url: str) -> None:
    from central.db.database import Database  # here: tests of the frame alone know nothing of the product

    async def make() -> None:
        database = Database(url)
        await database.create()
        await database.close()

    with ThreadPoolExecutor(1) as thread:  # a loop of its own beside the tests'
        thread.submit(asyncio.run, make()).result()


@pytest.fixture(scope="session")
def tryton_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Tryton database with a company in it, for `TrytonServer` to copy; made once, in a minute."""
    from tests.support.tryton import TrytonUnavailable, make_template

    try:
        return make_template(tmp_path_factory.mktemp("tryton"))
    except TrytonUnavailable as reason:
        if REQUIRE_ALL:
            raise
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def templates() -> Iterator[Templates]:
    """Both programs loaded once for all starts; where processes cannot be forked safely, each start loads them."""
    if sys.platform != "linux":
        yield Templates()
        return
    with Template("central.cli") as centre, Template("edge_agent.cli") as agent:
        yield Templates(centre, agent)


@pytest.fixture
async def processes(tmp_path: Path) -> AsyncIterator[Callable[..., Process]]:
    """Start processes of ours that do not outlive the test: `processes("centre", python("-m", "central.cli"))`."""
    started: list[Process] = []

    def start(name: str, argv: list[str], **options: object) -> Process:
        process = Process(name, argv, tmp_path, **options)  # type: ignore[arg-type]
        started.append(process)
        process.start()
        return process

    yield start
    for process in reversed(started):
        process.kill()
        print(
            f"---- the end of {process.log_file.name}\n{process.log_tail()}"
        )  # pytest shows it when a test failed
