"""One run of a pull: from the source's pages to the catalog or to documents.

Invariants: the cursor is stored after what it covers is durable, never before; a full run that did not get to its end
means nothing for what it has not seen; running again after a death leads to the same catalog. A run ends by the
version of the definition that it began with, and stops when another one holds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from central.connectors.base import Connector, ListAbout, Page, Read
from central.db import pulls
from central.db.database import Database
from central.db.pulls import Became
from central.integrations.definition import Pull, seconds_of
from central.integrations.integration import Integration
from central.integrations.pages import CodesPort, Pages
from central.integrations.progress import ListProgress
from central.integrations.shaping import Shaper
from central.integrations.taking import PublishPort, publish
from central.mapping.lookups import LookUp
from shared.errors import BadInput, CounterflowError

PUBLISH_ROWS = 10_000
LEARNED = {
    "product": "item",
    "product_group": "group",
    "warehouse": "warehouse",
    "customer": "party",
    "seller": "seller",
    "unit": "unit",
    "currency": "currency",
    "tax_rate": "tax",
    "payment_type": "payment_type",
    "financial_reason": "reason",
}
"""entity -> as what the cross-reference knows it: a row's key is our code, the record's id is theirs."""
ROWS_MAX = 2_000_000
"""Of one run: its keys are held in memory."""


class DocumentsPort(Protocol):
    """The door for documents of other systems.

    Takes (source's id, what the mapping made) and answers each, in order: accepted, updated, unchanged, skipped, or
    why it was refused.
    """

    async def __call__(
        self, integration: Integration, pull: Pull, made: Sequence[tuple[str, dict[str, Any]]]
    ) -> Sequence[str | CounterflowError]: ...


class BudgetPort(Protocol):
    """The credential's rate budget; waits until a call may be made."""

    async def __call__(self, integration: Integration) -> None: ...


class Stopped(Exception):
    """The run is not wanted any more: another version holds, it was disabled, or another node has its lease."""


@dataclass(frozen=True, slots=True)
class Ports:
    """What a run works with."""

    database: Database
    publisher: PublishPort
    codes: CodesPort
    documents: DocumentsPort
    budget: BudgetPort


@dataclass
class Run:
    """A run under way. `go_on` raises `Stopped`; it is asked before every page."""

    ports: Ports
    one: Integration
    pull: Pull
    connector: Connector
    run_no: int
    is_full: bool
    since: str | None
    go_on: Callable[[], None]
    cursor: str | None = None
    document_counts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.shaper = Shaper(self.one.definition, self.pull, self.connector.reads[self.pull.source])
        mode = "complete" if self.is_full and self.pull.entity else "changes"
        about = ListAbout(self.pull.entity or "", self.pull.scope, mode, absence=self.pull.absence)  # type: ignore[arg-type]
        self.progress = ListProgress(about)
        self.pages = Pages(
            self.ports.database, self.ports.codes, self.shaper, self.progress, self.one.integration_no
        )

    async def work(self) -> None:
        """Read to the end, publish, and store the cursor as it goes."""
        take = self._take_documents if self.pull.document else self._take_rows
        await self.through(take)
        if self.pull.entity is None:
            return
        if self.is_full and not self.progress.key_count and self.progress.about.scope:
            # An empty answer is more often a fault over there than an emptied shop.
            raise BadInput(f"{self.pull.source}: a full run brought no record; nothing was treated as absent")
        await self._publish(is_last=True)

    async def through(self, take: Callable[[Page], Awaitable[None]]) -> None:
        """Hand every page of the source to *take*."""
        request = Read(
            self.pull.source,
            None if self.is_full else self.since,
            seconds_of(self.pull.overlap) if self.shaper.source.cursor == "time" else 0,
            self.pull.page,
            tuple(self.pull.statuses),
        )
        await self.ports.budget(self.one)
        async for page in self.connector.read(request):
            self.go_on()
            await take(page)
            for why in page.unreadable:
                self.pages.unreadable(why)
            if page.cursor is not None:
                self.cursor = page.cursor
            if self.pages.tally.records > ROWS_MAX:
                raise BadInput(f"{self.pull.source}: more than {ROWS_MAX} records in one run")
            await self.ports.budget(self.one)

    def report(self) -> dict[str, Any]:
        """What became of the records."""
        progress = self.progress
        return {
            **self.pages.tally.counts(),
            "taken": progress.accepted,
            "changed": progress.written,
            "absent": progress.absent,
            "rejected": progress.rejected,
            "errors": progress.errors,
            "seqs": progress.seqs,
            **({"documents": self.document_counts} if self.pull.document else {}),
        }

    async def _take_rows(self, page: Page) -> None:
        async with self.ports.database.read() as connection:
            await self.pages.take(page.records, connection)
            if page.deleted:
                now_ms = await self.ports.database.now_ms(connection)
                await self.pages.delete(page.deleted, connection, now_ms)
        if self.progress.held >= PUBLISH_ROWS or (page.cursor is not None and not self.is_full):
            await self._publish()
            if page.cursor is not None and not self.is_full:
                await self._store(page.cursor)

    async def _publish(self, *, is_last: bool = False) -> None:
        async def note(connection: AsyncConnection, state: Any, changes: Any) -> None:
            await pulls.note_changes(self.ports.database, connection, self.run_no, state, changes)

        complete = self.progress.complete() if is_last else []
        await publish(self.ports.publisher, self.progress, complete, note)
        became, self.pages.became = self.pages.became, []
        forget = is_last and self.is_full

        async def remember(connection: AsyncConnection) -> None:
            number, name = self.one.integration_no, self.pull.name
            await pulls.put_records(self.ports.database, connection, number, name, became)
            if forget:
                gone = await pulls.record_ids(connection, number, name) - self.pages.ids
                await pulls.forget_records(self.ports.database, connection, number, name, gone)

        if became or forget:
            await self.ports.database.run(remember)
        await self._tell_codes(became)

    async def _tell_codes(self, became: Sequence[Became]) -> None:
        """The cross-reference learns how the other system calls what it has, and what it said that nobody knows."""
        by = f"pull {self.one.name}/{self.pull.name}"
        kind = LEARNED.get(self.pull.entity or "")
        if kind is not None and became:
            await self.ports.codes.learn(self.one.name, kind, [(row.key, row.id) for row in became], by)
        missed, self.pages.missed = self.pages.missed, set()
        if missed:
            await self.ports.codes.miss(missed)

    async def _take_documents(self, page: Page) -> None:
        rows = []
        async with self.ports.database.read() as connection:
            tally = self.pages.tally
            for record in page.records:
                tally.records += 1
                if not self.shaper.wants(record):
                    tally.filtered += 1
                else:
                    rows.append((tally.records, record))
            wanted = {look_up for _, record in rows for look_up in self.shaper.look_ups(record)}
            codes = await self.ports.codes.look_up(connection, wanted) if wanted else {}
        self.pages.missed |= wanted - codes.keys()
        await self._tell_codes([])
        await self._hand_in(rows, codes)
        if page.cursor is not None and not self.is_full:
            await self._store(page.cursor)

    async def _hand_in(
        self, rows: Sequence[tuple[int, Mapping[str, Any]]], codes: Mapping[LookUp, str]
    ) -> None:
        made: list[tuple[str, dict[str, Any]]] = []
        lines: list[int] = []
        for line, record in rows:
            self.progress.rows += 1
            found = ""
            try:
                found = self.shaper.id_of(record)
                made.append((found, self.shaper.values(record, codes) or {}))
                lines.append(line)
            except BadInput as error:
                self.progress.reject(line, None, str(error), id=found)
        answers = await self.ports.documents(self.one, self.pull, made) if made else []
        for line, (found, _), answer in zip(lines, made, answers, strict=True):
            if isinstance(answer, CounterflowError):
                self.progress.reject(line, None, str(answer), id=found)
            else:
                self.progress.accepted += 1
                self.document_counts[answer] = self.document_counts.get(answer, 0) + 1

    async def _store(self, cursor: str) -> None:
        async def work(connection: AsyncConnection) -> None:
            await pulls.put_state(
                self.ports.database, connection, self.one.integration_no, self.pull.name, cursor=cursor
            )

        await self.ports.database.run(work)
