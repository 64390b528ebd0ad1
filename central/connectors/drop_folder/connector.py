"""The drop folder as a connector: the one for systems that read and write files.

```
<folder>/out     we put batches, one file each               <folder>/in    HQ drops lists (CSV, JSON, NDJSON)
<folder>/taken   the reader moves what it has taken           <folder>/done  taken, with a report beside
                                                              <folder>/bad   refused, with the reason beside
```
The probe knows a batch by its file name. After a restore of the centre it also reads the files whose names the centre
does not know: their documents were delivered under a batch that was forgotten. So readers keep `taken/` as long as
the oldest backup that would ever be restored.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from central.connectors.base import (
    Answer,
    Batch,
    Connector,
    Finding,
    Idempotency,
    Incoming,
    NoAnswer,
    Rejection,
    Target,
    TargetAway,
    UnknownBatches,
)
from central.connectors.drop_folder.incoming import InFolder
from central.connectors.drop_folder.outgoing import SUFFIX, OutFolder, compose
from central.connectors.formats.dialect import Dialect
from central.connectors.formats.writing import compose_file, unfit
from shared.clock import Clock
from shared.errors import ConfigError

T = TypeVar("T")
FOLDERS = ("out", "taken", "in", "work", "done", "bad")
MARKER = ".counterflow"
"""Made once, by `prepare`: a share that is not mounted has none, and nothing is written beneath its mount point."""


class DropFolderSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: Path = Field(description="Absolute path; out, taken, in, work, done and bad are made in it.")
    batch_documents: int = Field(1_000, ge=1, le=10_000, description="Most documents in one file.")
    settle_s: float = Field(
        2.0, ge=0, le=3_600, description="A dropped file is read once it has not changed for so long."
    )
    out: Dialect = Field(
        Dialect(form="ndjson"),
        description="How mapped records are written; documents as sealed are NDJSON always.",
    )
    columns: list[str] = Field(
        default_factory=list, description="Columns that CSV and Excel begin with, in this order."
    )


class DropFolder(Connector):
    title = "Drop folder"
    tested = "a real system: folders on disk, in every run of the tests"
    Settings = DropFolderSettings
    idempotency = Idempotency.FILE_DROP
    targets: ClassVar[Mapping[str, Target]] = {"file": Target("Records in files")}
    whole = True
    timeout_s = 20.0

    def __init__(self, name: str, settings: BaseModel, clock: Clock) -> None:
        super().__init__(name, settings, clock)
        assert isinstance(settings, DropFolderSettings)
        self._settings = settings
        self._out = OutFolder(settings.folder, name)
        self._in = InFolder(settings.folder, settings.settle_s, clock.tick_ms)
        # A share may hang for minutes: it holds up one thread of its own each way, never those that everybody uses.
        # And what hangs in an earlier attempt is over before the next one begins.
        self._out_thread = ThreadPoolExecutor(1, f"{name}-out")
        self._in_thread = ThreadPoolExecutor(1, f"{name}-in")
        self._known: set[str] = set()
        self._forgotten: dict[str, frozenset[str]] = {}

    @property
    def batch_documents(self) -> int:
        return self._settings.batch_documents

    @property
    def resource(self) -> str:
        return str(self._settings.folder)

    async def prepare(self) -> None:
        if not self._settings.folder.is_absolute():
            raise ConfigError(f"the drop folder {self._settings.folder} must be an absolute path")

        def make() -> None:
            for name in FOLDERS:
                (self._settings.folder / name).mkdir(parents=True, exist_ok=True)
            marker = self._settings.folder / MARKER
            marker.write_text("The drop folder of a Counterflow centre.\n", encoding="utf-8")

        await self._usable(make)

    async def check(self) -> Sequence[Finding]:
        def attempt() -> None:
            self._require_mounted()
            name = f".{secrets.token_hex(4)}.part"
            trial, taken = self._settings.folder / "out" / name, self._settings.folder / "taken" / name
            trial.write_bytes(b"x")
            # Taking a file must be a rename, so that no reader's crash leaves half of it.
            os.replace(trial, taken)
            taken.unlink()

        try:
            await self._usable(attempt)
        except ConfigError as error:
            return [Finding("folder", ok=False, detail=error.what, hint=error.hint)]
        return [
            Finding("folder", ok=True, detail=f"{self._settings.folder}: files can be made, renamed, deleted")
        ]

    async def _usable(self, work: Callable[[], None]) -> None:
        try:
            await asyncio.to_thread(work)
        except (OSError, TargetAway) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise ConfigError(
                f"the drop folder {self._settings.folder} cannot be used: {reason}",
                hint="the centre's user must be able to make, rename and delete files there, on one file system",
            ) from error

    # ---- out ----

    async def probe(self, batch: Batch, unknown_batches: UnknownBatches) -> frozenset[str]:
        def look() -> dict[str, Path]:
            self._require_mounted()
            self._out.forget_attempts(batch.batch_id)
            return self._out.batches()

        delivered = await self._blocking(self._out_thread, look)
        keys = {delivery.key for delivery in batch.deliveries}
        if path := delivered.get(batch.batch_id):
            # A file of another form may lack what did not fit into it.
            if path.suffix != SUFFIX:
                keys &= await self._blocking(self._out_thread, partial(self._out.keys, path))
            return frozenset(keys)
        await self._read_forgotten(delivered, unknown_batches)
        return frozenset(key for forgotten in self._forgotten.values() for key in keys & forgotten)

    async def _read_forgotten(self, delivered: dict[str, Path], unknown_batches: UnknownBatches) -> None:
        """Learn the keys in files of batches that the centre has forgotten."""
        # A restore forgets the newest batches first: while the newest is known, so are all known before.
        newest = max(self._known, default=None)
        ask = delivered.keys() - self._known - self._forgotten.keys() | ({newest} if newest else set())
        unknown = await unknown_batches(ask)
        if newest in unknown:
            self._known.clear()
            unknown = await unknown_batches(delivered.keys() - self._forgotten.keys())
        self._known |= delivered.keys() - self._forgotten.keys() - unknown
        for batch_id in unknown & delivered.keys():
            self._forgotten[batch_id] = await self._blocking(
                self._out_thread, partial(self._out.keys, delivered[batch_id])
            )

    async def deliver(self, batch: Batch) -> Answer:
        return await self._blocking(self._out_thread, lambda: self._put(batch))

    def _put(self, batch: Batch) -> Answer:
        self._require_mounted()
        self._out.forget_attempts(batch.batch_id)
        attempt, out = secrets.token_hex(4), self._settings.out
        rejected: dict[str, Rejection] = {}
        if out.form == "ndjson" or any(one.record is None for one in batch.deliveries):
            part = self._out.write(batch.batch_id, attempt, map(compose, batch.deliveries))
        else:
            rejected = self._unfit(batch)
            fit = [one for one in batch.deliveries if one.key not in rejected]
            if not fit:
                return Answer(rejected)
            content = compose_file([one.record or {} for one in fit], out, self._settings.columns)
            self._out.note_keys(batch.batch_id, [one.key for one in fit])
            part = self._out.write(batch.batch_id, attempt, [content], f".{out.form}")
        try:
            self._out.place(batch.batch_id, part)
        except OSError as error:
            raise NoAnswer(f"whether {part.name} got its name is not sure: {error.strerror}") from error
        return Answer(rejected)

    def _unfit(self, batch: Batch) -> dict[str, Rejection]:
        out, records = self._settings.out, {one.key: one.record or {} for one in batch.deliveries}
        try:
            compose_file(list(records.values()), out)
        except ValueError:
            found = {key: unfit(record, out) for key, record in records.items()}
            return {
                key: Rejection(f"it does not fit into {out.form}", why) for key, why in found.items() if why
            }
        return {}

    def _require_mounted(self) -> None:
        if not (self._settings.folder / MARKER).exists():
            raise TargetAway(
                f"the drop folder {self._settings.folder} is not there (its file {MARKER} is missing)",
                hint="mount the share again",
            )

    async def _blocking(self, thread: Executor, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(thread, work)
        except OSError as error:
            free = ""
            if self._settings.folder.exists():
                free = f"; {shutil.disk_usage(self._settings.folder).free >> 20} MiB are free"
            raise TargetAway(
                f"the drop folder {self._settings.folder} cannot be used: {error.strerror or error}{free}",
                hint="free disk space, mount the share, or give the centre's user its rights back",
            ) from error

    # ---- in ----

    async def pull(self) -> Incoming | None:
        return await self._blocking(self._in_thread, self._next_file)

    def _next_file(self) -> Incoming | None:
        self._require_mounted()
        return self._in.next()

    async def settle(self, incoming: Incoming, report: dict[str, Any]) -> None:
        await self._blocking(self._in_thread, lambda: self._in.settle(incoming, report))
