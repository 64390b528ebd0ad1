"""Documents of systems without an agent: taken once, answered at once, and from then on like any other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from central.centre import Centre
from central.db import overview, registry, reports, station_scopes, stores
from central.monitoring import totals
from central.verify import verify
from shared.errors import BadInput, Conflict, CounterflowError, NotFound, TooLarge
from tests.support.centre import count, enrolled, open_centre
from tests.support.foreign import add_outlet, request
from tests.support.papers import order
from tests.support.sales import payload, sale


@asynccontextmanager
async def opened(database_url: str, tmp_path: Path) -> AsyncIterator[Centre]:
    async with open_centre(database_url, tmp_path) as centre:
        await add_outlet(centre)
        yield centre


async def sound(centre: Centre) -> None:
    """All is applied, and every invariant that rows can show holds."""
    await centre.applier.drain()
    assert await count(centre, "pending") == 0
    assert (await verify(centre.database)).findings == []


async def test_a_document_is_stored_sealed_and_applied(database_url: str, tmp_path: Path) -> None:
    """It stands in a chain of its outlet, has its rows, and the outlet's own day."""
    async with opened(database_url, tmp_path) as centre:
        answers = [await centre.foreign.take(request(str(number))) for number in range(3)]
        assert {answer.status for answer in answers} == {201}
        assert len({answer.taken.doc_id for answer in answers}) == 3
        await sound(centre)
        assert await count(centre, "journal") == await count(centre, "papers") == 3
        async with centre.database.read() as connection:
            found = await connection.execute(text("SELECT DISTINCT business_date, number FROM documents"))
            assert sorted(found.all()) == [("2026-11-22", str(number)) for number in range(3)]


async def test_stations_and_foreign_systems_share_the_numbers(database_url: str, tmp_path: Path) -> None:
    """Whoever comes in between, no document gets another one's number."""
    async with opened(database_url, tmp_path) as centre:
        station = await enrolled(centre)
        for number in range(1, 4):
            await station.push(centre, [sale(number)])
            await centre.foreign.take(request(str(number)))
        await sound(centre)
        assert await count(centre, "documents") == 6


async def test_a_repeated_request_has_the_same_answer(database_url: str, tmp_path: Path) -> None:
    """Byte for byte, whatever the policy says of duplicates meanwhile."""
    async with opened(database_url, tmp_path) as centre:
        first = await centre.foreign.take(request(key="k"))
        again = await centre.foreign.take(request(key="k"))
        assert (again.body, again.status, again.repeated) == (first.body, 201, True)
        assert await count(centre, "bodies") == 1


async def test_a_key_stands_for_one_request(database_url: str, tmp_path: Path) -> None:
    """Another body under it is an error of the caller, and nothing is stored."""
    async with opened(database_url, tmp_path) as centre:
        await centre.foreign.take(request(key="k"))
        with pytest.raises(BadInput) as caught:
            await centre.foreign.take(request("18", key="k"))
        assert (caught.value.name, caught.value.status) == ("idempotency-mismatch", 422)
        assert await count(centre, "bodies") == 1


async def test_a_duplicate_is_refused_with_the_one_that_is_here(database_url: str, tmp_path: Path) -> None:
    """The reply names it, and HQ sees how often it came."""
    async with opened(database_url, tmp_path) as centre:
        first = await centre.foreign.take(request(key="a"))
        with pytest.raises(Conflict) as caught:
            await centre.foreign.take(request(status="paid", key="b"))
        assert caught.value.name == "duplicate-document"
        assert caught.value.extra["doc_id"] == first.taken.doc_id
        assert await count(centre, "document_keys", "repeats = 1") == 1
        await sound(centre)
        assert await count(centre, "bodies") == 1


