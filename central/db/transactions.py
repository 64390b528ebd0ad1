"""Transactions on the bare driver, for the paths that every document takes.

Through SQLAlchemy a transaction costs half a millisecond of the event loop's time before it has done anything. Here
a whole transaction on SQLite is one function on its thread: the work is a coroutine that is never suspended there,
because nothing that it awaits ever waits. On PostgreSQL the same coroutine runs on asyncpg.

Rule: such work awaits nothing but the methods of its `Transaction`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import chain
from typing import Any, Protocol, TypeVar

from sqlalchemy import Table

T = TypeVar("T")
Statement = tuple[str, Sequence[Any]]
Insert = tuple[Table, Sequence[tuple[Any, ...]]]
Change = tuple[str, Sequence[Sequence[Any]]]

ROWS_PER_STATEMENT = 500
_SQLITE_VARIABLES = 32_000
SQLITE_NOW = "SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"
POSTGRES_NOW = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"


class Transaction(Protocol):
    """One transaction: statements of this database's own dialect, and whole rows in bulk."""

    is_sqlite: bool

    async def script(self, statements: Sequence[Statement]) -> list[list[Any]]:
        """Run statements one after the other and return the rows of each."""
        ...

    async def store(self, inserts: Sequence[Insert], changes: Sequence[Change] = ()) -> None:
        """Insert whole rows, in the tables' column order; then run each change for each of its parameter sets."""
        ...

    async def now_ms(self) -> int:
        """The database's clock."""
        ...

    def savepoint(self) -> AbstractAsyncContextManager[None]:
        """Undo what the block did if it raises, and only that."""
        ...


Work = Callable[[Transaction], Coroutine[Any, Any, T]]
Retry = Callable[[BaseException], bool]
"""Whether an error means that the work should be done again."""


class SqliteTransaction:
    """On SQLite's thread, with the bare connection. Multi-row VALUES: one statement runs without the GIL."""

    is_sqlite = True

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    async def script(self, statements: Sequence[Statement]) -> list[list[Any]]:
        return [self._raw.execute(text, values).fetchall() for text, values in statements]

    async def store(self, inserts: Sequence[Insert], changes: Sequence[Change] = ()) -> None:
        for table, rows in inserts:
            for text, values in multi_row(table, rows):
                self._raw.execute(text, values)
        for text, parameters in changes:
            self._raw.executemany(text, parameters)

    async def now_ms(self) -> int:
        return int(self._raw.execute(SQLITE_NOW).fetchone()[0])

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        self._raw.execute("SAVEPOINT one")
        try:
            yield
        except BaseException:
            self._raw.execute("ROLLBACK TO one")
            raise
        finally:
            self._raw.execute("RELEASE one")


class PostgresTransaction:
    """On asyncpg. Rows go in by COPY."""

    is_sqlite = False

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    async def script(self, statements: Sequence[Statement]) -> list[list[Any]]:
        return [await self._raw.fetch(text, *values) for text, values in statements]

    async def store(self, inserts: Sequence[Insert], changes: Sequence[Change] = ()) -> None:
        for table, rows in inserts:
            if rows:
                columns = [column.name for column in table.columns]
                await self._raw.copy_records_to_table(table.name, records=rows, columns=columns)
        for text, parameters in changes:
            if len(parameters) == 1:
                await self._raw.execute(text, *parameters[0])
            elif parameters:
                await self._raw.executemany(text, parameters)

    async def now_ms(self) -> int:
        return int(await self._raw.fetchval(POSTGRES_NOW))

    def savepoint(self) -> AbstractAsyncContextManager[None]:
        nested: AbstractAsyncContextManager[None] = self._raw.transaction()
        return nested


def run_on_sqlite(raw: Any, work: Work[T]) -> T:
    """One whole transaction; to be called on the connection's thread."""
    raw.execute("BEGIN IMMEDIATE")
    try:
        result = run_at_once(work(SqliteTransaction(raw)))
        raw.execute("COMMIT")
    except BaseException:
        if raw.in_transaction:
            raw.execute("ROLLBACK")
        raise
    return result


def run_at_once(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    work.close()
    raise AssertionError("work of a transaction awaited something else than the transaction")


async def run_on_postgres(raw: Any, work: Work[T]) -> T:
    """One whole transaction on an asyncpg connection."""
    async with raw.transaction():
        return await work(PostgresTransaction(raw))


def multi_row(table: Table, rows: Sequence[tuple[Any, ...]]) -> Iterator[tuple[str, list[Any]]]:
    """Statements that insert *rows* many at a time, with their values."""
    if not rows:
        return
    width = len(table.columns)
    place = "(" + ",".join("?" * width) + ")"
    head = f'INSERT INTO "{table.name}" VALUES '  # noqa: S608 -- a table of ours
    size = min(ROWS_PER_STATEMENT, _SQLITE_VARIABLES // width)
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        yield head + ",".join([place] * len(part)), list(chain.from_iterable(part))
