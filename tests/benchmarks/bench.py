"""What every workload is given: how big the work is, a folder for each run, and a place to talk.

A workload is an async function from `Bench` to figures. Nothing that it starts outlives it.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import limits
from tests.benchmarks.result import median
from tests.support.postgres import PostgresCluster


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much work; the defaults are the design's, `TINY` shows that the harness runs."""

    runs: int = 3
    commits: int = 3_000
    http_commits: int = 8_000
    backlog: int = 10_000
    items: int = 100_000
    changed: int = 1_000
    stations: int = 50
    sales_each: int = 200
    mapped: int = 40_000
    rest_s: float = 5.0


TINY = Sizes(
    runs=1,
    commits=20,
    http_commits=32,
    backlog=60,
    items=1_500,
    changed=50,
    stations=3,
    sales_each=20,
    mapped=200,
    rest_s=0.2,
)


class Bench:
    """One run of the benchmarks."""

    def __init__(self, folder: Path, sizes: Sizes, *, postgres: bool = True) -> None:
        self.folder = folder
        self.sizes = sizes
        self.with_postgres = postgres
        self._replay_rates: dict[str, float] = {}
        self._folders = 0
        self._cluster: PostgresCluster | None = None

    @property
    def runs(self) -> range:
        return range(self.sizes.runs)

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def scratch(self, name: str) -> Iterator[Path]:
        """An empty folder, gone afterwards: files of one run must not fill the page cache of the next."""
        self._folders += 1
        folder = self.folder / f"{self._folders:03d}-{name}"
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextlib.asynccontextmanager
    async def database(self, kind: str) -> AsyncIterator[PostgresCluster | None]:
        """The PostgreSQL server for *kind* "postgres", None for "sqlite"."""
        if kind == "postgres" and self._cluster is None:
            self._cluster = PostgresCluster()
            await asyncio.to_thread(self._cluster.start)
        yield self._cluster if kind == "postgres" else None

    def close(self) -> None:
        if self._cluster is not None:
            self._cluster.close()

    async def replay_limit(self, kind: str) -> float:
        """Documents a second that plain code makes durable and queryable; measured once and used by W2 and W6."""
        if kind not in self._replay_rates:
            count = self.sizes.backlog
            batches = limits.centre_batches(count)
            rates = []
            for _ in self.runs:
                async with self.database(kind) as cluster:
                    if cluster is None:
                        with self.scratch("replay-limit") as folder:
                            seconds = await asyncio.to_thread(
                                limits.replay_sqlite, folder / "limit.db", batches
                            )
                    else:
                        url = await asyncio.to_thread(cluster.create_database)
                        seconds = await limits.replay_postgres(url, batches)
                        await asyncio.to_thread(cluster.drop_database, url)
                rates.append(count / seconds)
            self._replay_rates[kind] = median(rates)
        return self._replay_rates[kind]
