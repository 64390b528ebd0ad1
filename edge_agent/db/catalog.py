"""The station's copy of the catalog: catalog.db, which may be lost at any time and is fetched again.

One connection writes (and is the only checkpointer), one reads; selling never waits for a scope to be applied.
Invariant: a till sees each scope in some state that the centre published, never half of one; rows, cursor and digest
move in one transaction, and only if the digest fits. A file that was deleted, replaced or damaged is noticed at the
next look and begun anew; whoever fetches the catalog is told through `on_lost`.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from edge_agent.db import catalog_pages, catalog_read, catalog_scopes
from edge_agent.db.catalog_changes import NewRows
from edge_agent.db.catalog_pages import DigestDiffers
from edge_agent.db.catalog_scopes import Build
from edge_agent.db.catalog_snapshot import copy_snapshot, prove
from edge_agent.db.connection import OwnedConnection, stated, transaction
from edge_agent.lookup import searchable
from edge_agent.sync.catalog_plan import LocalScope
from shared.canonical import sha256
from shared.errors import CannotStore, DamagedData, Unavailable
from shared.protocol import framing
from shared.protocol.messages import ChangesEnvelope, ScopeOffer

log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

PAGE_BYTES = 8_192
"""A snapshot is copied a quarter faster than with 4 KiB; with more, scattered changes would write too much."""
WAL_KEPT_BYTES = 4 << 20

# A full or read-only disk is no damage: what is there can still be read, and is.
_SHORT_READ, _FAILED_READ = (
    522,
    266,
)  # SQLITE_IOERR_SHORT_READ, SQLITE_IOERR_READ: the driver has no names for them
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, _SHORT_READ, _FAILED_READ}


class CatalogLost(Unavailable):
    """catalog.db was deleted or damaged; an empty one stands in its place and is being filled."""

    code = "catalog-lost"


class Catalog:
    """catalog.db. `on_lost` is called when it has to be fetched anew."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.on_lost: Callable[[], None] = lambda: None
        self._lock = asyncio.Lock()
        self._writer: OwnedConnection | None = None
        self._reader: OwnedConnection | None = None
        self._file: tuple[int, int] | None = None

    @classmethod
    async def open(cls, path: Path) -> Catalog:
        """Open catalog.db, or begin it where there is none that can be used.

        A disk that does not take it stops no sale: the catalog is opened by `renew` once it does.
        """
        catalog = cls(path)
        try:
            await catalog._open()
        except CannotStore as error:
            log.error("catalog_not_opened", extra={"path": str(path), "why": str(error)})
        return catalog

    async def close(self) -> None:
        async with self._lock:
            await self._disconnect()

    # ---- what is there ----

    async def scopes(self) -> dict[str, LocalScope]:
        """Every scope with its cursor and digest."""
        rows = await self.read(_scopes)
        return {
            scope: LocalScope(gen, seq, rank, count, digest) for scope, gen, rank, seq, count, digest in rows
        }

    async def recount(self, scope: str) -> bool:
        """Add up a scope's rows anew; whether they are what its digest says.

        If not (a row changed by hand, a flipped bit), the true digest is kept: the next look finds the difference.
        """
        return await self._change(catalog_scopes.correct_digest, scope) is None

    # ---- what changes it ----

    async def load_snapshot(self, file: Path, offer: ScopeOffer) -> None:
        """Replace a scope by a snapshot file.

        Raises:
            DamagedData: the file is not what was offered; the scope stays as it was.
        """
        replaced = await self._write(copy_snapshot, file, offer.scope, offer.gen, offer.rank)
        await self._write(prove, offer.scope, replaced)

    async def staged_to(self, scope: str, gen: str, after: int) -> int:
        """The cursor that pages are kept up to, of those that begin at *after*."""
        return await self._change(catalog_pages.staged_to, scope, gen, after)

    async def stage(self, page: ChangesEnvelope, payloads: Sequence[bytes]) -> None:
        """Keep a page until the last one is there."""
        raw = framing.join({"rows": page.rows}, payloads)
        await self._change(catalog_pages.stage, page.scope, page.after, page.gen, page.rows[-1][0], raw)

    async def apply_changes(self, last: ChangesEnvelope, payloads: Sequence[bytes]) -> None:
        """Apply the staged pages and the last one to a scope, with the cursor, in one transaction.

        Raises:
            DigestDiffers: they do not lead to the centre's digest; the scope stays as it was.
        """
        try:
            await self._change(catalog_pages.apply_pages, last, payloads)
        except DigestDiffers:
            await self._change(catalog_pages.forget_staged, last.scope)
            raise

    async def begin_build(self, scope: str, gen: str) -> Build:
        """Begin to load a scope whole by pages, or go on with it; a till sees nothing of it before `finish_build`."""
        return await self._change(catalog_scopes.begin_build, scope, gen)

    async def build(self, scope: str, seq: int, rows: NewRows) -> None:
        """Add a page to a scope that is being built; *seq* is its last row's."""
        await self._change(catalog_pages.build, scope, seq, rows)

    async def finish_build(self, last: ChangesEnvelope, rank: int) -> None:
        """Put the scope that was built in the place of the one that tills see.

        Raises:
            DigestDiffers: its rows do not have the centre's digest; the old one stays, if there is one.
        """
        error = await self._change(catalog_pages.finish_build, last, rank)
        if error is not None:
            raise error

    async def drop_build(self, scope: str) -> None:
        """Give up what was built of a scope."""
        await self._change(catalog_scopes.drop_build, scope)

    async def drop_scopes(self, scopes: Sequence[str]) -> None:
        """Take scopes away; their rows go in the background."""
        await self._change(_drop_scopes, scopes)

    async def set_ranks(self, ranks: Mapping[str, int]) -> None:
        """Change the precedence of scopes."""
        await self._change(_set_ranks, ranks)

    async def tidy(self) -> None:
        """Do what no look-up by code or barcode waits for: leftovers, names, and the write-ahead log's end."""
        while await self._change(catalog_scopes.remove_leftovers):
            pass
        while await self._change(catalog_scopes.index_names):
            pass
        if await asyncio.to_thread(_size_of, Path(f"{self.path}-wal")) > WAL_KEPT_BYTES:
            await self._write(_checkpoint)

    # ---- how it is reached ----

    async def read(
        self, work: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a function of `catalog_read` on the reader's thread, in one consistent view.

        Raises:
            CatalogLost: the file is damaged; it is being fetched anew.
        """
        if self.is_gone():
            self.on_lost()  # this connection still answers from the deleted file
        try:
            return await _on_thread(self._reader, catalog_read.one_view, work, *args, **kwargs)
        except (DamagedData, CannotStore) as error:
            if not (_is_damage(error.__cause__) or self.is_gone()):
                raise
            async with self._lock:
                await self._begin_anew(str(error))
            raise CatalogLost(f"{error}; it is fetched anew", hint="try again in a moment") from error

    def is_gone(self) -> bool:
        """Whether the file that is open is no longer the one under its name."""
        try:
            now = os.stat(self.path)
        except OSError:
            return True
        return (now.st_dev, now.st_ino) != self._file

    async def renew(self) -> bool:
        """Open it if it is not, begin anew if the file is gone; whether any was so.

        Raises:
            CannotStore: the disk does not take it.
        """
        if not self.is_gone():
            return False
        async with self._lock:
            if self._file is None:
                await self._open()
            else:
                await self._begin_anew("the file was deleted or replaced")
        return True

    async def _change(self, work: Callable[..., T], *args: Any) -> T:
        return await self._write(_in_transaction, work, *args)

    async def _write(self, work: Callable[..., T], *args: Any) -> T:
        async with self._lock:
            if self._file is not None and self.is_gone():
                await self._begin_anew("the file was deleted or replaced")
                raise CatalogLost(f"{self.path.name} was deleted; it is fetched anew")
            try:
                return await _on_thread(self._writer, work, *args)
            except (DamagedData, CannotStore) as error:
                if not _is_damage(error.__cause__):
                    raise
                await self._begin_anew(str(error))
                raise CatalogLost(f"{error}; it is fetched anew") from error

    async def _begin_anew(self, why: str) -> None:
        log.warning("catalog_begun_anew", extra={"path": str(self.path), "why": why})
        await self._disconnect()
        try:
            await asyncio.to_thread(_delete, self.path)
            await self._connect()
        except CannotStore:
            await self._disconnect()
            raise
        except OSError as error:
            raise CannotStore(
                f"{self.path} cannot be begun anew: {error}", hint="look at the disk and its rights"
            ) from error
        self.on_lost()

    async def _open(self) -> None:
        """Connect to the file as it is, or begin anew if it cannot be used."""
        try:
            await self._connect()
        except (DamagedData, _OtherSchema) as error:
            await self._begin_anew(str(error))
        except BaseException:
            await self._disconnect()
            raise

    async def _connect(self) -> None:
        if await asyncio.to_thread(_size_of, self.path) == 0:
            with stated(self.path):
                await asyncio.to_thread(_create, self.path)
        self._writer = await OwnedConnection.open(self.path)
        await self._writer.run(_prepare)
        self._reader = await OwnedConnection.open(self.path, read_only=True)
        await self._reader.run(_scopes)  # opens the files for good: a deleted one can be read on
        status = await asyncio.to_thread(os.stat, self.path)
        self._file = (status.st_dev, status.st_ino)

    async def _disconnect(self) -> None:
        connections, self._writer, self._reader, self._file = (self._reader, self._writer), None, None, None
        for connection in connections:
            if connection is not None:
                await connection.close()


class _OtherSchema(Exception):
    """catalog.db was made by another version of the agent."""


async def _on_thread(
    connection: OwnedConnection | None, work: Callable[..., T], *args: Any, **kwargs: Any
) -> T:
    if connection is None:
        raise Unavailable("the catalog is being opened anew", hint="try again in a moment")
    return await connection.run(functools.partial(_late, work, args, kwargs))


def _late(
    work: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any], connection: sqlite3.Connection
) -> T:
    return work(connection, *args, **kwargs)


def _schema() -> str:
    return resources.files(__package__).joinpath("catalog.sql").read_text("utf-8")


def schema_version(schema: str) -> int:
    """A number that changes with every table: a file of another one is begun anew, there is nothing to migrate.

    Reckoned, not counted, so that no change of a table can be made without it; comments and line breaks change nothing.
    """
    said = " ".join(word for line in schema.splitlines() for word in line.partition("--")[0].split())
    return int.from_bytes(sha256(said.encode())[:4], "big") >> 1 or 1  # 0 stands for a file without a schema


def _create(path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
        connection.executescript(_schema())
        # Last: a file without it is begun anew.
        connection.execute(f"PRAGMA user_version={schema_version(_schema())}")
    finally:
        connection.close()


def _prepare(connection: sqlite3.Connection) -> None:
    # A power cut may cost the last moments of a disposable file, never its consistency.
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA wal_autocheckpoint=0")  # `tidy` does it, when nobody waits
    connection.execute("PRAGMA trusted_schema=OFF")
    connection.create_function("searchable", 1, searchable, deterministic=True)
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    ours = schema_version(_schema())
    if version != ours:
        raise _OtherSchema(f"its schema is {version}, this agent's is {ours}")


def _is_damage(error: BaseException | None) -> bool:
    code = getattr(error, "sqlite_errorcode", 0)
    return code in _DAMAGE or code & 0xFF in _DAMAGE  # CORRUPT has many kinds


def _delete(path: Path) -> None:
    for ending in ("", "-wal", "-shm"):
        Path(f"{path}{ending}").unlink(missing_ok=True)


def _size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _in_transaction(connection: sqlite3.Connection, work: Callable[..., T], *args: Any) -> T:
    with transaction(connection):
        return work(connection, *args)


def _scopes(connection: sqlite3.Connection) -> list[tuple[str, str, int, int, int, str]]:
    return connection.execute("SELECT scope, gen, rank, seq, count, digest FROM scopes").fetchall()


def _drop_scopes(connection: sqlite3.Connection, scopes: Sequence[str]) -> None:
    for scope in scopes:
        catalog_scopes.drop_build(connection, scope)
        catalog_scopes.drop_scope(connection, scope)


def _set_ranks(connection: sqlite3.Connection, ranks: Mapping[str, int]) -> None:
    connection.executemany(
        "UPDATE scopes SET rank = ? WHERE scope = ?", [(rank, scope) for scope, rank in ranks.items()]
    )


def _checkpoint(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
