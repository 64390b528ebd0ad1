"""Documents delivered together to a system that fails every fifth request, by two nodes of which one dies."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from central.db import integrations as table
from central.db.database import Database
from central.db.tables.deliveries import delivery_group_members, delivery_groups
from central.deliveries.group_plan import identity
from central.integrations.definition import Deliver
from central.integrations.registry import Integrations
from central.verify.deliveries import check_deliveries
from central.verify.report import Report
from shared.clock import SystemClock
from tests.support.clock import ManualClock
from tests.support.delivering_node import CONNECTORS
from tests.support.emulator import Emulator
from tests.support.outgoing import Document, add_documents, delivery_states, open_database
from tests.support.processes import Process, python

DAYS, AT_A_TIME, TIMES = 12, 60, 12
DOCUMENTS = AT_A_TIME * TIMES
DIES_AFTER = 4
DAY = {
    "name": "day",
    "kinds": ["sale"],
    "target": "document",
    "group": {"by": ["store", "business_date"], "after": "1s"},
    "fields": {"total": "{{payload.total_minor}}"},
}
DEADLINE_S = 180.0
"""Generous: the machine may be busy with other tests."""


@pytest.mark.postgres
async def test_groups_and_corrections_arrive_once_whatever_fails(
    postgres_url: str, tmp_path: Path, processes: Callable[..., Process]
) -> None:
    """While sales of earlier days come in: each is in one group, each group and correction is there once."""
    database: Database = await open_database(postgres_url, ManualClock(SystemClock().now_ms()))
    async with Emulator(share=0.2, seed=5) as erp:
        settings = {"url": erp.url, "batch_documents": 3, "timeout_s": 1.0}
        known = Integrations(database, SystemClock(), CONNECTORS)
        one = await known.create("erp", "emulator", settings, ["sale"], from_ms=0)
        definition = one.definition.model_copy(update={"deliver": [Deliver.model_validate(DAY)]})
        async with database.write() as connection:
            await table.change(connection, 1, definition=definition.model_dump_json(), version=2)

        def node(name: str) -> Process:
            return processes(name, python("-m", "tests.support.delivering_node", postgres_url, name))

        first, second = node("one"), node("two")
        for time_ in range(TIMES):
            numbers = range(time_ * AT_A_TIME + 1, (time_ + 1) * AT_A_TIME + 1)
            sold = [
                Document(
                    n,
                    payload={"total_minor": n, "currency": "EUR"},
                    business_date=f"2026-10-{n % DAYS + 1:02}",
                )
                for n in numbers
            ]
            await add_documents(database, sold, integrations=[1], begin=("day", "gathering"))
            if time_ == DIES_AFTER:
                second.kill()
            await asyncio.sleep(1)
        began = time.monotonic()
        while (states := await delivery_states(database)) != {"done": DOCUMENTS}:
            assert time.monotonic() - began < DEADLINE_S, f"{states}; {erp.met}; {first.log_tail()}"
            assert first.is_running(), first.log_tail()
            await asyncio.sleep(0.2)
    async with database.read() as connection:
        groups = (await connection.execute(delivery_groups.select())).all()
        members = (await connection.execute(delivery_group_members.select())).all()
        report = Report()
        await check_deliveries(connection, report)
    assert report.findings == []
    assert Counter(row.doc_no for row in members) == Counter(range(1, DOCUMENTS + 1))
    assert Counter(erp.effects) == Counter(
        f"erp:{identity(group.group_key, group.correction)}:day" for group in groups
    )
    assert len(groups) > DAYS
    print(f"{DOCUMENTS} documents in {len(groups)} groups and corrections, faults met: {dict(erp.met)}")
    await database.close()
