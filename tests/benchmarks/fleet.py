"""Many stations in one process, for the workloads that need fifty: the shipped journal, intake, client and catalog.

    python -m tests.benchmarks.fleet push|load SPEC.json

The process prepares everything, prints `ready`, waits for a line `go …`, does the timed work and prints its result as
JSON; `load` then gets ready again. What fifty machines would do before and after the race is not under the stopwatch.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from edge_agent import enrolment, identity
from edge_agent.config import AgentConfig
from edge_agent.db.catalog import Catalog
from edge_agent.db.journal import Journal
from edge_agent.intake.accept import Intake
from edge_agent.sync.batch import BATCH_RAW_BYTES, Batch, seal_batch
from edge_agent.sync.client import CentreClient, Route
from edge_agent.sync.contact import Contact
from edge_agent.sync.download import DownloadLine
from edge_agent.sync.sessions import SessionHolder
from shared.clock import SystemClock
from shared.journal import genesis
from shared.protocol.messages import Manifest
from tests.benchmarks.fleet_spec import Spec
from tests.support import yardstick_sales as sales

SCOPE = "base"


class Member:
    """One station of the fleet."""

    def __init__(
        self, folder: Path, number: int, client: CentreClient, journal: Journal, intake: Intake
    ) -> None:
        self.folder, self.number = folder, number
        self.identity = identity.load(folder)
        self.client, self.journal, self.intake = client, journal, intake
        self.clock = SystemClock()
        self.sessions = SessionHolder(
            self.identity, journal, client, Contact(), self.clock, enrolment.versions()
        )

    @classmethod
    async def open(cls, spec: Spec, number: int, code: str, enrolment_code: str) -> Member:
        folder = Path(spec.folder) / code
        await enrolment.enroll(AgentConfig(data_dir=folder, server_url=spec.server_url), enrolment_code)
        clock = SystemClock()
        me = identity.load(folder)
        journal = await Journal.open(folder / "journal.db", station=me.station, clock=clock)
        intake = Intake(
            journal,
            store=me.record.store,
            zone=me.record.zone,
            clock=clock,
            contact=Contact(),
            boot=code,
            grew=asyncio.Event(),
        )
        make = ByRows if spec.by_rows else CentreClient
        return cls(folder, number, make(Route(spec.server_url)), journal, intake)

    async def close(self) -> None:
        await self.client.close()
        await self.journal.close()

    # ---- up ----

    async def sell(self, count: int) -> None:
        documents = sales.submissions(count, station=self.number)
        await asyncio.gather(
            *(self.intake.accept(raw, idempotency_key=None, source="api") for raw in documents)
        )

    async def batches(self, count: int, size: int) -> list[Batch]:
        """The pushes of *count* sales, sealed, signed and packed."""
        epoch = self.journal.current_epoch
        head, result = genesis(self.identity.station, epoch), []
        for first in range(1, count + 1, size):
            last = min(count, first + size - 1)
            documents = await self.journal.read(epoch, first, last, BATCH_RAW_BYTES)
            batch = seal_batch(self.identity.station, epoch, first, head, documents, None, self.identity.sign)
            head = batch.last_head
            result.append(batch)
        return result

    async def push(self, batches: Sequence[Batch], waits_s: list[float]) -> None:
        """Send *batches*, each after the answer to the one before."""
        token = await self.sessions.token()
        for batch in batches:
            sent = time.perf_counter()
            reply = await self.client.push(token, batch.packed)
            waits_s.append(time.perf_counter() - sent)
            assert bytes.fromhex(reply.acked_head) == batch.last_head, "the centre confirmed another head"

    # ---- down ----

    async def load(self, catalog: Catalog, head: int) -> None:
        """Bring the scope to *head*, as the agent does."""
        line = DownloadLine(
            catalog,
            self.client,
            self.sessions,
            self.folder / "snapshots",
            clock=self.clock,
            wake=asyncio.Event(),
            changed=lambda: None,
        )
        while (scope := (await catalog.scopes()).get(SCOPE)) is None or scope.seq < head:
            await line.step()


class ByRows(CentreClient):
    """A client that hears of no snapshot."""

    async def manifest(self, token: str, etag: str | None = None) -> tuple[Manifest | None, str]:
        manifest, tag = await super().manifest(token, etag)
        if manifest is None:
            return None, tag
        scopes = [offer.model_copy(update={"snapshot": None}) for offer in manifest.scopes]
        return manifest.model_copy(update={"scopes": scopes}), tag


async def _push(spec: Spec, members: Sequence[Member]) -> None:
    work = []
    for member in members:
        await member.sell(spec.sales_each)
        await member.sessions.token()
        work.append(await member.batches(spec.sales_each, spec.batch))
    await _go()
    waits_s: list[float] = []
    await asyncio.gather(
        *(member.push(batches, waits_s) for member, batches in zip(members, work, strict=True))
    )
    _say({"waits_s": waits_s})


async def _load(spec: Spec, members: Sequence[Member]) -> None:
    for member in members:
        await member.sessions.token()
    catalogs = [await Catalog.open(member.folder / "catalog.db") for member in members]
    while (head := await _go()) is not None:
        since = time.perf_counter()
        await asyncio.gather(
            *(member.load(catalog, head) for member, catalog in zip(members, catalogs, strict=True))
        )
        _say({"seconds": time.perf_counter() - since})
        for catalog in catalogs:
            await catalog.tidy()
    for catalog in catalogs:
        await catalog.close()


async def _go() -> int | None:
    """Say that all is prepared and wait for the word; the number that came with it, None when there is no more."""
    print("ready", flush=True)
    line = await asyncio.to_thread(sys.stdin.readline)
    return int(line.split()[1]) if line.strip() else None


def _say(result: dict[str, Any]) -> None:
    print(json.dumps(result), flush=True)


TASKS: dict[str, Callable[[Spec, Sequence[Member]], Coroutine[Any, Any, None]]] = {
    "push": _push,
    "load": _load,
}


async def run(task: str, spec: Spec) -> None:
    members = [
        await Member.open(spec, number, code, enrolment_code)
        for number, (code, enrolment_code) in enumerate(spec.stations.items(), 1)
    ]
    try:
        await TASKS[task](spec, members)
    finally:
        for member in members:
            await member.close()


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], Spec.from_json(Path(sys.argv[2]).read_text(encoding="utf-8"))))
