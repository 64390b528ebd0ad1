"""Where snapshots are kept: which scopes want one, the rows that go into it, and its bytes in parts.

`built_ms` is 0 while the parts are being stored; until then nobody is offered the snapshot.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from sqlalchemy import and_, delete, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from central.db.catalog import ScopeState, purge_tombstones
from central.db.database import Database
from central.db.snapshot_file import Row
from central.db.tables.catalog import publications, scope_rows, scopes, snapshot_parts, snapshots

ROWS_PER_READ = 5_000


@dataclass(frozen=True, slots=True)
class Stored:
    """A snapshot in the database, finished or not."""

    sha256: bytes
    scope_no: int
    gen: bytes
    seq: int
    bytes: int
    built_ms: int


async def all_stored(connection: AsyncConnection) -> list[Stored]:
    """Every snapshot, the newest of a scope last."""
    columns = snapshots.c
    query = select(
        columns.sha256, columns.scope_no, columns.gen, columns.seq, columns.bytes, columns.built_ms
    )
    return [
        Stored(*row)
        for row in await connection.execute(query.order_by(columns.scope_no, columns.seq, columns.built_ms))
    ]


async def find(connection: AsyncConnection, sha256: bytes) -> tuple[str, Stored] | None:
    """A finished snapshot and the name of its scope."""
    columns = snapshots.c
    query = (
        select(
            scopes.c.scope,
            columns.sha256,
            columns.scope_no,
            columns.gen,
            columns.seq,
            columns.bytes,
            columns.built_ms,
        )
        .join(scopes, scopes.c.scope_no == columns.scope_no)
        .where(columns.sha256 == sha256, columns.built_ms > 0)
    )
    row = (await connection.execute(query)).first()
    return (row[0], Stored(*row[1:])) if row else None


async def rows_after(connection: AsyncConnection, scope_no: int, seq: int, most: int) -> int:
    """How many rows changed after a seq, counted up to *most*."""
    changed = (
        select(scope_rows.c.seq).where(scope_rows.c.scope_no == scope_no, scope_rows.c.seq > seq).limit(most)
    )
    return int((await connection.execute(select(func.count()).select_from(changed.subquery()))).scalar_one())


_LIVE_ROWS = (
    "SELECT entity, key, version, payload FROM scope_rows WHERE scope_no = :scope_no AND version IS NOT NULL"
)
# Key order of bytes on both databases: PostgreSQL would sort by the rules of its locale.
_LIVE_SQLITE = text(f"{_LIVE_ROWS} ORDER BY entity, key")
_LIVE_POSTGRESQL = text(f'{_LIVE_ROWS} ORDER BY entity COLLATE "C", key COLLATE "C"')


async def live_rows(
    database: Database, connection: AsyncConnection, scope_no: int
) -> AsyncIterator[Sequence[Row]]:
    """All live rows of a scope in key order, some thousands at a time."""
    statement = _LIVE_SQLITE if database.is_sqlite else _LIVE_POSTGRESQL
    async with connection.stream(statement, {"scope_no": scope_no}) as result:
        async for part in result.partitions(ROWS_PER_READ):
            yield [(row[0], row[1], row[2], row[3]) for row in part]


# ---- storing and serving its bytes ----


async def begin_store(connection: AsyncConnection, stored: Stored) -> None:
    """Announce a snapshot whose parts follow; what an attempt that died left of the scope's is dropped."""
    unfinished = (snapshots.c.scope_no == stored.scope_no) & (snapshots.c.built_ms == 0)
    left = (await connection.execute(select(snapshots.c.sha256).where(unfinished))).scalars().all()
    for sha256 in {*left, stored.sha256}:
        await drop(connection, sha256)
    values = {
        "sha256": stored.sha256,
        "scope_no": stored.scope_no,
        "gen": stored.gen,
        "seq": stored.seq,
        "bytes": stored.bytes,
        "built_ms": 0,
    }
    await connection.execute(insert(snapshots).values(values))


async def store_part(connection: AsyncConnection, sha256: bytes, part: int, data: bytes) -> None:
    await connection.execute(insert(snapshot_parts).values(sha256=sha256, part=part, data=data))


async def finish_store(connection: AsyncConnection, sha256: bytes, built_ms: int) -> None:
    await connection.execute(update(snapshots).where(snapshots.c.sha256 == sha256).values(built_ms=built_ms))


async def read_part(connection: AsyncConnection, sha256: bytes, part: int) -> bytes | None:
    query = select(snapshot_parts.c.data).where(
        snapshot_parts.c.sha256 == sha256, snapshot_parts.c.part == part
    )
    return (await connection.execute(query)).scalar_one_or_none()


# ---- forgetting ----


async def drop(connection: AsyncConnection, sha256: bytes) -> None:
    await connection.execute(delete(snapshot_parts).where(snapshot_parts.c.sha256 == sha256))
    await connection.execute(delete(snapshots).where(snapshots.c.sha256 == sha256))


async def purge_deletions(connection: AsyncConnection, state: ScopeState) -> int:
    """Purge a scope's tombstones up to the oldest snapshot that is still on offer; none without one."""
    of_this_gen = and_(
        snapshots.c.scope_no == state.scope_no, snapshots.c.gen == state.gen, snapshots.c.built_ms > 0
    )
    oldest = (await connection.execute(select(func.min(snapshots.c.seq)).where(of_this_gen))).scalar_one()
    return await purge_tombstones(connection, state, oldest) if oldest is not None else 0


async def forget_publications(connection: AsyncConnection, before_ms: int) -> None:
    await connection.execute(delete(publications).where(publications.c.at_ms < before_ms))
