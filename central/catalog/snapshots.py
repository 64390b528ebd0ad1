"""Snapshots: a scope as one immutable file, built once and shared by all its stations.

The node that holds the scope's lease builds it from one consistent view, stores its bytes in the database, and every
node keeps a copy on its disk to serve. A snapshot is named by its SHA-256, so it may be cached anywhere and fetched
in pieces. Invariant: deletions are purged only up to the oldest snapshot on offer, so that a station that comes from
any snapshot finds all that happened after it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import secrets
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from central.db import catalog, leases, station_scopes
from central.db import snapshots as db
from central.db.catalog import ScopeState
from central.db.database import Database
from central.db.snapshot_file import SnapshotFile
from central.db.snapshots import Stored
from central.db.station_scopes import Offered
from shared.clock import Clock
from shared.errors import DamagedData, Gone

LOOK_EVERY_S = 60.0
SETTLE_S = 2.0
"""Without a publication, before building: a list that is published in parts is one snapshot, not ten."""
SETTLE_MAX_S = 60.0
"""Where publications never stop."""
SMALL_SCOPE_ROWS = 1_000
"""Scopes up to this size are taken by changes alone."""
REBUILD_SHARE = 0.1
GRACE_MS = 3_600_000
"""A replaced snapshot stays so long, for stations that are fetching it."""
LEASE_S = 600.0
PART_BYTES = 1 << 20
PUBLICATIONS_FOR_MS = 90 * 86_400_000
logger = logging.getLogger(__name__)


def wants_snapshot(count: int, changed: int) -> bool:
    """Whether a scope of *count* live rows is to be built.

    *changed* counts the rows, deleted ones included, that moved after its snapshot, or all of them where it has none.
    """
    return changed > may_change(count)


def may_change(count: int) -> int:
    """How many rows may move before a scope of *count* rows is built anew."""
    return max(SMALL_SCOPE_ROWS, int(count * REBUILD_SHARE))


class Snapshots:
    """Builds the snapshots of all scopes, and hands out files."""

    def __init__(self, database: Database, clock: Clock, folder: Path, node: str) -> None:
        self._database = database
        self._clock = clock
        self._folder = folder
        self._node = node
        self._moved = asyncio.Event()
        self._fetching: dict[bytes, asyncio.Task[Path]] = {}

    def published(self, _scopes: Collection[str]) -> None:
        self._moved.set()

    async def run(self) -> None:
        """Build what is wanted, soon after a publication and every minute, for as long as the node lives."""
        while True:
            try:
                await self.build_wanted()
                await self.tidy()
            except Exception:
                # The database may be away; stations are served by changes until it is back.
                logger.exception("snapshots_failed")
            await self._pause()

    async def build_wanted(self) -> list[str]:
        """Build the snapshots that are wanted and that no other node is building; returns the scopes."""
        built = []
        for scope in await self._wanted():
            lease = f"snapshot/{scope}"
            if await leases.take(self._database, lease, self._node, LEASE_S):
                try:
                    await self.build(scope)
                    built.append(scope)
                finally:
                    await leases.release(self._database, lease, self._node)
        return built

    async def build(self, scope: str) -> Stored | None:
        """Build a scope's snapshot and offer it; None when there is no such scope."""
        await asyncio.to_thread(self._folder.mkdir, parents=True, exist_ok=True)
        part = self._folder / f"{os.getpid()}-{secrets.token_hex(8)}.part"
        try:
            state = await self._write(scope, part)
            if state is None:
                return None
            sha256, size = await asyncio.to_thread(_measure, part)
            stored = Stored(sha256, state.scope_no, state.gen, state.head, size, self._clock.now_ms())
            await self._store(stored, part)
            await asyncio.to_thread(part.replace, self._path(sha256))
        finally:
            await asyncio.to_thread(part.unlink, missing_ok=True)
        logger.info(
            "snapshot_built",
            extra={"scope": scope, "seq": state.head, "rows": state.digest.count, "bytes": size},
        )
        return stored

    async def file(self, sha256: bytes) -> tuple[str, Path]:
        """The scope of a snapshot, and its file on this node's disk.

        Raises:
            Gone: it is not on offer any more.
        """
        async with self._database.read() as connection:
            found = await db.find(connection, sha256)
        if found is None:
            raise Gone("this snapshot is not on offer any more", hint="fetch the manifest again")
        scope, stored = found
        path = self._path(sha256)
        if not await asyncio.to_thread(path.exists):
            fetching = self._fetching.get(sha256)
            if fetching is None:
                fetching = self._fetching[sha256] = asyncio.create_task(self._fetch(stored, path))
                fetching.add_done_callback(lambda _: self._fetching.pop(sha256, None))
            await asyncio.shield(fetching)
        return scope, path

    async def tidy(self) -> None:
        """Drop snapshots that were replaced an hour ago, the deletions that nobody needs any more, and old files."""
        now_ms = self._clock.now_ms()
        async with self._database.read() as connection:
            stored = await db.all_stored(connection)
            scopes = {
                state.scope_no: state
                for state, _ in (await station_scopes.scope_offers(self._database, connection)).values()
            }
        old = replaced(stored, scopes, now_ms - GRACE_MS)
        for one in old:
            await self._database.run(partial(self._drop, stored=one, scope=scopes[one.scope_no].scope))
        await self._database.run(
            lambda connection: db.forget_publications(connection, now_ms - PUBLICATIONS_FOR_MS)
        )
        kept = {self._path(one.sha256).name for one in stored if one not in old}
        await asyncio.to_thread(self._sweep, kept, now_ms - GRACE_MS)

    async def _wanted(self) -> list[str]:
        async with self._database.read() as connection:
            offers = await station_scopes.scope_offers(self._database, connection)
            return [
                scope
                for scope, (state, offered) in offers.items()
                if await self._wants(connection, state, offered)
            ]

    async def _wants(self, connection: AsyncConnection, state: ScopeState, offered: Offered | None) -> bool:
        since = offered.seq if offered else 0
        enough = may_change(state.digest.count)
        # Every changed row took a seq of its own: where those are few there is nothing to count.
        if state.head - since <= enough:
            return False
        return wants_snapshot(
            state.digest.count, await db.rows_after(connection, state.scope_no, since, enough + 1)
        )

    async def _write(self, scope: str, path: Path) -> ScopeState | None:
        async with self._database.read() as connection:
            state = await catalog.find_scope(connection, scope)
            if state is None:
                return None
            file = await asyncio.to_thread(SnapshotFile, path)
            try:
                async for rows in db.live_rows(self._database, connection, state.scope_no):
                    await asyncio.to_thread(file.add, rows)
                await asyncio.to_thread(
                    file.finish, scope, state.gen.hex(), state.head, state.digest.count, state.digest.hex
                )
            finally:
                await asyncio.to_thread(file.close)
        return state

    async def _store(self, stored: Stored, path: Path) -> None:
        """Keep the file's bytes in the database, in many short transactions: tills are selling meanwhile."""
        await self._database.run(lambda connection: db.begin_store(connection, stored))
        for part in range(-(-stored.bytes // PART_BYTES)):
            data = await asyncio.to_thread(_read_part, path, part)
            await self._database.run(partial(db.store_part, sha256=stored.sha256, part=part, data=data))
        await self._database.run(
            lambda connection: db.finish_store(connection, stored.sha256, stored.built_ms)
        )

    async def _fetch(self, stored: Stored, path: Path) -> Path:
        """Bring a snapshot that another node built to this node's disk."""
        await asyncio.to_thread(self._folder.mkdir, parents=True, exist_ok=True)
        target = self._folder / f"{os.getpid()}-{secrets.token_hex(8)}.part"
        try:
            for part in range(-(-stored.bytes // PART_BYTES)):
                async with self._database.read() as connection:
                    data = await db.read_part(connection, stored.sha256, part)
                if data is None:
                    raise Gone(
                        "this snapshot was replaced while it was being fetched",
                        hint="fetch the manifest again",
                    )
                await asyncio.to_thread(_append, target, data)
            sha256, _ = await asyncio.to_thread(_measure, target)
            if sha256 != stored.sha256:
                raise DamagedData(
                    "the stored parts of a snapshot do not fit its name", hint="it will be built again"
                )
            await asyncio.to_thread(target.replace, path)
        finally:
            await asyncio.to_thread(target.unlink, missing_ok=True)
        return path

    async def _drop(self, connection: AsyncConnection, stored: Stored, scope: str) -> None:
        states = await catalog.lock_scopes(self._database, connection, [scope], secrets.token_bytes)
        await db.drop(connection, stored.sha256)
        await db.purge_deletions(connection, states[scope])

    async def _pause(self) -> None:
        """Until something was published and has settled, or a minute is over."""
        waits = [
            asyncio.create_task(self._moved.wait()),
            asyncio.create_task(self._clock.sleep(LOOK_EVERY_S)),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()
        since_ms = self._clock.tick_ms()
        while self._moved.is_set() and self._clock.tick_ms() - since_ms < SETTLE_MAX_S * 1000:
            self._moved.clear()
            await self._clock.sleep(SETTLE_S)

    def _path(self, sha256: bytes) -> Path:
        return self._folder / f"{sha256.hex()}.db"

    def _sweep(self, kept: Collection[str], before_ms: int) -> None:
        """Delete files whose snapshots are no longer stored, and what a process that died left half-written."""
        for path in self._folder.glob("*.*"):
            # On Windows a file that is being sent cannot be deleted; the next sweep does it.
            with contextlib.suppress(OSError):
                abandoned = path.suffix == ".part" and path.stat().st_mtime * 1000 < before_ms
                if abandoned or (path.suffix == ".db" and path.name not in kept):
                    path.unlink()


def replaced(stored: Sequence[Stored], scopes: Mapping[int, ScopeState], before_ms: int) -> list[Stored]:
    """The snapshots that a newer one replaced before a time, or that belong to a generation that is over."""
    newest = {one.scope_no: one for one in stored if one.built_ms and one.gen == scopes[one.scope_no].gen}
    gone = []
    for one in stored:
        current = newest.get(one.scope_no)
        since_ms = current.built_ms if current else one.built_ms
        if one is not current and one.built_ms and since_ms < before_ms:
            gone.append(one)
    return gone


def _measure(path: Path) -> tuple[bytes, int]:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest(), path.stat().st_size


def _read_part(path: Path, part: int) -> bytes:
    with path.open("rb") as file:
        file.seek(part * PART_BYTES)
        return file.read(PART_BYTES)


def _append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)
