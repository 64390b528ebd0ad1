"""Take in the lists that other systems hand in, and publish what really changed.

One row after the other is checked by its entity's model; a bad one is reported with its line, and the rest of the
list is taken, or none of it, as the list asks. Invariants: a list that asks for all or nothing is published in one
transaction; memory is bounded whatever the list's size; a row that could not be read never counts as absent from a
complete list. A list is settled with its source only when its result is durable here, and going through it again
after a crash leads to the same catalog.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from itertools import islice
from typing import Any

from sqlalchemy.exc import DataError

from central.connectors.base import Incoming, ListAbout, SourceRow, TargetAway
from central.db import integrations as table
from central.db import leases
from central.db.database import Database
from central.integrations.integration import Integration
from central.integrations.progress import ListProgress
from central.integrations.registry import Integrations
from central.integrations.taking import PublishPort, publish
from shared.clock import Clock, rfc3339
from shared.errors import BadInput

LOOK_S = 1.0
LEASE_S = 60.0
"""Another node goes on with a list so long after this one died."""
ASK_S = 15.0
"""Between prolongations, or tries to get it."""
REST_S = 10.0
"""After a failure of the folder or the database."""
PART_ROWS = 2_000
PUBLISH_ROWS = 10_000
WHOLE_ROWS_MAX = 200_000
"""Of a list that asks for all or nothing: it is held in memory and published at once."""
COMPLETE_ROWS_MAX = 2_000_000
"""Of a complete list: its keys are held in memory."""
logger = logging.getLogger(__name__)


class FileImports:
    """The incoming work of a node: looks at every integration in turn.

    Args:
        node: tells this process from others; only one at a time works on an integration's lists.
    """

    def __init__(
        self,
        database: Database,
        integrations: Integrations,
        publisher: PublishPort,
        clock: Clock,
        *,
        node: str,
    ) -> None:
        self._database = database
        self._integrations = integrations
        self._publisher = publisher
        self._clock = clock
        # One process owns a SQLite database; after its death it goes on with its own lease.
        self._node = "the only one" if database.is_sqlite else node
        self._leases: dict[int, tuple[bool, int]] = {}  # held, and the tick at which to ask again
        self._rests: dict[int, int] = {}  # after a failure, the tick at which to look again
        self.wake = asyncio.Event()
        """Look now."""
        self.listeners: list[Callable[[Integration], Awaitable[None]]] = []
        """Told whose list was dealt with."""

    async def run(self) -> None:
        """Take in what comes until cancelled."""
        while True:
            busy = False
            for one in self._integrations.enabled():
                try:
                    busy |= await self.step(one)
                except TargetAway as error:
                    logger.warning("lists_not_reached", extra={"integration": one.name, "error": str(error)})
                    self._rest(one)
                except Exception:
                    # The list stays claimed and is gone through again from its beginning.
                    logger.exception("import_failed", extra={"integration": one.name})
                    self._rest(one)
            if not busy:
                await self._pause()

    async def step(self, one: Integration) -> bool:
        """Take in one list of an integration; False when there is none for this node."""
        if self._clock.tick_ms() < self._rests.get(one.integration_no, 0) or not await self._lease(one):
            return False
        connector = self._integrations.connector(one)
        incoming = await connector.pull()
        if incoming is None:
            return False
        report = await self._known_report(one, incoming) or await self._take(one, incoming)
        await connector.settle(incoming, report)
        for listener in self.listeners:
            await listener(one)
        logger.info(
            "list_taken",
            extra={
                "integration": one.name,
                **{name: report[name] for name in ("file", "result", "rows", "changed", "rejected")},
            },
        )
        return True

    def _rest(self, one: Integration) -> None:
        self._rests[one.integration_no] = self._clock.tick_ms() + int(REST_S * 1000)

    async def _lease(self, one: Integration) -> bool:
        """Whether this node works on the integration's lists; asks the database now and then only."""
        held, until_ms = self._leases.get(one.integration_no, (False, 0))
        if self._clock.tick_ms() >= until_ms:
            held = await leases.take(self._database, f"lists/{one.integration_no}", self._node, LEASE_S)
            self._leases[one.integration_no] = held, self._clock.tick_ms() + int(ASK_S * 1000)
        return held

    async def _pause(self) -> None:
        woken, slept = (
            asyncio.ensure_future(self.wake.wait()),
            asyncio.ensure_future(self._clock.sleep(LOOK_S)),
        )
        try:
            await asyncio.wait({woken, slept}, return_when=asyncio.FIRST_COMPLETED)
            self.wake.clear()
        finally:
            woken.cancel()
            slept.cancel()

    async def _known_report(self, one: Integration, incoming: Incoming) -> dict[str, Any] | None:
        """What is said of a list that was dealt with already: the newest one of its name, and the same to the byte."""
        async with self._database.read() as connection:
            last = await table.last_import(connection, one.integration_no, incoming.name)
        if last is None or last[0] != incoming.sha256 or last[1]["result"] != "taken":
            return None
        report = last[1]
        if incoming.resumed:
            return report  # the centre died between publishing and settling
        what = (
            f"It is the same as the one of this name that was taken at {report['finished']}, so nothing was done; "
            "give it another name to have it published again."
        )
        return report | {"result": "repeated", "what": what, "changed": 0, "absent": 0, "seqs": {}}

    async def _take(self, one: Integration, incoming: Incoming) -> dict[str, Any]:
        started = rfc3339(self._clock.now_ms())
        progress = ListProgress(incoming.about or ListAbout(""))
        refusal = incoming.refusal
        if not refusal:
            try:
                refusal = await self._go_through(one, incoming, progress)
            except (BadInput, DataError) as error:
                refusal = f"it cannot be published: {error}"
        report = progress.report(one.name, incoming, refusal, started, rfc3339(self._clock.now_ms()))
        async with self._database.write() as connection:
            now_ms = await self._database.now_ms(connection)
            await table.record_import(
                connection, self._database, one.integration_no, incoming.sha256, incoming.name, report, now_ms
            )
        return report

    async def _go_through(self, one: Integration, incoming: Incoming, progress: ListProgress) -> str:
        """Read and publish; returns why the list was refused, if it was."""
        about = progress.about
        whole = about.on_error == "stop"
        rows = incoming.rows()
        while True:
            try:
                part = await asyncio.to_thread(_next_part, rows, progress)
            except (BadInput, ArithmeticError, LookupError, TypeError, ValueError, RecursionError) as error:
                # Also what no reader should raise: one poisoned list must not keep all others waiting.
                if whole or not progress.accepted:
                    return str(error)
                progress.cut(str(error))
                break
            if not part:
                break
            if whole and progress.rows > WHOLE_ROWS_MAX:
                return f"a list with on_error=stop has at most {WHOLE_ROWS_MAX} rows; split it, or let it say skip"
            if about.mode == "complete" and progress.key_count > COMPLETE_ROWS_MAX:
                return f"a complete list has at most {COMPLETE_ROWS_MAX} rows"
            if not whole and progress.held >= PUBLISH_ROWS:
                await publish(self._publisher, progress)
            if not await self._lease(one):
                raise TargetAway(f"{incoming.name} took longer than its lease, and another node has it")
        if whole and progress.rejected:
            return (
                f"{progress.rejected} of {progress.rows} rows are wrong, and the list asks for all or nothing"
            )
        if about.mode == "complete" and not progress.key_count and not about.allow_empty:
            return (
                "a complete list without a row would empty the scope; let it say allow_empty if that is meant"
            )
        await publish(self._publisher, progress, progress.complete())
        return ""


def _next_part(rows: Iterator[SourceRow], progress: ListProgress) -> list[SourceRow]:
    part = list(islice(rows, PART_ROWS))
    progress.read(part)
    return part
