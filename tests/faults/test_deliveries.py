"""Thousands of deliveries to a system that fails every fifth request, by two nodes of which one dies on the way."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from central.conformance.faults import Fault
from central.db.database import Database
from central.db.tables import deliveries as deliveries_tables
from central.deliveries.run import DeliveryRunner
from central.integrations.registry import Integrations
from shared.clock import SystemClock
from tests.support.clock import ManualClock
from tests.support.delivering_node import CONNECTORS
from tests.support.emulator import Emulator
from tests.support.outgoing import Document, add_documents, delivery_states, open_database
from tests.support.processes import Process, python

LONG = os.environ.get("COUNTERFLOW_LONG") == "1"
DELIVERIES = 10_000 if LONG else 5_000
BATCH = 200
DIES_AT = DELIVERIES * 3 // 10
STORM = (Fault.BUSY_503, Fault.BUSY_429, Fault.BUSY_503, Fault.BUSY_429, Fault.DENIED_403)
WORSE = [
    (
        at,
        {DELIVERIES * 4 // 10: STORM, DELIVERIES * 7 // 10: (Fault.DENIED_403,)}.get(at, (Fault.HALF_BATCH,)),
    )
    for at in range(500, DELIVERIES - 500, 500)
]
"""Beside the random faults: once so much has taken effect, these come one after the other."""
DEADLINE_S = 240.0
"""Generous: the machine may be busy with other tests."""


@pytest.mark.postgres
async def test_deliveries_arrive_once_whatever_fails(
    postgres_url: str, tmp_path: Path, processes: Callable[..., Process]
) -> None:
    """Lost and cut answers, doubled requests, half batches, storms of 429, 503 and 403: none doubled, none missing."""
    database: Database = await open_database(postgres_url, ManualClock(SystemClock().now_ms()))
    sold = [Document(number) for number in range(1, DELIVERIES + 1)]
    async with Emulator(share=0.2, seed=11) as erp:
        integrations = Integrations(database, SystemClock(), CONNECTORS)
        settings = {"url": erp.url, "batch_documents": BATCH, "timeout_s": 0.5}
        one = await integrations.create("erp", "emulator", settings, ["sale"], from_ms=0)
        await add_documents(database, sold, integrations=[one.integration_no])

        hq = DeliveryRunner(database, integrations, SystemClock(), node="hq")

        def node(name: str) -> Process:
            return processes(name, python("-m", "tests.support.delivering_node", postgres_url, name))

        first, second = node("one"), node("two")
        began = time.monotonic()
        worse = iter(WORSE)
        at, faults = next(worse)
        while (states := await delivery_states(database)) != {"done": DELIVERIES}:
            assert time.monotonic() - began < DEADLINE_S, (
                f"{states}; {erp.met}; {await integrations.get('erp')}"
            )
            assert first.is_running(), first.log_tail()
            if len(erp.effects) >= DIES_AT and second.is_running():
                second.kill()
            if len(erp.effects) >= at:
                erp.faults.extend(faults)
                at, faults = next(worse, (DELIVERIES + 1, ()))
            # Nobody knocks on after a 403: a person looks, and lets it go on.
            if "not let in" in ((await integrations.get("erp")).problem or ""):
                await hq.resume(await integrations.resume("erp"))
            await asyncio.sleep(0.2)
        took_s = time.monotonic() - began
    assert not second.is_running()
    assert Counter(erp.effects) == Counter(f"erp:{one.doc_id}:document" for one in sold)
    assert erp.met[Fault.DENIED_403] == 2
    async with database.read() as connection:
        tries = (await connection.execute(select(deliveries_tables.batches.c.attempts))).scalars().all()
    assert set(tries) == {0}, "a failure of the connection used up an attempt"
    print(f"{DELIVERIES} deliveries in {took_s:.0f} s, faults met: {dict(erp.met)}")
    await database.close()
