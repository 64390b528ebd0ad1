"""The shipped processes under the stopwatch: one centre, and stations that reach it without anything between.

A race is started by waking a process that was held with its next request already sent: the centre for what goes up
and for a station's first load, the agent for what comes down. So neither a start nor a back-off is measured.
Whether the work is done is read from the databases, so that nobody is asked questions while under the stopwatch.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Self

import asyncpg
import psutil
import pysqlite3 as sqlite3

from shared.documents import KINDS
from tests.benchmarks import items
from tests.benchmarks.fleet_spec import Spec
from tests.support.chain import STORE, Chain, Station, run_command
from tests.support.postgres import PostgresCluster
from tests.support.processes import ROOT, Process, free_port, python
from tests.support.proxy import FaultProxy

LOOK_S = 0.004
"""Between two looks at a database under the stopwatch: below one in a hundred of what is measured."""
DEADLINE_S = 60.0
ANSWER_MAX_BYTES = 16 << 20


class Unfinished(AssertionError):
    """The work was not done, or not done right; the text says what is there."""


class Rig(Chain):
    """A centre with a drop folder enabled; stations are added by hand."""

    def __init__(self, folder: Path, cluster: PostgresCluster | None = None) -> None:
        super().__init__(folder, stations=0, cluster=cluster)
        self.fleets: list[Path] = []
        self.agent_env = {"COUNTERFLOW_AGENT_LOG_LEVEL": "warning"}
        self.central_env["COUNTERFLOW_CENTRAL_LOG_LEVEL"] = "warning"

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self.rows = CentreRows(self.folder / "centre" / "central.db", self.central_env)
        return self

    async def __aexit__(self, *raised: object) -> None:
        if raised[0] is not None:
            for process in [*self.nodes, *(station.process for station in self.stations)]:
                print(f"---- the end of {process.log_file.name}\n{process.log_tail()}", file=sys.stderr)
        await super().__aexit__(*raised)

    async def close(self) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            self.resume(self.nodes[0])
        await super().close()
        if self.cluster is not None and (url := self.central_env.get("COUNTERFLOW_CENTRAL_DATABASE_URL")):
            await asyncio.to_thread(self.cluster.drop_database, url)

    async def _register(self) -> None:
        await self.admin(
            "POST", "/stores", {"code": STORE, "zone": "Europe/Berlin", "currency": self.currency}
        )
        self.drop.mkdir(exist_ok=True)
        drop_folder = {"name": "erp", "connector": "drop_folder", "kinds": list(KINDS)}
        settings = {"folder": str(self.drop), "settle_s": 0.2}
        await self.admin("POST", "/integrations", {**drop_folder, "settings": settings})

    # ---- stations ----

    async def enrolment_code(self, code: str) -> str:
        answer = await self.admin("POST", "/stations", {"code": code, "store": STORE})
        return str(answer["enrolment_code"])

    async def add(self, code: str, *, counted: bool = False) -> Station:
        """Enrol a station; its agent is not started. *counted* puts a proxy between that counts bytes."""
        proxy = FaultProxy(f"127.0.0.1:{self.node_ports[0]}")
        if counted:
            await proxy.start()
            self.proxies.append(proxy)
        folder, port = self.folder / code, free_port()
        data = ["--data-dir", str(folder)]
        server = proxy.url if counted else self.url
        enrolment_code = await self.enrolment_code(code)
        await run_command(
            "edge_agent.cli", "enroll", enrolment_code, "--server", server, *data, env=self.agent_env
        )
        argv = python("-m", "edge_agent.cli", "run", *data, "--port", str(port))
        process = Process(code, argv, self.folder, env=self.agent_env)
        station = Station(code, folder, port, proxy, process, self.http)
        self.stations.append(station)
        return station

    async def fleet(self, count: int, **options: Any) -> Spec:
        """What a fleet of *count* new stations is told."""
        codes = [f"{STORE}-F{len(self.fleets)}-{number}" for number in range(1, count + 1)]
        folder = self.folder / f"fleet-{len(self.fleets)}"
        folder.mkdir()
        self.fleets.append(folder)
        stations = {code: await self.enrolment_code(code) for code in codes}
        return Spec(str(folder), self.url, stations, **options)

    # ---- holding and waking ----

    def pause(self, process: Process) -> None:
        psutil.Process(process.pid).suspend()

    def resume(self, process: Process) -> None:
        psutil.Process(process.pid).resume()

    def cpu_s(self, process: Process) -> float:
        times = psutil.Process(process.pid).cpu_times()
        return float(times.user + times.system)

    # ---- the catalog ----

    async def publish(self, name: str, products: list[dict[str, Any]], mode: str) -> int:
        """Bring *products* in through the drop folder and wait until they are published; returns the scope's head."""
        text = await asyncio.to_thread(items.file, products, mode)
        await asyncio.to_thread(self.drop_file, f"{name}.ndjson", text)
        report = self.drop / "done" / f"{name}.ndjson.report.json"
        await until(f"{name} is published", lambda: asyncio.to_thread(report.exists), look_s=0.05)
        return await self.rows.head("base")

    async def snapshot_is_built(self, head: int) -> bool:
        """Whether a snapshot offers everything up to *head*: one of half a list would be loaded first."""
        return await self.rows.one(f"SELECT count(*) FROM snapshots WHERE built_ms > 0 AND seq >= {head}") > 0


