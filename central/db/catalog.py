"""Scopes and their rows: the statements of publishing and of reading changes.

A publisher holds the locks of its scopes' rows from before it reads a head until it commits, so the seqs of a scope
rise in commit order, on SQLite and on any number of PostgreSQL nodes. Invariant: count and digest of a scope's row
are those of its live rows at its head, in every committed state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import ARRAY, ColumnElement, and_, delete, func, insert, literal, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from central.db.database import Database, chunks
from central.db.tables.catalog import publications, scope_rows, scopes
from shared.canonical import canonical
from shared.catalog.changes import RowChange
from shared.digest import Digest

T = TypeVar("T")
KEYS_PER_QUERY = 20_000
ROWS_PER_STATEMENT = 10_000


@dataclass(frozen=True, slots=True)
class ScopeState:
    """A scope's row: where its log stands. `floor`: tombstones up to this seq are purged."""

    scope_no: int
    scope: str
    gen: bytes
    head: int
    digest: Digest
    floor: int


@dataclass(frozen=True, slots=True)
class PageRow:
    """One row of the log at its newest seq; version and payload None for a tombstone."""

    seq: int
    entity: str
    key: str
    version: bytes | None
    payload: bytes | None


@dataclass(frozen=True, slots=True)
class Page:
    """Rows after a cursor and the scope as it stood in that same view."""

    state: ScopeState
    rows: list[PageRow]
    up_to_date: bool


STATE_COLUMNS = (
    scopes.c.scope_no,
    scopes.c.scope,
    scopes.c.gen,
    scopes.c.head,
    scopes.c.count,
    scopes.c.digest,
    scopes.c.floor,
)


def state_of(row: Any) -> ScopeState:
    return ScopeState(row[0], row[1], row[2], row[3], Digest(row[4], int.from_bytes(row[5], "big")), row[6])


def one_of(database: Database, column: ColumnElement[T], values: Iterable[T]) -> ColumnElement[bool]:
    """A condition that takes any number of values in one parameter, so that its statement is prepared once."""
    # A join, not `= ANY(array)`: without fresh statistics PostgreSQL compares every row with every element.
    if database.is_sqlite:
        listed = func.json_each(canonical(list(values)).decode()).table_valued("value")
    else:
        listed = func.unnest(literal(list(values), ARRAY(column.type))).table_valued("value").render_derived()
    return column.in_(select(listed.c.value))


# ---- publishing ----


async def lock_scopes(
    database: Database, connection: AsyncConnection, names: Iterable[str], new_gen: Callable[[], bytes]
) -> dict[str, ScopeState]:
    """The scopes' rows, locked until the end of the transaction; those that were not there are created."""
    wanted = sorted(set(names))
    known = set(
        (await connection.execute(select(scopes.c.scope).where(scopes.c.scope.in_(wanted)))).scalars()
    )
    # First all insertions, then all locks, each in one order that every publisher keeps: nobody waits in a circle.
    for name in wanted:
        if name not in known:
            row = {"scope": name, "gen": new_gen(), "head": 0, "count": 0, "digest": bytes(16), "floor": 0}
            await connection.execute(database.insert(scopes).values(row).on_conflict_do_nothing())
    states = {}
    for name in wanted:
        locked = select(*STATE_COLUMNS).where(scopes.c.scope == name).with_for_update()
        states[name] = state_of((await connection.execute(locked)).one())
    return states


async def scope_names(connection: AsyncConnection) -> list[str]:
    return list((await connection.execute(select(scopes.c.scope).order_by(scopes.c.scope))).scalars())


async def live_versions(
    database: Database,
    connection: AsyncConnection,
    scope_no: int,
    entity: str,
    keys: Sequence[str] | None = None,
) -> dict[str, bytes]:
    """Key -> version of an entity's live rows in a scope: of *keys*, or of all."""
    statement = select(scope_rows.c.key, scope_rows.c.version).where(_live(scope_no, entity))
    if keys is None:
        return {row[0]: row[1] for row in await connection.execute(statement)}
    found: dict[str, bytes] = {}
    for part in chunks(keys, KEYS_PER_QUERY):
        rows = await connection.execute(statement.where(one_of(database, scope_rows.c.key, part)))
        found |= {row[0]: row[1] for row in rows}
    return found


async def live_payloads(
    database: Database, connection: AsyncConnection, scope_no: int, entity: str, keys: Sequence[str]
) -> dict[str, bytes]:
    """Key -> payload of an entity's live rows in a scope."""
    statement = select(scope_rows.c.key, scope_rows.c.payload).where(_live(scope_no, entity))
    found: dict[str, bytes] = {}
    for part in chunks(keys, KEYS_PER_QUERY):
        rows = await connection.execute(statement.where(one_of(database, scope_rows.c.key, part)))
        found |= {row[0]: row[1] for row in rows}
    return found


def _live(scope_no: int, entity: str) -> ColumnElement[bool]:
    return and_(
        scope_rows.c.scope_no == scope_no, scope_rows.c.entity == entity, scope_rows.c.version.is_not(None)
    )


