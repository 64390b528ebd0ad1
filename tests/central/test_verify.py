"""What `verify` finds: every kind of damage that rows can have, and nothing where there is none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from central.centre import Centre
from central.db.tables import deliveries as deliveries_tables
from central.db.tables import documents as documents_tables
from central.db.tables import journal as journal_tables
from central.db.tables.catalog import scope_rows, scopes
from central.db.tables.journal import bodies, epochs, journal
from central.verify import verify
from shared.canonical import canonical, parse_object
from shared.catalog.changes import Change
from tests.support.centre import HandStation, add_station, open_centre
from tests.support.hq import push, sell
from tests.support.yardstick_sales import documents

Damage = Callable[[AsyncConnection], Awaitable[Any]]


async def furnish(centre: Centre, folder: Path) -> None:
    """Two stations with sales, a delivered integration's rows, and a little catalog."""
    await centre.integrations.create(
        "erp", "drop_folder", {"folder": str(folder)}, ["sale"], from_ms=0, enabled=True
    )
    await sell(centre, "T-1", 12)
    await sell(centre, "T-2", 5, number=2)
    payload = canonical({"code": "A", "name": "Apple"})
    await centre.publisher.publish(
        {"base": [Change("product", "A", payload), Change("product", "B", payload)]}
    )


async def doc_no(connection: AsyncConnection, n: int) -> int:
    """The number of the n-th document that was stored."""
    return int(
        (
            await connection.execute(select(bodies.c.doc_no).order_by(bodies.c.doc_no).offset(n).limit(1))
        ).scalar_one()
    )


async def change(connection: AsyncConnection, table: Any, number: int, **values: Any) -> None:
    await connection.execute(update(table).where(table.c.doc_no == number).values(**values))


async def flip_payload(connection: AsyncConnection) -> None:
    number = await doc_no(connection, 3)
    payload = (
        await connection.execute(select(bodies.c.payload).where(bodies.c.doc_no == number))
    ).scalar_one()
    await change(connection, bodies, number, payload=payload.replace(b"CASH", b"CARD"))


async def lose_body(connection: AsyncConnection) -> None:
    await connection.execute(delete(bodies).where(bodies.c.doc_no == await doc_no(connection, 3)))


async def lose_position(connection: AsyncConnection) -> None:
    await connection.execute(delete(journal).where(journal.c.doc_no == await doc_no(connection, 3)))


async def lose_tail(connection: AsyncConnection) -> None:
    await connection.execute(delete(journal).where(journal.c.doc_no == await doc_no(connection, 11)))


async def swap_head(connection: AsyncConnection) -> None:
    await connection.execute(update(epochs).values(head=b"\x00" * 32))


async def move_safe_point(connection: AsyncConnection) -> None:
    await connection.execute(update(epochs).values(safe_seq=2))


async def lose_rows(connection: AsyncConnection) -> None:
    number = await doc_no(connection, 3)
    for table in (
        documents_tables.documents,
        documents_tables.lines,
        documents_tables.payments,
        deliveries_tables.deliveries,
    ):
        await connection.execute(delete(table).where(table.c.doc_no == number))


async def lose_line(connection: AsyncConnection) -> None:
    number = await doc_no(connection, 3)
    await connection.execute(
        delete(documents_tables.lines).where(
            documents_tables.lines.c.doc_no == number, documents_tables.lines.c.n == 2
        )
    )


async def change_payment(connection: AsyncConnection) -> None:
    statement = update(documents_tables.payments).where(
        documents_tables.payments.c.doc_no == await doc_no(connection, 3), documents_tables.payments.c.n == 1
    )
    await connection.execute(statement.values(amount_minor=documents_tables.payments.c.amount_minor + 1))


async def change_total(connection: AsyncConnection) -> None:
    await change(connection, documents_tables.documents, await doc_no(connection, 3), total_minor=1)


async def lose_document_row(connection: AsyncConnection) -> None:
    await connection.execute(
        delete(documents_tables.documents).where(
            documents_tables.documents.c.doc_no == await doc_no(connection, 3)
        )
    )


async def in_two_states(connection: AsyncConnection) -> None:
    await connection.execute(journal_tables.pending.insert().values(doc_no=await doc_no(connection, 3)))


async def open_gate(connection: AsyncConnection) -> None:
    await connection.execute(
        delete(journal_tables.gate).where(journal_tables.gate.c.doc_no == await doc_no(connection, 3))
    )


async def other_hash_at_gate(connection: AsyncConnection) -> None:
    await change(connection, journal_tables.gate, await doc_no(connection, 3), payload_hash=b"\x00" * 32)


async def undelivered(connection: AsyncConnection) -> None:
    await connection.execute(
        delete(deliveries_tables.deliveries).where(
            deliveries_tables.deliveries.c.doc_no == await doc_no(connection, 3)
        )
    )