class Fleet:
    """A fleet's process; `go` starts the race that it has prepared."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    @contextlib.asynccontextmanager
    async def started(cls, task: str, spec: Spec) -> AsyncIterator[Self]:
        folder = Path(spec.folder)
        file = folder / "fleet.json"
        await asyncio.to_thread(file.write_text, spec.as_json(), encoding="utf-8")
        process = await asyncio.create_subprocess_exec(
            *python("-m", "tests.benchmarks.fleet", task, str(file)),
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=ANSWER_MAX_BYTES,
        )
        try:
            yield cls(process)
        finally:
            if process.stdin is not None:
                process.stdin.close()
            try:
                async with asyncio.timeout(DEADLINE_S):
                    await process.wait()
            finally:
                if process.returncode is None:
                    process.kill()

    async def ready(self) -> None:
        line = await self._line()
        if line != "ready":
            raise Unfinished(f"the fleet said {line!r}; its complaint stands above")

    def go(self, number: int = 0) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"go {number}\n".encode())

    async def result(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(await self._line() or "{}")
        return answer

    async def _line(self) -> str:
        assert self._process.stdout is not None
        return (await self._process.stdout.readline()).decode().strip()


class CentreRows:
    """The centre's database, read beside it."""

    def __init__(self, path: Path, env: dict[str, str]) -> None:
        self._path = path
        self._url = env.get("COUNTERFLOW_CENTRAL_DATABASE_URL", "").replace("+asyncpg", "")

    @contextlib.asynccontextmanager
    async def reader(self) -> AsyncIterator[Callable[[str], Any]]:
        """One connection for many looks: a function from a query to its single value."""
        if self._url:
            connection = await asyncpg.connect(self._url)
            try:
                yield connection.fetchval
            finally:
                await connection.close()
        else:
            with contextlib.closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)) as raw:

                async def value(query: str) -> Any:
                    return raw.execute(query).fetchone()[0]

                yield value

    async def one(self, query: str) -> int:
        async with self.reader() as value:
            return int(await value(query))

    async def head(self, scope: str) -> int:
        return await self.one(f"SELECT coalesce(max(head), 0) FROM scopes WHERE scope = '{scope}'")

    async def wait_for_documents(self, count: int) -> None:
        """Until *count* documents are in the journal and none is pending."""
        async with self.reader() as value:

            async def reached() -> bool:
                if await value("SELECT coalesce(sum(last), 0) FROM epochs") < count:
                    return False
                return not await value("SELECT count(*) FROM (SELECT 1 FROM pending LIMIT 1) AS open")

            await until(f"{count} documents are applied", reached)

    async def check_documents(self, count: int) -> None:
        """Every document is there once, with its rows and its delivery.

        Raises:
            Unfinished: a count is another.
        """
        expected = {
            "bodies": count,
            "gate": count,
            "documents": count,
            "lines": 5 * count,
            "payments": 2 * count,
            "deliveries": count,
            "parked": 0,
            "waiting": 0,
            "held": 0,
        }
        async with self.reader() as value:
            found = {table: await value(f"SELECT count(*) FROM {table}") for table in expected}
        if found != expected:
            raise Unfinished(f"expected {expected}, found {found}")


async def until(
    told: str, reached: Callable[[], Any], *, look_s: float = LOOK_S, deadline_s: float = DEADLINE_S
) -> float:
    """Look again until it holds; returns the moment on the stopwatch."""
    deadline = time.perf_counter() + deadline_s
    while not await reached():
        if time.perf_counter() > deadline:
            raise Unfinished(f"{told}: not within {deadline_s:.0f} s")
        await asyncio.sleep(look_s)
    return time.perf_counter()
