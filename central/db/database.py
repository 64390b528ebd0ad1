"""One way to reach the centre's database, whichever it is.

On SQLite there is one writer connection and a lock around it; readers have their own (WAL). On PostgreSQL every
transaction has a connection of the pool, and one that lost a race (40001, 40P01) is run again. Bulk rows go in
through `store`: multi-row VALUES on SQLite, COPY on PostgreSQL. What every document passes goes through `transact`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast

import shared.sqlite  # isort: skip; first: it decides which SQLite everything below runs on

import asyncpg
from sqlalchemy import Row, Table, event, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from central.db.failures import lost_a_race
from central.db.metadata import metadata
from central.db.tables import (
    catalog,
    codes,
    deliveries,
    documents,
    integrations,
    journal,
    papers,
    registry,
    system,
)
from central.db.transactions import (
    POSTGRES_NOW,
    SQLITE_NOW,
    Change,
    Insert,
    PostgresTransaction,
    Retry,
    SqliteTransaction,
    Statement,
    Transaction,
    Work,
    run_at_once,
    run_on_postgres,
    run_on_sqlite,
)
from shared.canonical import canonical
from shared.errors import ConfigError

T = TypeVar("T")
TABLES = (catalog, codes, deliveries, documents, integrations, journal, papers, registry, system)
"""The modules that describe tables: each puts its own into `metadata` when it is imported."""
AnyRow = Row[*tuple[Any, ...]]
"""A row of any columns; SQLAlchemy 2.1 types a row by each of its columns."""
RETRIES = 8


class Database:
    """Transactions on one database.

    Use `read()` for a consistent view (REPEATABLE READ), `write()` for one transaction, and `run()` for a
    transaction that may have to be run again.
    """

    def __init__(self, url: str, *, pool_size: int = 8) -> None:
        self.url = url
        self.is_sqlite = url.startswith("sqlite")
        if not (self.is_sqlite or url.startswith("postgresql+asyncpg")):
            raise ConfigError(
                f'the database URL "{url}" is not supported',
                hint="use sqlite+aiosqlite:///path or postgresql+asyncpg://user:password@host/name",
            )
        if self.is_sqlite:
            if not shared.sqlite.is_safe():
                raise ConfigError(
                    "this SQLite can lose commits in WAL mode", hint="install pysqlite3 >= 0.6.1"
                )
            self._writer = _sqlite_engine(url, writer=True)
            self._reader = _sqlite_engine(url, writer=False)
        else:
            self._writer = create_async_engine(url, pool_size=pool_size, max_overflow=4, pool_pre_ping=True)
            self._reader = self._writer.execution_options(isolation_level="REPEATABLE READ")
        self._write_lock = asyncio.Lock()
        self._driver: Any = None  # aiosqlite's connection of the one writer
        self._pool: Any = None  # asyncpg's, for `transact`
        self._pool_size = pool_size

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close()
        await self._writer.dispose()
        await self._reader.dispose()

    async def create(self) -> None:
        """Make all tables at once; for tests. Installations go through alembic (`counterflow-central migrate`)."""
        async with self.write() as connection:
            await connection.run_sync(metadata.create_all)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """One consistent view of everything."""
        async with self._reader.connect() as connection, connection.begin():
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """One transaction, committed at the end of the block unless it raises."""
        if self.is_sqlite:
            async with self._write_lock, self._writer.connect() as connection, connection.begin():
                yield connection
        else:
            async with self._writer.connect() as connection, connection.begin():
                yield connection

    async def run(
        self,
        work: Callable[[AsyncConnection], Awaitable[T]],
        *,
        retry: Retry | None = None,
    ) -> T:
        """Run *work* in one write transaction, again if the database says that it lost a race, or *retry* says so."""
        for attempt in range(RETRIES):
            try:
                async with self.write() as connection:
                    return await work(connection)
            except Exception as error:
                again = lost_a_race(error) or (retry is not None and retry(error))
                if not again or attempt == RETRIES - 1:
                    raise
        raise AssertionError("unreachable")

    async def transact(self, work: Work[T], *, retry: Retry | None = None) -> T:
        """As `run`, on the bare driver: see `central.db.transactions` for what such work may do."""
        for attempt in range(RETRIES):
            try:
                return await self._transact(work)
            except Exception as error:
                again = lost_a_race(error) or (retry is not None and retry(error))
                if not again or attempt == RETRIES - 1:
                    raise
        raise AssertionError("unreachable")

    async def _transact(self, work: Work[T]) -> T:
        if self.is_sqlite:
            async with self._write_lock:
                driver = await self._sqlite_driver()
                # aiosqlite offers no public way to run one function on its thread.
                return cast(T, await driver._execute(lambda: run_on_sqlite(driver._conn, work)))
        pool = self._pool or await self._open_pool()
        async with pool.acquire() as raw:
            return await run_on_postgres(raw, work)

    async def _open_pool(self) -> Any:
        async with self._write_lock:
            if self._pool is None:
                _, arguments = self._writer.dialect.create_connect_args(make_url(self.url))
                self._pool = await asyncpg.create_pool(
                    min_size=1, max_size=self._pool_size, reset=_nothing_to_reset, **arguments
                )
            return self._pool

    async def _sqlite_driver(self) -> Any:
        if self._driver is None or self._driver._connection is None:
            async with self._writer.connect() as connection:
                self._driver = (await connection.get_raw_connection()).driver_connection
        return self._driver

    async def script(self, connection: AsyncConnection, statements: Sequence[Statement]) -> list[list[Any]]:
        """Run statements of this database's own dialect one after the other and return the rows of each.

        One hop to SQLite's thread for all, and no compiling of expressions.
        """
        if self.is_sqlite:
            return await _on_sqlite(connection, lambda transaction: transaction.script(statements))
        return await PostgresTransaction(await _asyncpg(connection)).script(statements)

    async def now_ms(self, connection: AsyncConnection) -> int:
        """The database's clock: the one that nonces, tokens and leases of all nodes are timed by."""
        statement = SQLITE_NOW if self.is_sqlite else POSTGRES_NOW
        return int((await connection.execute(text(statement))).scalar_one())

    async def insert_rows(
        self, connection: AsyncConnection, table: Table, rows: Sequence[tuple[Any, ...]]
    ) -> None:
        """Insert whole rows, in the table's column order, as fast as the database takes them."""
        await self.store(connection, [(table, rows)])

    async def store(
        self, connection: AsyncConnection, inserts: Sequence[Insert], changes: Sequence[Change] = ()
    ) -> None:
        """Insert whole rows into several tables, then run each statement of *changes* for each of its parameter sets.

        Rows in the order of their key go in faster.
        """
        if self.is_sqlite:
            await _on_sqlite(connection, lambda transaction: transaction.store(inserts, changes))
        else:
            await PostgresTransaction(await _asyncpg(connection)).store(inserts, changes)

    def listed(self, kind: str = "bigint") -> str:
        """The SQL of a list of any length that is the first and only parameter of a written-out statement."""
        return "(SELECT value FROM json_each(?))" if self.is_sqlite else f"(SELECT unnest($1::{kind}[]))"

    async def rows_of(
        self, connection: AsyncConnection, statement: str, these: Collection[int | str]
    ) -> list[Any]:
        """The rows of a statement that holds `listed`, for *these* values."""
        value = canonical(list(these)).decode() if self.is_sqlite else list(these)
        return (await self.script(connection, [(statement, [value])]))[0]

    def within(self, connection: AsyncConnection) -> Transaction:
        """A transaction begun by `read`, `write` or `run`, for functions that work on a `Transaction`."""
        return _Within(self, connection)

    def insert(self, table: Table) -> Any:
        """An INSERT with ON CONFLICT of the database's own kind."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)


class _Within:
    """A transaction of SQLAlchemy's as a `Transaction`."""

    def __init__(self, database: Database, connection: AsyncConnection) -> None:
        self.is_sqlite = database.is_sqlite
        self._database = database
        self._connection = connection

    async def script(self, statements: Sequence[Statement]) -> list[list[Any]]:
        return await self._database.script(self._connection, statements)

    async def store(self, inserts: Sequence[Insert], changes: Sequence[Change] = ()) -> None:
        await self._database.store(self._connection, inserts, changes)

    async def now_ms(self) -> int:
        return await self._database.now_ms(self._connection)

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        async with self._connection.begin_nested():
            yield


