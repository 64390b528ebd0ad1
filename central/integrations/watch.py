"""A folder whose TOML files are integrations: each is stated when it changes.

The database stays the truth: a file is read once per content, so what was changed through the API later holds until
the file changes again. A bad file is refused with line and reason, in the log and in a text beside it; the version
that holds stays. A file that is taken away changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path

from central.integrations import toml
from central.integrations.toml import FILE_MAX_BYTES, BadFile
from central.integrations.versions import Versions
from shared.canonical import sha256
from shared.clock import Clock
from shared.errors import Conflict, CounterflowError

LOOK_S = 2.0
AGAIN_S = 60.0
"""After a refusal that may pass by itself: the other system was away, somebody else was faster."""
REFUSED = ".refused.txt"
logger = logging.getLogger(__name__)
Stamp = tuple[int, int]


@dataclass(slots=True)
class _Seen:
    """A file as it was at the last look. `tick_ms` is when it is to be looked at again although it did not change."""

    stamp: Stamp
    is_done: bool = False
    tick_ms: int | None = None


class WatchedFolder:
    """Looks at the folder until cancelled."""

    def __init__(self, folder: Path, versions: Versions, clock: Clock) -> None:
        self._folder = folder
        self._versions = versions
        self._clock = clock
        self._seen: dict[str, _Seen] = {}
        self._owners: dict[str, str] = {}  # integration -> its file
        self._is_missing = False

    async def run(self) -> None:
        while True:
            try:
                await self.step()
            except Exception:
                logger.exception("definitions_not_read", extra={"folder": str(self._folder)})
            await self._clock.sleep(LOOK_S)

    async def step(self) -> None:
        """State what has changed and has been left alone since the look before."""
        for path, stamp in await asyncio.to_thread(self._files):
            seen = self._seen.get(path.name)
            if seen is None or seen.stamp != stamp:
                self._seen[path.name] = _Seen(stamp)  # perhaps it is still being written
                continue
            if seen.is_done and (seen.tick_ms is None or self._clock.tick_ms() < seen.tick_ms):
                continue
            seen.is_done, seen.tick_ms = True, None
            try:
                await self._state(path)
            except CounterflowError as error:
                if error.retryable or isinstance(error, Conflict):
                    seen.tick_ms = self._clock.tick_ms() + int(AGAIN_S * 1000)
                await asyncio.to_thread(self._refuse, path, str(error))

    def _files(self) -> list[tuple[Path, Stamp]]:
        try:
            found = sorted(self._folder.glob("*.toml"))
            stats = [(path, path.stat()) for path in found]
        except FileNotFoundError:
            return []  # taken away between the two
        is_missing = not self._folder.is_dir()
        if is_missing and not self._is_missing:
            logger.warning("definitions_folder_missing", extra={"folder": str(self._folder)})
        self._is_missing = is_missing
        return [(path, (stat.st_mtime_ns, stat.st_size)) for path, stat in stats]

    async def _state(self, path: Path) -> None:
        raw = await asyncio.to_thread(_read, path)
        definition = toml.read(raw.decode(), path.name)
        owner = self._owners.setdefault(definition.name, path.name)
        if owner != path.name and (self._folder / owner).exists():
            raise BadFile(path.name, None, f'the integration "{definition.name}" stands in {owner} already')
        self._owners[definition.name] = path.name
        digest = sha256(raw)
        if await self._versions.imported(definition.name) != digest:
            outcome = await self._versions.put(definition, by=f"file {path.name}", file_sha256=digest)
            logger.info(
                "definition_stated",
                extra={
                    "file": path.name,
                    "integration": definition.name,
                    "result": outcome.result,
                    "version": outcome.integration.version,
                },
            )
        await asyncio.to_thread(_beside(path).unlink, missing_ok=True)

    def _refuse(self, path: Path, why: str) -> None:
        text = f"{why}\nThe version that holds stays.\n"
        beside = _beside(path)
        try:
            if not beside.exists() or beside.read_text(encoding="utf-8") != text:
                logger.warning("definition_refused", extra={"file": path.name, "error": why})
                beside.write_text(text, encoding="utf-8")
        except OSError as error:
            logger.warning(
                "definition_refused", extra={"file": path.name, "error": why, "beside": str(error)}
            )


def _beside(path: Path) -> Path:
    return path.with_name(path.name + REFUSED)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_MAX_BYTES + 1)
        raw.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile(path.name, None, f"it cannot be read: {error}") from None
    if len(raw) > FILE_MAX_BYTES:
        raise BadFile(path.name, None, f"it has more than {FILE_MAX_BYTES} bytes")
    return raw
