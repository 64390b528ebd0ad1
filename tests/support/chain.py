"""A whole chain of shops on one machine: a centre and its stations as real processes, with a line that can be cut.

Everything goes over the real path: the command lines set up, HTTP sells and asks, files come and go in the drop
folder. Each station reaches the centre through a `FaultProxy` of its own.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import aiohttp

from edge_agent.db.reader import JournalReader
from edge_agent.verify import Finding, verify
from shared.documents import KINDS
from tests.support.postgres import PostgresCluster
from tests.support.processes import ROOT, Process, python
from tests.support.proxy import FaultProxy
from tests.support.template import Template, Templates

STORE = "S1"
PRICE_LIST = "retail"
POLL_S = 0.1
COMMAND_POLL_S = 0.01


# Below the ports that outgoing connections get: a process that is down for a moment must find its own free again.
_ports = itertools.cycle(range(10_000 + os.getpid() % 100 * 200, 32_000))


class ChainFailed(AssertionError):
    """A command or a request of the test's own failed; the text holds what it answered."""


def lasting_port() -> int:
    """Return a port that nothing listens on, and that no connection of anybody's takes while its owner is down."""
    for port in itertools.islice(_ports, 10_000):
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ChainFailed("none of 10,000 ports is free")


async def run_command(*args: str, env: Mapping[str, str], template: Template | None = None) -> str:
    """Run one of our command lines, of *template* if that is loaded, and return what it printed on stdout."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "PYTHONPATH": path, **env}
    if template is not None:
        code, out, err = await _fork(template, args[1:], environment)
    else:
        process = await asyncio.create_subprocess_exec(
            *python("-m", *args),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, err = await process.communicate()
        code = await process.wait()
    if code != 0:
        raise ChainFailed(f"{' '.join(args)} ended with {code}:\n{err.decode()}{out.decode()}")
    return out.decode()


async def _fork(
    template: Template, arguments: Sequence[str], env: Mapping[str, str]
) -> tuple[int, bytes, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        process = template.start(arguments, env, Path.cwd(), err, out)
        while True:
            await asyncio.sleep(COMMAND_POLL_S)
            code = process.poll()
            if code is not None:
                return code, out.read_bytes(), err.read_bytes()


@dataclass
class Station:
    """One till: its agent's process, its local API, its line to the centre."""

    code: str
    folder: Path
    port: int
    proxy: FaultProxy
    process: Process
    http: aiohttp.ClientSession
    accepted: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What the till was told is accepted, by document, in that order."""
    cut_off: int = 0
    """Sales that were under way when the agent died; each was handed in again."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def headers(self) -> dict[str, str]:
        token = (self.folder / "token").read_text(encoding="ascii").strip()
        return {"Authorization": f"Bearer {token}"}

    async def start(self) -> None:
        self.process.start()
        await self.process.wait_until_healthy(self.url)

    async def restart_after_kill(self) -> None:
        """A power cut, and on again."""
        self.process.kill()
        await self.start()

    async def sell(self, submission: Mapping[str, Any], key: str) -> tuple[int, dict[str, Any]]:
        """Hand in a document as POS software does: again with the same key until there is an answer."""
        body = json.dumps(submission).encode()
        while True:
            try:
                headers = {**self.headers(), "Idempotency-Key": key, "Content-Type": "application/json"}
                async with self.http.post(f"{self.url}/v1/documents", data=body, headers=headers) as reply:
                    answer = await reply.json(content_type=None)
                if reply.status in (200, 201):
                    if answer["doc_id"] in self.accepted:
                        raise ChainFailed(f"{self.code}: another sale got {answer['doc_id']} before {key}")
                    self.accepted[answer["doc_id"]] = answer
                return reply.status, answer
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(POLL_S)  # it does not run
            except (aiohttp.ClientError, ConnectionError, TimeoutError):
                self.cut_off += 1

    async def get(self, path: str) -> dict[str, Any]:
        async with self.http.get(self.url + path, headers=self.headers()) as answer:
            body = await answer.json(content_type=None)
            if answer.status != 200:
                raise ChainFailed(f"{self.code} {path}: {answer.status} {body}")
            return body

    async def knows(self, doc_id: str) -> bool:
        """Whether the station can show a document, as a return needs it."""
        async with self.http.get(f"{self.url}/v1/documents/{doc_id}", headers=self.headers()) as answer:
            return answer.status == 200

    async def sync(self) -> None:
        async with self.http.post(f"{self.url}/v1/sync", headers=self.headers()) as answer:
            await answer.read()

    async def findings(self) -> list[Finding]:
        """What `verify` finds in the journal, beside the running agent."""
        journal = await JournalReader.open_existing(self.folder / "journal.db")
        try:
            return await verify(journal)
        finally:
            await journal.close()

    async def verify(self) -> dict[str, Any]:
        """`counterflow-agent verify --json`; raises when it finds anything."""
        return json.loads(
            await run_command("edge_agent.cli", "verify", "--json", "--data-dir", str(self.folder), env={})
        )