_BEGIN = text("SELECT 1")


async def _asyncpg(connection: AsyncConnection) -> Any:
    raw = (await connection.get_raw_connection()).driver_connection
    assert raw is not None
    if not raw.is_in_transaction():
        await connection.execute(_BEGIN)  # SQLAlchemy begins lazily, and what follows bypasses it
    return raw


async def _on_sqlite(connection: AsyncConnection, work: Work[T]) -> T:
    raw = await connection.get_raw_connection()
    driver: Any = raw.driver_connection  # aiosqlite.Connection
    return cast(T, await driver._execute(lambda: run_at_once(work(SqliteTransaction(driver._conn)))))


async def _nothing_to_reset(_connection: Any) -> None:
    """Nothing that we do outlives its transaction; asyncpg's own reset would cost a round trip each."""


def chunks(rows: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    """*rows* in runs of at most *size*."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _sqlite_engine(url: str, *, writer: bool) -> AsyncEngine:
    engine = create_async_engine(
        url,
        poolclass=AsyncAdaptedQueuePool,
        pool_size=1 if writer else 4,
        max_overflow=0 if writer else 4,
        connect_args={"timeout": 30},
    )

    @event.listens_for(engine.sync_engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        # The driver must not begin transactions by itself: `begin` below does, at once for the writer.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA cache_size=-65536")
        # A checkpoint syncs the database once more; every 16 MB of documents is often enough.
        cursor.execute("PRAGMA wal_autocheckpoint=4000")
        cursor.execute("PRAGMA busy_timeout=30000")
        if not writer:
            cursor.execute("PRAGMA query_only=ON")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writer else "BEGIN")

    return engine
