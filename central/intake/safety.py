"""What is old enough counts as safe, backup or not: a station need not keep its documents for ever (R6)."""

from __future__ import annotations

import logging

from central.db import journal
from central.db.database import Database
from shared.clock import Clock

LOOK_EVERY_S = 3_600.0
_DAY_MS = 86_400_000

logger = logging.getLogger(__name__)


class SafeByAge:
    """Moves the safe point of epochs over documents that arrived long ago."""

    def __init__(self, database: Database, clock: Clock, days: int) -> None:
        self._database = database
        self._clock = clock
        self._days = days

    async def run(self) -> None:
        """Look every hour; an error of the database is told and waited out."""
        while True:
            try:
                if moved := await self.look():
                    logger.info("safe_by_age", extra={"epochs": moved})
            except Exception:
                logger.exception("safe_by_age_failed")
            await self._clock.sleep(LOOK_EVERY_S)

    async def look(self) -> int:
        """Returns how many epochs moved."""
        async with self._database.write() as connection:
            before_ms = await self._database.now_ms(connection) - self._days * _DAY_MS
            covered = await journal.positions(self._database, connection, before_ms)
            return await journal.mark_safe(self._database, connection, covered)