class Chain:
    """A centre of one or more nodes and its stations. Use as `async with`; nothing of it is left behind.

    Args:
        folder: an empty folder for all databases, logs and files.
        stations: how many tills, all of one store.
        cluster: a running PostgreSQL, or None for SQLite.
        nodes: central processes (more than one needs PostgreSQL).
        agent_env, central_env: more variables for the processes.
        templates: the two programs loaded already, centre and agent; for tests that start them often.
        has_drop: whether a drop folder takes every kind of document.
    """

    def __init__(
        self,
        folder: Path,
        *,
        stations: int = 1,
        cluster: PostgresCluster | None = None,
        nodes: int = 1,
        currency: str = "EUR",
        agent_env: Mapping[str, str] | None = None,
        central_env: Mapping[str, str] | None = None,
        templates: Templates | None = None,
        has_drop: bool = True,
    ) -> None:
        self.folder = folder
        self.templates = templates or Templates()
        self.count = stations
        self.cluster = cluster
        self.currency = currency
        self.agent_env = {
            "COUNTERFLOW_AGENT_PUSH_INTERVAL_S": "1",
            "COUNTERFLOW_AGENT_REPORT_INTERVAL_S": "5",
            **(agent_env or {}),
        }
        self.central_env = {"COUNTERFLOW_CENTRAL_DATA_DIR": str(folder / "centre"), **(central_env or {})}
        self.node_ports = [lasting_port() for _ in range(nodes)]
        self.nodes: list[Process] = []
        self.stations: list[Station] = []
        self.machines: list[Station] = []  # also those that are gone
        self.brought: set[str] = set()  # documents that were accepted from somebody else
        self.kept_back: set[str] = set()  # documents that are at the centre and not delivered, as they should
        self.proxies: list[FaultProxy] = []
        self._more = itertools.count(1)
        self._read: dict[tuple[str, int], list[dict[str, Any]]] = {}
        self.has_drop = has_drop
        self.drop = folder / "erp"
        self.key = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.node_ports[0]}"

    def node_urls(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self.node_ports]

    @property
    def cli_env(self) -> dict[str, str]:
        return {**self.central_env, "COUNTERFLOW_URL": self.url, "COUNTERFLOW_KEY": self.key}

    async def __aenter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "centre").mkdir(exist_ok=True)
        self.http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))
        try:
            await self._start_centre()
            await self._register()
            for number in range(1, self.count + 1):
                node = self.node_ports[(number - 1) % len(self.node_ports)]
                self.stations.append(await self.machine(f"{STORE}-T{number}", node_port=node))
            await asyncio.gather(*map(self._enrol, self.stations))
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def kill(self) -> None:
        """A power cut of everything: quicker than `close`, for tests that do not ask what a clean stop does."""
        for process in (*self.nodes, *(machine.process for machine in self.machines)):
            process.kill()

    async def close(self) -> None:
        for station in self.stations:
            station.process.terminate()
        for station in self.stations:
            await station.process.stop()
        for node in self.nodes:
            await node.stop()
        for proxy in self.proxies:
            await proxy.stop()
        await self.http.close()

    # ---- the centre ----

    async def _start_centre(self) -> None:
        if self.cluster is not None:
            self.central_env["COUNTERFLOW_CENTRAL_DATABASE_URL"] = await asyncio.to_thread(
                self.cluster.create_database
            )
        printed = await run_command(
            "central.cli", "init", "--json", env=self.central_env, template=self.templates.centre
        )
        self.key = json.loads(printed)["key"]
        for number, port in enumerate(self.node_ports, 1):
            env = {**self.central_env, "COUNTERFLOW_CENTRAL_PORT": str(port)}
            if number > 1:
                env["COUNTERFLOW_CENTRAL_DATA_DIR"] = str(self.folder / f"centre-{number}")
            argv = python("-m", "central.cli", "run")
            node = Process(f"centre-{number}", argv, self.folder, env=env, template=self.templates.centre)
            self.nodes.append(node)
            node.start()
            await node.wait_until_healthy(f"http://127.0.0.1:{port}")

    async def restart_centre(self, number: int = 0) -> None:
        """A power cut of one node, and on again."""
        self.nodes[number].kill()
        self.nodes[number].start()
        await self.nodes[number].wait_until_healthy(f"http://127.0.0.1:{self.node_ports[number]}")

    async def admin(self, method: str, path: str, body: Any = None) -> Any:
        """A call of the admin API; raises with the problem document when it refuses."""
        async with self.http.request(
            method, f"{self.url}/v1/admin{path}", json=body, headers={"Authorization": f"Bearer {self.key}"}
        ) as answer:
            text = await answer.text()
            if answer.status >= 300:
                raise ChainFailed(f"{method} {path}: {answer.status} {text}")
            return json.loads(text) if text else None

    async def central(self, *args: str) -> str:
        """A command of `counterflow-central`, as HQ types it."""
        return await run_command("central.cli", *args, env=self.cli_env, template=self.templates.centre)

    async def agent(self, *args: str) -> str:
        """A command of `counterflow-agent`, as it is typed on a till."""
        return await run_command("edge_agent.cli", *args, env=self.agent_env, template=self.templates.agent)

    async def _register(self) -> None:
        store = {"code": STORE, "zone": "Europe/Berlin", "currency": self.currency, "price_list": PRICE_LIST}
        await self.admin("POST", "/stores", store)
        if not self.has_drop:
            return
        self.drop.mkdir(exist_ok=True)
        await self.admin(
            "POST",
            "/integrations",
            {
                "name": "erp",
                "connector": "drop_folder",
                "settings": {"folder": str(self.drop), "settle_s": 0.2},
                "kinds": list(KINDS),
            },
        )

    # ---- stations ----

    async def machine(
        self,
        code: str,
        *,
        folder: Path | None = None,
        node_port: int = 0,
        env: Mapping[str, str] | None = None,
    ) -> Station:
        """A machine with a line of its own, where an agent is to run as station *code*."""
        folder, port = folder or self.folder / code, lasting_port()
        proxy = FaultProxy(f"127.0.0.1:{node_port or self.node_ports[0]}")
        await proxy.start()
        self.proxies.append(proxy)
        argv = python("-m", "edge_agent.cli", "run", "--data-dir", str(folder), "--port", str(port))
        # A library that is to be loaded before the program (libfaketime) needs a start from nothing.
        template = None if "LD_PRELOAD" in (env or {}) else self.templates.agent
        process = Process(
            folder.name, argv, self.folder, env={**self.agent_env, **(env or {})}, template=template
        )
        station = Station(code, folder, port, proxy, process, self.http)
        self.machines.append(station)
        return station

    @asynccontextmanager
    async def one_more(
        self, *, folder: Path | None = None, env: Mapping[str, str] | None = None
    ) -> AsyncIterator[Station]:
        """One more till of the store, for the length of the block."""
        station = await self.machine(f"{STORE}-X{next(self._more)}", folder=folder, env=env)
        self.stations.append(station)
        try:
            await self._enrol(station)
            yield station
        finally:
            station.process.kill()
            self.stations.remove(station)

    async def _enrol(self, station: Station) -> None:
        made = await self.admin("POST", "/stations", {"code": station.code, "store": STORE})
        target = ["--server", station.proxy.url, "--data-dir", str(station.folder)]
        await self.agent("enroll", made["enrolment_code"], *target)
        await station.start()

    def cut_line(self) -> None:
        for proxy in self.proxies:
            proxy.mode("cut")

    def restore_line(self) -> None:
        for proxy in self.proxies:
            proxy.mode("pass")

    # ---- waiting for what must come true ----

    async def until(
        self, told: str, reached: Callable[[], Awaitable[bool]], deadline_s: float = 60.0
    ) -> float:
        """Ask again until it holds; returns the seconds that it took."""
        start = time.monotonic()
        while not await reached():
            if time.monotonic() - start > deadline_s:
                tails = "\n".join(
                    process.log_tail(15) for process in [*self.nodes, *(s.process for s in self.stations)]
                )
                raise ChainFailed(f"{told}: not within {deadline_s:.0f} s\n{tails}")
            await asyncio.sleep(POLL_S)
        return time.monotonic() - start

    async def scopes(self) -> dict[str, dict[str, Any]]:
        """What the centre offers, by scope."""
        return {scope["scope"]: scope for scope in (await self.admin("GET", "/status"))["scopes"]}

    async def backlog_is_empty(self) -> bool:
        return all([(await station.get("/v1/station"))["backlog"] == 0 for station in self.stations])

    def accepted(self) -> set[str]:
        """Every document that anybody was told is accepted."""
        return self.brought.union(*(machine.accepted for machine in self.machines))

    async def catalogs_agree(self) -> bool:
        """Whether every station has exactly the rows that the centre offers it."""
        offered = {
            name: (scope["gen"], scope["head"], scope["rows"], scope["digest"])
            for name, scope in (await self.scopes()).items()
        }
        for station in self.stations:
            page = await station.get("/v1/station")
            have = {
                scope["scope"]: (scope["gen"], scope["seq"], scope["count"], scope["digest"])
                for scope in page["scopes"]
            }
            wanted = {
                name for name in offered if name in ("base", f"pricelist/{PRICE_LIST}", f"store/{STORE}")
            }
            if not wanted <= have.keys() or any(offered.get(name) != scope for name, scope in have.items()):
                return False
        return True

    # ---- the drop folder ----

    def drop_file(self, name: str, text: str) -> None:
        """HQ drops a file: written aside, then renamed."""
        folder = self.drop / "in"
        part = folder / f"{name}.part"
        part.write_text(text, encoding="utf-8")
        part.rename(folder / name)

    def delivered(self) -> list[dict[str, Any]]:
        """Every line of every file that went out."""
        for folder in (self.drop / "out", self.drop / "taken"):
            for file in sorted(folder.glob("*.ndjson")):
                seen = (file.name, file.stat().st_ino)  # one that was written again counts again
                if seen not in self._read:
                    text = file.read_text(encoding="utf-8")
                    self._read[seen] = [json.loads(line) for line in text.splitlines()]
        return [line for lines in self._read.values() for line in lines]
