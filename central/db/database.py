"""One way to reach the centre's database, whichever it is.

On SQLite there is one writer connection and a lock around it; readers have their own (WAL). On PostgreSQL every
transaction has a connection of the pool, and one that lost a race (40001, 40P01) is run again. Bulk rows go in
through `insert_rows`: multi-row VALUES on SQLite, COPY on PostgreSQL.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import chain
from typing import Any, TypeVar, cast

import shared.sqlite  # isort: skip; first: it decides which SQLite everything below runs on

from sqlalchemy import Row, Table, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from central.db.failures import lost_a_race
from central.db.tables import metadata
from shared.errors import ConfigError

T = TypeVar("T")
AnyRow = Row[*tuple[Any, ...]]
"""A row of any columns; SQLAlchemy 2.1 types a row by each of its columns."""
RETRIES = 8
ROWS_PER_STATEMENT = 500
_SQLITE_VARIABLES = 32_000


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

    async def close(self) -> None:
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
        retry: Callable[[BaseException], bool] | None = None,
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

    async def script(
        self, connection: AsyncConnection, statements: Sequence[tuple[str, Sequence[Any]]]
    ) -> list[list[Any]]:
        """Run statements of this database's own dialect one after the other and return the rows of each.

        For the paths that every document takes: one hop to SQLite's thread for all, no compiling of expressions.
        """
        if self.is_sqlite:
            return await on_sqlite(
                connection, lambda raw: [raw.execute(text, values).fetchall() for text, values in statements]
            )
        raw = await _asyncpg(connection)
        return [await raw.fetch(text, *values) for text, values in statements]

    async def now_ms(self, connection: AsyncConnection) -> int:
        """The database's clock: the one that nonces, tokens and leases of all nodes are timed by."""
        if self.is_sqlite:
            statement = "SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"
        else:
            statement = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"
        return int((await connection.execute(text(statement))).scalar_one())

    async def insert_rows(
        self, connection: AsyncConnection, table: Table, rows: Sequence[tuple[Any, ...]]
    ) -> None:
        """Insert whole rows, in the table's column order, as fast as the database takes them."""
        await self.store(connection, [(table, rows)])

    async def store(
        self,
        connection: AsyncConnection,
        inserts: Sequence[tuple[Table, Sequence[tuple[Any, ...]]]],
        changes: Sequence[tuple[str, Sequence[Sequence[Any]]]] = (),
    ) -> None:
        """Insert whole rows into several tables, then run each statement of *changes* for each of its parameter sets.

        Multi-row VALUES on SQLite's thread in one hop, COPY on PostgreSQL. Rows in the order of their key go in faster.
        """
        if self.is_sqlite:
            statements = [statement for table, rows in inserts for statement in _multi_row(table, rows)]
            await on_sqlite(connection, lambda raw: _run_all(raw, statements, changes))
            return
        raw = await _asyncpg(connection)
        for table, rows in inserts:
            if rows:
                columns = [column.name for column in table.columns]
                await raw.copy_records_to_table(table.name, records=rows, columns=columns)
        for statement, parameters in changes:
            await raw.executemany(statement, parameters)

    def insert(self, table: Table) -> Any:
        """An INSERT with ON CONFLICT of the database's own kind."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)


_BEGIN = text("SELECT 1")


async def _asyncpg(connection: AsyncConnection) -> Any:
    raw = (await connection.get_raw_connection()).driver_connection
    assert raw is not None
    if not raw.is_in_transaction():
        await connection.execute(_BEGIN)  # SQLAlchemy begins lazily, and what follows bypasses it
    return raw


async def on_sqlite(connection: AsyncConnection, work: Callable[[Any], T]) -> T:
    """Run *work* with the bare connection on SQLite's thread."""
    raw = await connection.get_raw_connection()
    driver: Any = raw.driver_connection  # aiosqlite.Connection
    # aiosqlite offers no public way to run one function on its thread; a call per statement would cost a hop each.
    return cast(T, await driver._execute(lambda: work(driver._conn)))


def chunks(rows: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    """*rows* in runs of at most *size*."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _multi_row(table: Table, rows: Sequence[tuple[Any, ...]]) -> Iterator[tuple[str, list[Any]]]:
    # One statement of many rows keeps the interpreter out of SQLite's way: it runs without the GIL from end to end.
    width = len(table.columns)
    place = "(" + ",".join("?" * width) + ")"
    head = f'INSERT INTO "{table.name}" VALUES '  # noqa: S608 -- a table of ours
    for part in chunks(rows, min(ROWS_PER_STATEMENT, _SQLITE_VARIABLES // width)):
        yield head + ",".join([place] * len(part)), list(chain.from_iterable(part))


def _run_all(
    raw: Any,
    statements: Sequence[tuple[str, list[Any]]],
    changes: Sequence[tuple[str, Sequence[Sequence[Any]]]],
) -> None:
    for statement, values in statements:
        raw.execute(statement, values)
    for statement, parameters in changes:
        raw.executemany(statement, parameters)


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
