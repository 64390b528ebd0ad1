"""A till in this process: a real journal in a temporary folder, its one door, and submissions to hand in."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from edge_agent.db.journal import Journal
from edge_agent.intake.accept import Intake
from shared.documents.envelope import Accepted
from tests.support.clock import ManualClock
from tests.support.station import sale

ZONE = "Asia/Yekaterinburg"
_keys = itertools.count()


@dataclass
class Contact:
    offset_ms: int | None = 1_500


@dataclass
class Till:
    """Everything of one station that needs no network."""

    folder: Path
    journal: Journal
    intake: Intake
    clock: ManualClock
    grew: asyncio.Event

    async def sell(self, amount_minor: int = 500, **fields: Any) -> Accepted:
        """One more sale, with a key of its own."""
        key = f"sale-{next(_keys)}"
        accepted, _ = await self.intake.accept(
            submission(amount_minor, **fields), idempotency_key=key, source="api"
        )
        return accepted


def submission(amount_minor: int = 500, **fields: Any) -> bytes:
    """A sale as POS software hands it in; *fields* beside the payload."""
    return orjson.dumps({"kind": "sale", "payload": sale(amount_minor), **fields})


async def open_till(folder: Path, clock: ManualClock | None = None, station: str = "T-1") -> Till:
    """Start the station (again); random bytes are real, so every start has an epoch of its own."""
    clock = clock or ManualClock()
    journal = await Journal.open(folder / "journal.db", station=station, clock=clock)
    grew = asyncio.Event()
    intake = Intake(journal, store="S-1", zone=ZONE, clock=clock, contact=Contact(), boot="boot-1", grew=grew)
    return Till(folder, journal, intake, clock, grew)