async def test_a_duplicate_is_skipped_or_not_looked_for(database_url: str, tmp_path: Path) -> None:
    """Skipped: the answer is the first document. Off: it is another document."""
    async with opened(database_url, tmp_path) as centre:
        first = await centre.foreign.take(request(duplicate="skip"))
        skipped = await centre.foreign.take(request(status="paid", duplicate="skip"))
        assert (skipped.status, skipped.taken.outcome) == (200, "skipped")
        assert skipped.taken.doc_id == first.taken.doc_id
        other = await centre.foreign.take(request(duplicate="off", key="a"))
        third = await centre.foreign.take(request(duplicate="off", key="b"))
        assert other.taken.doc_id != third.taken.doc_id
        await sound(centre)
        assert await count(centre, "papers") == 3


async def test_an_update_is_a_new_version_of_the_document(database_url: str, tmp_path: Path) -> None:
    """It names the one before and is applied after it; what says nothing new is stored once."""
    async with opened(database_url, tmp_path) as centre:
        first = await centre.foreign.take(request(duplicate="update"))
        same = await centre.foreign.take(request(duplicate="update"))
        paid = await centre.foreign.take(request(status="paid", duplicate="update"))
        back = await centre.foreign.take(request(duplicate="update"))
        outcomes = [answer.taken.outcome for answer in (first, same, paid, back)]
        assert outcomes == ["accepted", "unchanged", "updated", "updated"]
        assert paid.taken.replaces == first.taken.doc_id == same.taken.doc_id
        assert back.taken.replaces == paid.taken.doc_id
        assert len({answer.taken.doc_id for answer in (first, paid, back)}) == 3
        await sound(centre)
        async with centre.database.read() as connection:
            found = await connection.execute(text("SELECT status FROM papers ORDER BY doc_no"))
            assert list(found.scalars()) == ["new", "paid", "new"]


async def test_the_same_document_after_a_restore_has_the_same_id(database_url: str, tmp_path: Path) -> None:
    """What the centre lost and gets again is, for every system behind it, the document that it had."""
    async with opened(database_url, tmp_path) as centre:
        kept = await centre.foreign.take(request("16"))
        first = await centre.foreign.take(request(duplicate="update"))
        async with centre.database.write() as connection:  # the state of before it
            for table in ("journal", "bodies", "gate", "pending"):
                newest = f"SELECT max(doc_no) FROM {table}"
                await connection.execute(text(f"DELETE FROM {table} WHERE doc_no = ({newest})"))
            await connection.execute(text("DELETE FROM document_keys WHERE key LIKE '%17%'"))
            head = "SELECT head FROM journal ORDER BY seq DESC LIMIT 1"
            await connection.execute(text(f"UPDATE epochs SET last = 1, head = ({head})"))
        again = await centre.foreign.take(request(duplicate="update"))
        assert again.taken == first.taken
        assert again.taken.doc_id != kept.taken.doc_id
        await sound(centre)


async def test_what_is_wrong_is_told_and_not_stored(database_url: str, tmp_path: Path) -> None:
    """A foreign system gets its error in the reply: nothing of it waits in a list."""
    async with opened(database_url, tmp_path) as centre:
        wrong = order(total_minor=1)
        attempts: list[tuple[type[CounterflowError], str, dict[str, object]]] = [
            (BadInput, "invalid-fields", {"payload": wrong}),
            (BadInput, "unknown-kind", {"kind": "drone"}),
            (BadInput, "invalid-fields", {"key_fields": ("party.tax_id",)}),
            (TooLarge, "too-large", {"payload": order(extra={"x": "y" * (1 << 20)})}),
            (NotFound, "not-found", {"outlet": "S9"}),
        ]
        for error, name, changes in attempts:
            with pytest.raises(error) as caught:
                await centre.foreign.take(request(**changes))  # type: ignore[arg-type]
            assert caught.value.name == name
        assert await count(centre, "bodies") == await count(centre, "parked") == 0
        await sound(centre)


async def test_many_are_taken_in_one_go(database_url: str, tmp_path: Path) -> None:
    """Each has its own answer; one that is refused costs the others nothing."""
    async with opened(database_url, tmp_path) as centre:
        answers = await centre.foreign.take_all([request("1"), request("1"), request("2"), request("3")])
        assert [type(answer).__name__ for answer in answers] == ["Answer", "Conflict", "Answer", "Answer"]
        await sound(centre)
        assert await count(centre, "papers") == 3


