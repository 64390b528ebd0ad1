"""Answers to foreign systems are kept as long as anybody may repeat a request, and not for ever.

A request that is repeated later still yields no second document: the duplicate check and the doc_id know it.
"""

from __future__ import annotations

import logging

from central.db import foreign as rows
from central.db.database import Database
from shared.clock import Clock

KEEP_DAYS = 35
LOOK_EVERY_S = 3_600.0
_DAY_MS = 86_400_000

logger = logging.getLogger(__name__)


class OldAnswers:
    """Forgets answers that are older than `KEEP_DAYS`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def run(self) -> None:
        """Look every hour; an error of the database is told and waited out."""
        while True:
            try:
                if forgotten := await self.look():
                    logger.info("answers_forgotten", extra={"answers": forgotten})
            except Exception:
                logger.exception("forgetting_answers_failed")
            await self._clock.sleep(LOOK_EVERY_S)

    async def look(self) -> int:
        """Returns how many were forgotten."""
        async with self._database.write() as connection:
            before_ms = await self._database.now_ms(connection) - KEEP_DAYS * _DAY_MS
            return await rows.forget_answers(connection, before_ms)