async def leased_to_nobody(connection: AsyncConnection) -> None:
    await change(
        connection, deliveries_tables.deliveries, await doc_no(connection, 3), state="leased", batch_no=77
    )


async def another_digest(connection: AsyncConnection) -> None:
    await connection.execute(update(scopes).values(digest=b"\x00" * 16))


async def another_version(connection: AsyncConnection) -> None:
    await connection.execute(update(scope_rows).where(scope_rows.c.key == "A").values(version=b"\x00" * 16))


async def head_behind(connection: AsyncConnection) -> None:
    await connection.execute(update(scopes).values(head=1))


async def test_a_sound_centre_has_no_findings(database_url: str, tmp_path: Path) -> None:
    """And the report says how much was looked at."""
    async with open_centre(database_url, tmp_path) as centre:
        await furnish(centre, tmp_path / "erp")
        report = await verify(centre.database)
        assert report.findings == []
        assert report.checked["positions"] == report.checked["documents"] == report.checked["applied"] == 17
        assert report.checked["catalog_rows"] == 2


@pytest.mark.parametrize(
    ("damage", "check", "told"),
    [
        (flip_payload, "chain", "does not fit the chain"),
        (lose_body, "chain", "is not stored"),
        (lose_position, "chain", "position 4 is missing"),
        (lose_tail, "chain", "ends at 11"),
        (swap_head, "chain", "another head"),
        (move_safe_point, "chain", "safe point 2"),
        (lose_rows, "state", "has no effect"),
        (lose_line, "rows", "4 lines"),
        (change_payment, "rows", "payments"),
        (change_total, "rows", "total 1"),
        (lose_document_row, "state", "row of table lines"),
        (in_two_states, "state", "applied, pending"),
        (open_gate, "gate", "taken twice"),
        (other_hash_at_gate, "gate", "another payload hash"),
        (undelivered, "deliveries", "never to get it"),
        (leased_to_nobody, "deliveries", "not there"),
        (another_digest, "catalog", "another digest"),
        (another_version, "catalog", "not of its version"),
        (head_behind, "catalog", "above the head"),
    ],
)
async def test_every_kind_of_damage_is_found(
    database_url: str, tmp_path: Path, damage: Damage, check: str, told: str
) -> None:
    """One row changed behind our back is told with where it is."""
    async with open_centre(database_url, tmp_path) as centre:
        await furnish(centre, tmp_path / "erp")
        async with centre.database.write() as connection:
            await damage(connection)
        report = await verify(centre.database)
        found = [finding for finding in report.findings if finding.check == check and told in finding.what]
        assert found, [f"{finding.check}: {finding.what}" for finding in report.findings]


async def test_what_waits_is_held_or_in_conflict_is_sound(database_url: str, tmp_path: Path) -> None:
    """Not applied is a state, not damage: aliases, conflicts, references not there yet, unreadable headers."""
    async with open_centre(database_url, tmp_path) as centre:
        await furnish(centre, tmp_path / "erp")
        station = HandStation("T-3")
        await station.enroll(centre, await add_station(centre, "T-3"))
        await station.sign_in(centre)
        alias = list(documents(2, "T-3", 3))
        conflict = [
            (header, canonical({**parse_object(payload), "comment": "x"}))
            for header, payload in documents(2, "T-1")
        ]
        waits = [
            (canonical({**parse_object(header), "refs": ["01999999-0000-7000-8000-000000000001"]}), payload)
            for header, payload in documents(1, "T-3", 3, start=50)
        ]
        await push(centre, station, [*alias, *conflict, *waits, (b"no header", b"no payload")])
        station.new_epoch(b"\x05" * 16)
        await push(centre, station, alias)
        await centre.applier.drain()
        report = await verify(centre.database)
        assert report.findings == []
        assert report.checked["positions"] == 17 + 8
        assert report.checked["documents"] == 17 + 6


async def test_one_stations_check_leaves_the_others_alone(database_url: str, tmp_path: Path) -> None:
    """Damage of another station is not told."""
    async with open_centre(database_url, tmp_path) as centre:
        await furnish(centre, tmp_path / "erp")
        async with centre.database.write() as connection:
            await flip_payload(connection)
        assert (await verify(centre.database, "T-2")).ok
        assert not (await verify(centre.database, "T-1")).ok


async def test_findings_have_a_bound(database_url: str, tmp_path: Path) -> None:
    """A database damaged as a whole is told by its first findings and a count."""
    async with open_centre(database_url, tmp_path) as centre:
        await sell(centre, "T-1", 600)
        async with centre.database.write() as connection:
            await connection.execute(delete(journal_tables.gate))
        report = await verify(centre.database)
        assert len(report.findings) == 500
        assert report.more == 100
