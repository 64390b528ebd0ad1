"""Parties over a network that loses, doubles and cuts: made once each by two nodes, and all taken back."""

from __future__ import annotations

import asyncio
import contextlib
import random
from pathlib import Path
from typing import Any

from central.catalog.publish import Publisher
from central.connectors.base import NoAnswer, TargetAway
from central.deliveries.matching import Matches
from central.deliveries.run import DeliveryRunner
from central.integrations.definition import read_definition
from central.integrations.registry import Integrations
from central.integrations.undo import undo_created
from shared.canonical import canonical
from shared.catalog.changes import Change
from tests.support.clock import ManualClock
from tests.support.emulator import Emulator
from tests.support.emulator_connector import EmulatorConnector
from tests.support.outgoing import Document, add_documents, delivery_states, open_database

CUSTOMERS = 30
PARTY: dict[str, Any] = {
    "kind": "party",
    "entity": "customer",
    "target": "party",
    "tax_id": "tax_id",
    "create": True,
    "fields": {"tax_id": "{{tax_id}}", "name": "{{name}}"},
}
SALE: dict[str, Any] = {
    "name": "sale",
    "kinds": ["sale"],
    "target": "document",
    "fields": {"party": {"ref": "party", "value": "{{payload.customer}}"}},
}


class Impatient(EmulatorConnector):
    timeout_s = 2.0


async def test_every_third_request_fails_and_each_party_is_made_once(tmp_path: Path) -> None:
    """Thirty customers of ninety sales; lost answers, doubled requests, 503s; every third party was there before."""
    clock = ManualClock()
    database = await open_database(f"sqlite+aiosqlite:///{tmp_path / 'central.db'}", clock)
    async with Emulator(share=0.33, seed=11) as emulator:
        there = {f"30123{number:04d}" for number in range(0, CUSTOMERS, 3)}
        for tax_id in sorted(there):
            await emulator._make({"party": {"tax_id": tax_id}})
        integrations = Integrations(database, clock, {"emulator": Impatient})
        runner = DeliveryRunner(database, integrations, clock, node="a", rng=random.Random(1))
        nodes = [
            Matches(
                database,
                integrations,
                clock,
                runner.budgets,
                node=node,
                wake=runner.waits,
                found=runner.wake,
                rng=random.Random(seed),
            )
            for seed, node in enumerate("ab")
        ]
        written = {"name": "erp", "connector": "emulator", "settings": {"url": emulator.url, "timeout_s": 2}}
        definition = read_definition(written | {"deliver": [SALE], "match": [PARTY]})
        emulator._share, share = 0.0, emulator._share
        await integrations.define(definition, from_ms=0)
        emulator._share = share
        rows = [
            Change(
                "customer", code, canonical({"code": code, "name": code, "tax_id": tax_id, "country": "UZ"})
            )
            for code, tax_id in ((f"C{number}", f"30123{number:04d}") for number in range(CUSTOMERS))
        ]
        await Publisher(database).publish({"base": rows})
        sales = [Document(n, payload={"customer": f"C{n % CUSTOMERS}"}) for n in range(1, 91)]
        await add_documents(database, sales)
        await runner.sweep()
        for _ in range(300):
            while await runner.step(1):
                pass
            (one,) = await integrations.list()
            await asyncio.gather(*(node.step(one) for node in nodes))
            if await delivery_states(database) == {"done": 90}:
                break
            clock.move(10)
        assert await delivery_states(database) == {"done": 90}
        made = sorted(party["tax_id"] for party in emulator.parties.values())
        assert made == [f"30123{number:04d}" for number in range(CUSTOMERS)]
        assert sum(emulator.met.values()) > 30

        (one,) = await integrations.list()
        for _ in range(20):
            with contextlib.suppress(NoAnswer, TargetAway):
                await undo_created(database, one, integrations.connector(one), 0)
                break
        assert {party["tax_id"] for party in emulator.parties.values()} == there
    await database.close()