async def test_two_nodes_take_a_document_once(database_url: str, tmp_path: Path) -> None:
    """The unique index decides, also where the two come through different outlets of the source."""
    async with opened(database_url, tmp_path) as one:
        await add_outlet(one, "S2")
        other = one if one.database.is_sqlite else await Centre.open(one.config)
        try:
            requests = [request(str(n % 5), outlet=f"S{1 + n % 2}", duplicate="skip") for n in range(40)]
            answers = await asyncio.gather(
                *((one if n % 3 else other).foreign.take(each) for n, each in enumerate(requests))
            )
            assert len({answer.taken.doc_id for answer in answers}) == 5
            assert sum(answer.taken.outcome == "accepted" for answer in answers) == 5
            assert await count(one, "bodies") == 5
            same = await asyncio.gather(
                *((one if n % 2 else other).foreign.take(request("99", key="k")) for n in range(10))
            )
            assert len({answer.body for answer in same}) == 1
            await sound(one)
        finally:
            if other is not one:
                await other.close()


async def test_card_numbers_are_masked(database_url: str, tmp_path: Path) -> None:
    """As at the till (I23)."""
    async with opened(database_url, tmp_path) as centre:
        await centre.foreign.take(request(payload=order(comment="card 4111 1111 1111 1111")))
        assert await count(centre, "bodies", "payload IS NOT NULL") == 1
        async with centre.database.read() as connection:
            stored = (await connection.execute(text("SELECT payload FROM bodies"))).scalar_one()
        assert b"****1111" in bytes(stored)
        assert b"4111 1111" not in bytes(stored)


async def test_receipts_of_an_outlet_without_agent_count(database_url: str, tmp_path: Path) -> None:
    """K10: they are rows and totals like a till's; there is no station whose totals they could contradict."""
    async with opened(database_url, tmp_path) as centre:
        await centre.foreign.take(request(kind="sale", payload=payload()))
        await sound(centre)
        (total,) = await totals.compare(centre.database, first="2026-11-22", last="2026-11-22")
        assert (total.key[0], total.centre, total.agrees) == ("WEB@S1", (1, 500), None)
        assert total.note == "a foreign system reports no totals"


async def test_a_desk_is_no_station(database_url: str, tmp_path: Path) -> None:
    """Nobody lists, pokes, rolls out to or enrols it."""
    async with opened(database_url, tmp_path) as centre:
        await centre.foreign.take(request())
        async with centre.database.read() as connection:
            assert await overview.stations_for_status(connection) == []
            assert await stores.list_stations(connection, limit=10) == []
            assert [row.stations for row in await stores.list_stores(connection)] == [0]
            assert await reports.station_rows(connection) == []
            assert await station_scopes.members(centre.database, connection) == {}
            assert await registry.station_by_code(connection, "WEB@S1") is None
        async with centre.database.write() as connection:
            assert await stores.poke(connection) == 0


async def test_old_answers_are_forgotten_and_nothing_is_doubled(database_url: str, tmp_path: Path) -> None:
    """A request that is repeated after months is a duplicate; without a check it is the document that it was."""
    async with opened(database_url, tmp_path) as centre:
        first = await centre.foreign.take(request(key="a"))
        other = await centre.foreign.take(request(key="b", duplicate="off"))
        assert await centre.old_answers.look() == 0
        async with centre.database.write() as connection:
            await connection.execute(text("UPDATE requests SET at_ms = at_ms - 3110400000"))
        assert await centre.old_answers.look() == 2
        with pytest.raises(Conflict) as caught:
            await centre.foreign.take(request(key="a"))
        assert caught.value.extra["doc_id"] == first.taken.doc_id
        again = await centre.foreign.take(request(key="b", duplicate="off"))
        assert (again.status, again.taken.outcome) == (200, "unchanged")
        assert again.taken.doc_id == other.taken.doc_id
        assert await count(centre, "bodies") == 2
