"""What the station keeps and for how long, and its nightly look at itself.

R6: only a prefix goes whose head is the centre's safe one, and only once it is old; `edge_agent/sync/plan.py` decides
how far. Files of the spool that were taken go after the same time. Once a day the whole journal is verified, so that
a flipped bit is found while the centre still has what it hit.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from pathlib import Path

from edge_agent.db.journal import Journal
from edge_agent.sync import plan
from edge_agent.verify import verify
from shared.clock import Clock, rfc3339

log = logging.getLogger(__name__)

STEP_S = 3_600.0
PURGE_DOCUMENTS = 200
"""Deleted in one transaction: a sale never waits longer for a purge than this takes."""
VERIFY_EVERY_MS = 86_400_000
DAY_MS = 86_400_000
ALARM = "journal-damaged"
ALARM_FINDINGS_MAX = 5


class Retention:
    """One step an hour; a line like the others."""

    name = "retention"

    def __init__(self, journal: Journal, spool_folder: Path, clock: Clock, *, retention_days: int) -> None:
        self._journal = journal
        self._taken = spool_folder / "taken"
        self._clock = clock
        self._retention_days = retention_days
        # The first look comes a day after the start, which has checked the file already.
        self._verified_tick_ms = clock.tick_ms()

    async def step(self) -> float:
        """Purge, and verify once a day; returns the seconds until the next step."""
        await self._purge()
        await asyncio.to_thread(self._purge_files)
        if self._clock.tick_ms() - self._verified_tick_ms >= VERIFY_EVERY_MS:
            await self._verify()
            self._verified_tick_ms = self._clock.tick_ms()
        return STEP_S

    async def _purge(self) -> None:
        before_ms = self._clock.now_ms() - self._retention_days * DAY_MS
        for epoch in await self._journal.epochs():
            old_enough = await self._journal.old_up_to(epoch.epoch, before_ms)
            head = await self._journal.head_at(epoch.epoch, epoch.safe_seq)
            upto = plan.purge_to(epoch, head, old_enough)
            for slice_end in _slices(epoch.first, upto):
                await self._journal.purge(epoch.epoch, slice_end)
            if upto:
                log.info("journal_purged", extra={"epoch": epoch.epoch.hex(), "upto": upto})
        await self._journal.purge_history(rfc3339(before_ms)[:10])

    def _purge_files(self) -> None:
        if not self._taken.is_dir():
            return
        oldest = rfc3339(self._clock.now_ms() - self._retention_days * DAY_MS)[:10]
        for day in self._taken.iterdir():
            if day.is_dir() and len(day.name) == len(oldest) and day.name < oldest:
                shutil.rmtree(day, ignore_errors=True)

    async def _verify(self) -> None:
        findings = await verify(self._journal)
        if not findings:
            await self._journal.clear_alarm(ALARM)
            return
        told = "; ".join(f"{finding.where}: {finding.what}" for finding in findings[:ALARM_FINDINGS_MAX])
        log.error("journal_damaged", extra={"findings": len(findings), "first": told})
        await self._journal.add_alarm(ALARM, f"{len(findings)} findings: {told}")


def _slices(first: int, upto: int) -> list[int]:
    """Where each transaction of a purge from *first* to *upto* ends."""
    return [
        min(end, upto) for end in range(first + PURGE_DOCUMENTS - 1, upto + PURGE_DOCUMENTS, PURGE_DOCUMENTS)
    ]