_UPSERT_SQLITE = """
INSERT INTO scope_rows (scope_no, entity, key, seq, version, payload) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (scope_no, entity, key) DO UPDATE
SET seq = excluded.seq, version = excluded.version, payload = excluded.payload
"""
_UPSERT_POSTGRESQL = text("""
INSERT INTO scope_rows (scope_no, entity, key, seq, version, payload)
SELECT CAST(:scope_no AS bigint), entity, key, seq, version, payload
FROM unnest(CAST(:entities AS text[]), CAST(:keys AS text[]), CAST(:seqs AS bigint[]), CAST(:versions AS bytea[]),
            CAST(:payloads AS bytea[])) AS new (entity, key, seq, version, payload)
ON CONFLICT (scope_no, entity, key) DO UPDATE
SET seq = excluded.seq, version = excluded.version, payload = excluded.payload
""")


async def write_rows(
    database: Database, connection: AsyncConnection, scope_no: int, first_seq: int, rows: Sequence[RowChange]
) -> None:
    """Write *rows* at the seqs from *first_seq* on; a row that is there moves to its new seq."""
    seq = first_seq
    for part in chunks(rows, ROWS_PER_STATEMENT):
        seqs = range(seq, seq + len(part))
        if database.is_sqlite:
            values = [
                (scope_no, row.entity, row.key, at, row.version, row.payload)
                for at, row in zip(seqs, part, strict=True)
            ]
            await connection.exec_driver_sql(_UPSERT_SQLITE, values)
        else:
            columns = {
                "scope_no": scope_no,
                "entities": [row.entity for row in part],
                "keys": [row.key for row in part],
                "seqs": list(seqs),
                "versions": [row.version for row in part],
                "payloads": [row.payload for row in part],
            }
            await connection.execute(_UPSERT_POSTGRESQL, columns)
        seq += len(part)


async def move_head(connection: AsyncConnection, state: ScopeState, head: int, digest: Digest) -> None:
    """The scope's row after a publication."""
    values = {"head": head, "count": digest.count, "digest": digest.total.to_bytes(16, "big")}
    await connection.execute(update(scopes).where(scopes.c.scope_no == state.scope_no).values(values))


async def note_publication(
    connection: AsyncConnection, scope_no: int, seq: int, at_ms: int, count: int
) -> None:
    values = {"scope_no": scope_no, "seq": seq, "at_ms": at_ms, "rows": count}
    await connection.execute(insert(publications).values(values))


async def renew_gen(connection: AsyncConnection, state: ScopeState, gen: bytes) -> None:
    """Another generation: every station takes the scope anew. The head moves too, so that nodes notice."""
    values = {"gen": gen, "head": state.head + 1}
    await connection.execute(update(scopes).where(scopes.c.scope_no == state.scope_no).values(values))


async def purge_tombstones(connection: AsyncConnection, state: ScopeState, upto: int) -> int:
    """Forget the deletions up to a seq; cursors below it are no longer served. Returns how many there were."""
    old = (
        (scope_rows.c.scope_no == state.scope_no)
        & (scope_rows.c.seq <= upto)
        & scope_rows.c.version.is_(None)
    )
    purged = (await connection.execute(delete(scope_rows).where(old))).rowcount
    if purged:
        await connection.execute(update(scopes).where(scopes.c.scope_no == state.scope_no).values(floor=upto))
    return purged


# ---- reading ----


async def find_scope(connection: AsyncConnection, name: str) -> ScopeState | None:
    row = (await connection.execute(select(*STATE_COLUMNS).where(scopes.c.scope == name))).first()
    return state_of(row) if row else None


# Lengths first: a page ends at a bound of bytes, and what lies beyond it is never loaded.
_PAGE_END = text("""
SELECT max(CASE WHEN size <= :bytes_max OR n = 1 THEN seq END), max(seq) FROM (
    SELECT seq, row_number() OVER (ORDER BY seq) AS n, sum(coalesce(length(payload), 0)) OVER (ORDER BY seq) AS size
    FROM (SELECT seq, payload FROM scope_rows WHERE scope_no = :scope_no AND seq > :after
          ORDER BY seq LIMIT :rows_max) AS taken
) AS measured
""")
_PAGE = text("""
SELECT seq, entity, key, version, payload FROM scope_rows
WHERE scope_no = :scope_no AND seq > :after AND seq <= :end ORDER BY seq
""")


async def read_page(
    connection: AsyncConnection, name: str, after: int, rows_max: int, bytes_max: int
) -> Page | None:
    """The next rows of a scope after a cursor, and the scope in that same view; None without such a scope."""
    state = await find_scope(connection, name)
    if state is None:
        return None
    # One row more than a page holds tells whether anything follows.
    bound = {"scope_no": state.scope_no, "after": after, "bytes_max": bytes_max, "rows_max": rows_max + 1}
    end, furthest = (await connection.execute(_PAGE_END, bound)).one()
    if end is None:
        return Page(state, [], up_to_date=True)
    found = await connection.execute(_PAGE, {"scope_no": state.scope_no, "after": after, "end": end})
    rows = [PageRow(*row) for row in found]
    if len(rows) > rows_max:
        return Page(state, rows[:rows_max], up_to_date=False)
    return Page(state, rows, up_to_date=end == furthest)
