"""The station put together: which parts there are, what each is given, in which order they start and stop.

Nothing is decided here. The order is that of selling: lock, identity, journal, then the local API listens; the lines
to the centre come after, since no sale waits for them. Stopping is the reverse.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import signal
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from aiohttp import web

from edge_agent import identity, logs
from edge_agent.api import lookup
from edge_agent.api.auth import Guard, load_token
from edge_agent.api.local import LocalApi
from edge_agent.config import AgentConfig
from edge_agent.db.catalog import Catalog
from edge_agent.db.journal import Journal
from edge_agent.enrolment import versions
from edge_agent.identity import Identity
from edge_agent.intake.accept import Intake
from edge_agent.intake.spool import Spool, watch
from edge_agent.keyfile import write_durably
from edge_agent.local_client import HOST, PORT_FILE, TOKEN_FILE
from edge_agent.lock import InstanceLock
from edge_agent.retention import Retention
from edge_agent.status import StationStatus
from edge_agent.sync.client import CentreClient, Route
from edge_agent.sync.contact import OUTWARD, Contact
from edge_agent.sync.download import DownloadLine
from edge_agent.sync.drain import DrainLine
from edge_agent.sync.loop import Line, keep_going
from edge_agent.sync.report import ReportLine
from edge_agent.sync.sessions import SessionHolder
from edge_agent.sync.upload import UploadLine
from shared.clock import Clock, SystemClock
from shared.errors import Busy, CannotStore

log = logging.getLogger(__name__)

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
STOP_GRACE_S = 3.0
"""A sale under way gets so long to be answered when the agent stops."""


class Agent:
    """All parts of one station on an open journal. Built by `running`."""

    def __init__(
        self, config: AgentConfig, me: Identity, journal: Journal, catalog: Catalog, clock: Clock
    ) -> None:
        self.config = config
        self.me = me
        self.journal = journal
        self.catalog = catalog
        self.clock = clock
        self.contact = Contact()
        self.versions = versions()
        self._wakes: dict[str, asyncio.Event] = {name: asyncio.Event() for name in OUTWARD}
        self._hurries: dict[str, asyncio.Event] = {name: asyncio.Event() for name in self._wakes}
        self.intake = Intake(
            journal,
            store=me.record.store,
            zone=me.record.zone,
            clock=clock,
            contact=self.contact,
            boot=_boot_id(),
            grew=self._wakes["upload"],
        )
        self.route = Route(config.server_url or me.record.server_url, config.ca_file, config.proxy)
        self.client = CentreClient(self.route)
        self.sessions = SessionHolder(me, journal, self.client, self.contact, clock, self.versions)
        self.upload = UploadLine(
            me,
            journal,
            self.client,
            self.sessions,
            self.contact,
            clock,
            rest_s=config.push_interval_s,
            batch_documents=config.push_batch_documents,
        )
        self.download = DownloadLine(
            catalog,
            self.client,
            self.sessions,
            config.data_dir / "snapshots",
            clock=clock,
            wake=self._wakes["download"],
            changed=self._wakes["report"].set,
            poked=self.sync_now,
            wait_s=config.wait_timeout_s,
        )
        self.drains = [
            DrainLine(folder, self.route, clock, self.versions)
            for folder in identity.archives(config.data_dir)
        ]
        self.status = StationStatus(
            config,
            me,
            journal,
            catalog,
            self.download,
            self.contact,
            clock,
            self.versions,
            [drain.name for drain in self.drains],
        )
        self.retention = Retention(journal, config.spool_folder, clock, retention_days=config.retention_days)
        self.spool: Spool | None = None
        if config.spool:
            self.spool = Spool(config.spool_folder, self.intake, clock, interval_s=config.spool_interval_s)
        self.report = ReportLine(
            journal,
            catalog,
            self.client,
            self.sessions,
            self.contact,
            clock,
            self.status.facts,
            lambda: self.download.poke,
            interval_s=config.report_interval_s,
            versions=self.versions,
        )

    def sync_now(self) -> None:
        """Somebody asks for it: a new session, and every line ends its rest or its pause."""
        # Two machines with one identity are found by their sessions; nobody should wait ten minutes for that.
        self.sessions.renew()
        for name, wake in self._wakes.items():
            wake.set()
            self._hurries[name].set()

    # ---- running ----

    @contextlib.asynccontextmanager
    async def lines(self) -> AsyncIterator[None]:
        """Keep the lines to the centre going for the length of the block."""
        outward: list[Line] = [self.upload, self.download, self.report]
        inward: list[Line] = [self.retention, *self.drains]
        tasks = [
            self._task(line, self._wakes[line.name], self._hurries[line.name], self.contact.lost)
            for line in outward
        ]
        tasks += [self._task(line, asyncio.Event()) for line in inward]
        if self.spool is not None:
            dropped = asyncio.Event()
            tasks.append(self._task(self.spool, dropped))
            if not self.config.spool_polling:
                tasks.append(asyncio.create_task(self._watch_spool(dropped), name="watch"))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for drain in self.drains:
                await drain.close()
            await self.client.close()

    async def _watch_spool(self, dropped: asyncio.Event) -> None:
        """Wake the spool by events; without them (a share, no more handles) it still looks by time.

        A spool that nobody ever used is looked at by time alone: watching costs 2 MB.
        """
        folder = self.config.spool_folder
        while not await asyncio.to_thread(_is_used, folder):
            await self.clock.sleep(self.config.spool_interval_s)
        try:
            await watch(folder, dropped)
        except Exception as error:
            log.warning("spool_not_watched", extra={"folder": str(folder), "why": str(error)})

    def _task(
        self,
        line: Line,
        wake: asyncio.Event,
        hurry: asyncio.Event | None = None,
        lost: Callable[[str], None] = lambda why: None,
    ) -> asyncio.Task[None]:
        return asyncio.create_task(
            keep_going(line, self.clock, wake, random.Random(), hurry, lost, self.contact.broke),
            name=line.name,
        )


@contextlib.asynccontextmanager
async def opened(config: AgentConfig, clock: Clock) -> AsyncIterator[Agent]:
    """The station of an instance, held by this process alone until the block ends."""
    with InstanceLock(config.data_dir):
        me = identity.load(config.data_dir)
        journal = await Journal.open(config.data_dir / "journal.db", station=me.station, clock=clock)
        try:
            catalog = await Catalog.open(config.data_dir / "catalog.db")
            try:
                yield Agent(config, me, journal, catalog, clock)
            finally:
                await catalog.close()
        finally:
            await journal.close()


@contextlib.asynccontextmanager
async def listening(agent: Agent) -> AsyncIterator[int]:
    """Serve the local API; yields its port, which also stands in data_dir/port as long as it is served."""
    config = agent.config
    guard = Guard(load_token(config.data_dir / TOKEN_FILE), config.allowed_origins)
    api = LocalApi(
        agent.intake,
        agent.journal,
        guard,
        status=agent.status.page,
        ready=agent.status.readiness,
        sync_now=agent.sync_now,
    )
    app = api.make_app(lookup.routes(agent.catalog, agent.clock))
    runner = web.AppRunner(app, access_log=None, auto_decompress=False, shutdown_timeout=STOP_GRACE_S)
    await runner.setup()
    port_file = config.data_dir / PORT_FILE
    try:
        try:
            await web.TCPSite(runner, HOST, config.local_port).start()
        except OSError as error:
            raise Busy(
                f"port {config.local_port} of {HOST} is not free: {error.strerror}",
                hint="set local_port to another one for this instance, or to 0 for any",
            ) from None
        port = int(runner.addresses[0][1])
        try:
            write_durably(port_file, f"{port}\n".encode())
        except CannotStore as error:
            # A full disk: each sale is refused until there is room, and then taken again without anybody's help.
            log.error("port_file_not_written", extra={"why": str(error)})
        yield port
    finally:
        port_file.unlink(missing_ok=True)
        await runner.cleanup()


async def serve(config: AgentConfig) -> None:
    """Run the agent of one instance until SIGTERM or SIGINT.

    Raises:
        Busy: another process runs this instance, or has its port.
        ConfigError: not enrolled, or the identity cannot be read.
    """
    clock = SystemClock()
    logs.set_up(config.log_level, clock)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(
            NotImplementedError
        ):  # Windows: there Ctrl-C raises, and the service wrapper cancels
            loop.add_signal_handler(name, stop.set)
    async with opened(config, clock) as agent:
        async with listening(agent) as port, agent.lines():
            log.info("agent_listening", extra={"station": agent.me.station, "port": port})
            await stop.wait()
        log.info("agent_stopped", extra={"station": agent.me.station})


def _is_used(spool: Path) -> bool:
    """Whether a file was ever dropped here."""
    return any(any(spool.joinpath(part).glob("*")) for part in ("in", "taken", "bad"))


def _boot_id() -> str:
    """Names the run of the monotonic clock: the machine's boot where it is told, this process elsewhere."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return str(uuid.uuid4())
