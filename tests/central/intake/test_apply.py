"""Applying on a real database: rows and deliveries together, and nobody waits for another's fault."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from central.centre import Centre
from central.db import apply as db
from central.intake import apply, rows
from central.intake.apply import Applier, make_ready, plan
from central.server import running
from shared.canonical import canonical
from tests.support.centre import count, enrolled, open_centre
from tests.support.sales import broken_sale, cancellation, doc_id, header, payload, sale

STATES = ("documents", "pending", "waiting", "parked", "held")


async def states(centre: Centre) -> dict[str, int]:
    """How many documents are in each state; empty ones are left out."""
    found = {name: await count(centre, name) for name in STATES}
    return {name: number for name, number in found.items() if number}


async def one(centre: Centre, query: str) -> Any:
    async with centre.database.read() as connection:
        return (await connection.execute(text(query))).one()


async def test_rows_and_deliveries_appear_together(database_url: str, tmp_path: Path) -> None:
    """A sale becomes document, lines, payments and one delivery per integration that takes it."""
    async with open_centre(database_url, tmp_path) as centre:
        centre.applier = Applier(
            centre.database,
            centre.clock,
            lambda kind: [(1, "document", "ready"), (2, "document", "ready")] if kind == "sale" else [],
        )
        station = await enrolled(centre)
        await station.push(centre, [sale(1), sale(2, 700), (canonical(header(3, kind="shift_open")), b"{}")])
        assert await centre.applier.drain() == 3
        assert await states(centre) == {"documents": 3}
        assert await one(centre, "SELECT sum(total_minor), count(*) FROM documents") == (1_200, 3)
        assert await one(centre, "SELECT sum(amount_minor), count(*) FROM lines") == (1_200, 2)
        assert await one(centre, "SELECT sum(amount_minor), count(*) FROM payments") == (1_200, 2)
        assert await count(centre, "deliveries", "state = 'ready'") == 4


async def test_correction_waits_for_what_it_corrects(database_url: str, tmp_path: Path) -> None:
    """A cancellation that comes before its sale is applied after it, whoever sends it."""
    async with open_centre(database_url, tmp_path) as centre:
        first, second = await enrolled(centre), await enrolled(centre, "T-2")
        await second.push(centre, [cancellation(9, of=1)])
        await centre.applier.drain()
        assert await states(centre) == {"waiting": 1}
        await first.push(centre, [sale(1)])
        await centre.applier.drain()
        assert await states(centre) == {"documents": 2}
        assert await one(centre, "SELECT sum(total_minor), count(*) FROM documents") == (0, 2)


async def test_correction_may_stand_behind_its_sale_in_one_batch(database_url: str, tmp_path: Path) -> None:
    """What comes earlier in a batch satisfies what comes later in it."""
    async with open_centre(database_url, tmp_path) as centre:
        station = await enrolled(centre)
        await station.push(centre, [sale(1), cancellation(2, of=1)])
        assert await centre.applier.apply_batch() == 2
        assert await states(centre) == {"documents": 2}


async def test_broken_document_delays_only_its_dependants(database_url: str, tmp_path: Path) -> None:
    """A poison document is parked with its reason; its neighbours are applied, its cancellation waits."""
    async with open_centre(database_url, tmp_path) as centre:
        station = await enrolled(centre)
        await station.push(
            centre,
            [
                sale(1),
                broken_sale(2),
                (b"not json", b"{}"),
                cancellation(3, of=2),
                sale(4),
                (sale(5)[0], b"{"),
            ],
        )
        await centre.applier.drain()
        assert await states(centre) == {"documents": 2, "parked": 3, "waiting": 1}
        async with centre.database.read() as connection:
            reasons = (
                (await connection.execute(text("SELECT reason FROM parked ORDER BY doc_no"))).scalars().all()
            )
        assert reasons == [
            "missing field lines[].product",
            "the header cannot be read",
            "the payload is not JSON",
        ]


async def test_newer_kinds_and_schemas_wait_for_a_newer_build(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upgraded centre applies what its predecessor could not read."""
    async with open_centre(database_url, tmp_path) as centre:
        station = await enrolled(centre)
        await station.push(
            centre, [(canonical(header(1, version=2)), canonical(payload())), sale(2, kind="barter")]
        )
        await centre.applier.drain()
        assert await count(centre, "waiting", "why = 'schema'") == 2
        monkeypatch.setattr(rows, "SCHEMA", 2)
        async with running(centre):
            await until(centre, {"documents": 1, "waiting": 1})


async def until(centre: Centre, wanted: dict[str, int]) -> None:
    async with asyncio.timeout(20):
        while await states(centre) != wanted:  # noqa: ASYNC110 -- each look is a query
            await asyncio.sleep(0)


async def test_worker_applies_what_is_pushed(database_url: str, tmp_path: Path) -> None:
    """With the services running, a push is applied at once and the deliveries are told."""
    async with open_centre(database_url, tmp_path) as centre, running(centre):
        station = await enrolled(centre)
        for start in range(0, 60, 20):
            await station.push(centre, [sale(n) for n in range(start, start + 20)])
        await until(centre, {"documents": 60})


