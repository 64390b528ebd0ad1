"""The files of another system as a connector: for systems that only ever export.

Where the drop folder takes lists in our form and moves them away, this one reads files in the other system's own form
where they lie, and touches nothing. Full files and files of changes become one stream of records with a cursor.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import pydantic
from pydantic import BaseModel

from central.connectors.base import (
    Answer,
    Batch,
    Connector,
    Finding,
    Idempotency,
    Page,
    Read,
    Source,
    TargetAway,
    TargetDenies,
    Trait,
    UnknownBatches,
)
from central.connectors.files import folder
from central.connectors.files.names import NamePattern
from central.connectors.files.plan import Seen, choose, read_place, settled, shrunk
from central.connectors.files.settings import KEY, FileList, FilesSettings
from shared.clock import Clock
from shared.errors import BadInput, CounterflowError
from shared.protocol.problems import from_validation

T = TypeVar("T")


class _Lists(BaseModel):
    lists: dict[str, FileList]


class FilesConnector(Connector):
    title = "Files of another system"
    tested = "a real system: files on disk, and price files as chains publish them"
    Settings = FilesSettings
    idempotency = Idempotency.AT_LEAST_ONCE
    writes = False

    def __init__(self, name: str, settings: BaseModel, clock: Clock) -> None:
        super().__init__(name, settings, clock)
        assert isinstance(settings, FilesSettings)
        self._settings = settings
        self._clock = clock
        # A share may hang for minutes: it holds up a thread of its own, never those that everybody uses.
        self._thread = ThreadPoolExecutor(1, f"{name}-files")
        self._rested: dict[str, Sequence[Seen]] = {}

    @classmethod
    def sources_of(cls, settings: Mapping[str, Any]) -> Mapping[str, Source]:
        try:
            lists = _Lists.model_validate(settings).lists
        except pydantic.ValidationError as error:
            raise from_validation(error, "settings") from None
        return {name: _source(name, one) for name, one in lists.items()}

    @property
    def batch_documents(self) -> int:
        return 1

    @property
    def resource(self) -> str:
        return f"{self._settings.folder} read by {self.name}"

    async def prepare(self) -> None:
        """Nothing of ours belongs into the folder of another system."""

    async def check(self) -> Sequence[Finding]:
        if not self._settings.folder.is_absolute():
            return [Finding("folder", ok=False, detail=f"{self._settings.folder} is no absolute path")]
        findings = []
        for name, one in self._settings.lists.items():
            try:
                findings.append(Finding(f"list {name}", ok=True, detail=await self._sample(name, one)))
            except CounterflowError as error:
                findings.append(Finding(f"list {name}", ok=False, detail=error.what, hint=error.hint))
        return findings

    async def _sample(self, name: str, one: FileList) -> str:
        """What there is of a list, its newest file looked into."""
        files = await self._whole(name, one)
        if not files:
            return f"no file yet that is called {one.full or one.changes}"
        newest = choose(files[-1:], None, one.parts)
        records = folder.pages(self._settings.folder, one, newest, 1)
        try:
            page = await self._blocking(partial(next, records))
        finally:
            await self._blocking(records.close)
        if page.unreadable:
            raise BadInput(page.unreadable[0], hint="compare key and dialect with the file")
        return f"{files[-1].name} is the newest of {len(files)}"

    # ---- in ----

    async def read(self, request: Read) -> AsyncIterator[Page]:
        one = self._settings.lists[request.source]
        since = read_place(request.since)
        files = await self._whole(request.source, one)
        chosen = choose(files, since, one.parts)
        if since is None and not (chosen.full if one.full else chosen.changes):
            raise TargetAway(
                f"{self._settings.folder} has no whole file that is called {one.full or one.changes}",
                hint="has the other system exported it?",
            )
        if why := shrunk(files, chosen, one.parts, one.shrink_percent):
            raise BadInput(
                why, hint="export it again; if it is right, take the older one away, or lower shrink_percent"
            )
        found = folder.pages(self._settings.folder, one, chosen, request.page)
        try:
            while page := await self._blocking(lambda: next(found, None)):
                yield page
        finally:
            await self._blocking(found.close)

    async def _whole(self, source: str, one: FileList) -> Sequence[Seen]:
        """Files that are not being written: between two looks they stay as they are."""
        first = self._rested.get(source, ())
        second = await self._look(one)
        if len(settled(first, second)) < len(second):
            if self._settings.settle_s:
                await self._clock.sleep(self._settings.settle_s)
            first, second = second, await self._look(one)
        self._rested[source] = second
        return settled(first, second)

    async def _look(self, one: FileList) -> Sequence[Seen]:
        return await self._blocking(partial(folder.look, self._settings.folder, one))

    async def _blocking(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    # ---- out: nothing ----

    async def probe(self, batch: Batch, unknown_batches: UnknownBatches) -> frozenset[str]:
        return frozenset()

    async def deliver(self, batch: Batch) -> Answer:
        raise TargetDenies("these files are only read", hint="the drop folder writes files")


def _source(name: str, one: FileList) -> Source:
    stated = [*one.fields, *one.keys, *one.deleted, *([KEY] if one.key_field == KEY else [])]
    of_names = [
        field for pattern in (one.full, one.changes) if pattern for field in NamePattern(pattern).fields
    ]
    return Source(
        f"Files of {name}",
        {field: Trait("object") for field in (*stated, *of_names)} if one.fields else {},
        key=one.key_field,
        cursor="sequence" if one.changes else None,
        complete=one.full is not None,
    )
