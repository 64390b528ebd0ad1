"""Taking in what stations report: how HQ knows what every till really has.

The report is kept as sent; beside it stands since when the station has reported each scope at its seq, so that a
rollout can tell how long it took.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy.ext.asyncio import AsyncConnection

from central.db import reports as db
from central.db.database import Database
from central.together import Together
from shared.canonical import canonical, parse_object
from shared.protocol.messages import Report

Reached = dict[str, tuple[str, int, int]]
"""Scope -> (gen, seq, since when it is reported at just that, ms)."""


class Reports:
    """Stores reports; those that come together share a transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._store: Together[int, tuple[bytes, Report], int] = Together(self._store_all)

    async def take(self, station_no: int, sent: bytes, report: Report) -> int:
        """Keep a station's report (*sent* are its bytes); returns when, by the centre's clock in ms."""
        return await self._store.ask(station_no, (sent, report))

    async def pass_over(self) -> int:
        """Hear a report that counts for nothing; returns when, by the centre's clock in ms."""
        async with self._database.read() as connection:
            return await self._database.now_ms(connection)

    async def _store_all(self, reports: dict[int, tuple[bytes, Report]]) -> Mapping[int, int]:
        async def work(connection: AsyncConnection) -> int:
            at_ms = await self._database.now_ms(connection)
            before = await db.reached(self._database, connection, list(reports))
            rows = {
                station_no: (
                    sent,
                    canonical(now_reached(read_reached(before.get(station_no)), report, at_ms)),
                )
                for station_no, (sent, report) in reports.items()
            }
            await db.store(self._database, connection, rows, at_ms)
            return at_ms

        return dict.fromkeys(reports, await self._database.run(work))


def read_reached(stored: bytes | None) -> Reached:
    return {scope: (one[0], one[1], one[2]) for scope, one in parse_object(stored).items()} if stored else {}


def now_reached(before: Reached, report: Report, at_ms: int) -> Reached:
    """Since when each reported scope stands where it stands."""
    reached: Reached = {}
    for scope in report.scopes:
        earlier = before.get(scope.scope)
        same = earlier is not None and earlier[:2] == (scope.gen, scope.seq)
        reached[scope.scope] = earlier if same and earlier else (scope.gen, scope.seq, at_ms)
    return reached