async def test_what_the_database_refuses_is_parked_alone(database_url: str, tmp_path: Path) -> None:
    """When a batch fails for one document's sake, each is done by itself."""
    async with open_centre(database_url, tmp_path) as centre:
        station = await enrolled(centre)
        huge = payload(2**63)  # fits JSON, but no column
        await station.push(
            centre, [sale(1), (canonical(header(2)), canonical(huge)), sale(3), cancellation(4, of=3)]
        )
        await centre.applier.drain()
        assert await states(centre) == {"documents": 3, "parked": 1}
        assert (await one(centre, "SELECT reason FROM parked"))[0].startswith("the database refused it")


async def test_zero_byte_in_a_text_stops_nobody(database_url: str, tmp_path: Path) -> None:
    """SQLite keeps a zero byte, PostgreSQL refuses it: either way the neighbours are applied."""
    async with open_centre(database_url, tmp_path) as centre:
        station = await enrolled(centre)
        odd = payload()
        odd["lines"][0]["product"] = "a\x00b"
        await station.push(centre, [(canonical(header(1)), canonical(odd)), sale(2)])
        await centre.applier.drain()
        found = await states(centre)
        assert found.get("documents", 0) + found.get("parked", 0) == 2
        assert await count(centre, "documents", "number = 'T-1-000002'") == 1


async def test_errors_of_the_connection_park_nothing(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that met a broken connection stays pending as it is (I20)."""
    async with open_centre(database_url, tmp_path) as centre:
        station = await enrolled(centre)
        await station.push(centre, [sale(1)])
        real = db.store

        async def store(*_: Any) -> None:
            raise ConnectionResetError("gone")

        monkeypatch.setattr(db, "store", store)
        with pytest.raises(ConnectionResetError):
            await centre.applier.apply_batch()
        assert await states(centre) == {"pending": 1}
        monkeypatch.setattr(db, "store", real)
        await centre.applier.drain()
        assert await states(centre) == {"documents": 1}


async def test_documents_of_a_node_that_died_are_applied(database_url: str, tmp_path: Path) -> None:
    """What was pushed and not handed over is read from the database, its repair in place of the payload."""
    async with open_centre(database_url, tmp_path) as centre:
        station = await enrolled(centre)
        await station.push(centre, [sale(n) for n in range(5)])
        fresh = Applier(centre.database, centre.clock, lambda _: [])
        assert await fresh.drain() == 5
        assert await states(centre) == {"documents": 5}


async def test_two_nodes_apply_every_document_once(postgres_url: str, tmp_path: Path) -> None:
    """Workers of several nodes share the pending documents and never meet at one."""
    async with open_centre(postgres_url, tmp_path) as centre:
        station = await enrolled(centre)
        workers = [
            Applier(centre.database, centre.clock, lambda _: [(1, "document", "ready")]) for _ in range(3)
        ]
        for start in range(0, 300, 50):
            await station.push(centre, [sale(n) for n in range(start, start + 50)])
            await asyncio.gather(*[worker.apply_batch() for worker in workers])
        await workers[0].drain()
        assert await states(centre) == {"documents": 300}
        assert await count(centre, "deliveries") == 300


async def test_document_taken_before_it_was_handed_over_is_not_kept(
    database_url: str, tmp_path: Path
) -> None:
    """The worker may see a commit before intake tells it; what comes late is dropped."""
    async with open_centre(database_url, tmp_path) as centre:
        station = await enrolled(centre)
        late: list[Any] = []
        centre.intake._hand_over = late.extend
        await station.push(centre, [sale(1)])
        assert await centre.applier.drain() == 1
        centre.applier.hand_over(late)
        assert await centre.applier.drain() == 0
        assert centre.applier._ready == {}


def test_plan_is_in_the_order_of_the_batch() -> None:
    """A reference to a later document waits for it; to an earlier one it is satisfied."""
    early = make_ready(1, 1, header(1, kind="sale_cancellation", refs=[doc_id(2)]), canonical(payload()))
    sold = make_ready(2, 1, header(2), canonical(payload()))
    late = make_ready(3, 1, header(3, kind="sale_cancellation", refs=[doc_id(2)]), canonical(payload()))
    new = plan([early, sold, late], set(), lambda _: [], 5)
    assert [row[1] for row in new.documents] == [2, 3]
    assert [row[0] for row in new.waiting] == [1]


def test_bug_in_a_builder_parks_the_document(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong with one document, the others of its batch do not suffer."""

    def fail(*_: Any) -> None:
        raise RecursionError("deep")

    monkeypatch.setattr(apply, "rows_of", fail)
    ready = make_ready(1, 1, header(1), canonical(payload()))
    assert plan([ready], set(), lambda _: [], 5).parked[0][1] == "cannot be turned into rows: RecursionError"
