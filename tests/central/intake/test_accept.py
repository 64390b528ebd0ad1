"""Intake on a real database: what is stored once, what is held, and that nobody suffers from another's push."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from central.centre import Centre
from central.db import journal as rows
from central.db import registry
from central.intake import accept
from shared import journal
from shared.errors import BadInput, Conflict, CounterflowError, NotAllowed, NotAuthenticated
from shared.protocol import framing
from tests.support.centre import HandStation, add_station, count, enrolled, open_centre
from tests.support.sales import sale


async def stored(centre: Centre) -> dict[str, int]:
    """How many rows each of the tables has that a push fills."""
    names = ("journal", "bodies", "gate", "pending", "held")
    return {name: await count(centre, name) for name in names}


def rows_of(new: int, **others: int) -> dict[str, int]:
    return {"journal": new, "bodies": new, "gate": new, "pending": new, "held": 0, **others}


async def test_push_is_stored_and_acknowledged_with_its_head(database_url: str, tmp_path: Path) -> None:
    """The answer names the head that the station holds at the same position."""
    async with open_centre(database_url, tmp_path) as centre:
        station = await enrolled(centre)
        reply = await station.push(centre, [sale(1), sale(2)])
        assert (reply.acked_seq, reply.acked_head, reply.held) == (2, station.head.hex(), False)
        assert (reply.safe_seq, reply.safe_head) == (0, journal.genesis("T-1", station.epoch).hex())
        assert await stored(centre) == rows_of(2)


async def test_push_sent_twice_is_stored_once(database_url: str, tmp_path: Path) -> None:
    """A lost answer costs nothing: the same push is answered the same and writes nothing."""
    async with open_centre(database_url, tmp_path) as centre:
        station = await enrolled(centre)
        session = centre.session(station.token)
        first, second = station.batch([sale(1), sale(2)]), station.batch([sale(3)])
        for _ in range(2):
            assert (await centre.intake.push(session, *first)).acked_seq == 2
        await centre.intake.push(session, *second)
        assert (await centre.intake.push(session, *first)).acked_seq == 3
        assert await stored(centre) == rows_of(3)


async def test_overlapping_push_adds_its_new_end(database_url: str, tmp_path: Path) -> None:
    """What is known and equal is passed over, the rest is stored."""
    async with open_centre(database_url, tmp_path) as centre:
        station = await enrolled(centre)
        await station.push(centre, [sale(1)])
        again = HandStation("T-1")
        again.token = station.token
        assert (await again.push(centre, [sale(1), sale(2), sale(3)])).acked_seq == 3
        assert await stored(centre) == rows_of(3)


async def test_gap_and_fork_are_told_with_last_and_head(database_url: str, tmp_path: Path) -> None:
    """A station that is ahead, or on another branch, learns where the centre is; nothing is stored."""
    async with open_centre(database_url, tmp_path) as centre:
        station = await enrolled(centre)
        await station.push(centre, [sale(1), sale(2)])
        head = station.head.hex()
        station.batch([sale(3)])
        with pytest.raises(Conflict) as caught:
            await station.push(centre, [sale(4)])
        assert (caught.value.name, caught.value.extra) == ("gap", {"last": 2, "head": head})

        other = HandStation("T-1")
        other.token = station.token
        with pytest.raises(Conflict) as caught:
            await other.push(centre, [sale(1), sale(7), sale(8)])
        assert (caught.value.name, caught.value.extra) == ("fork", {"last": 2, "head": head})
        assert await stored(centre) == rows_of(2)


async def test_document_journaled_again_is_an_alias(database_url: str, tmp_path: Path) -> None:
    """After a fold the same document stands at a second position and happens once."""
    async with open_centre(database_url, tmp_path) as centre:
        station = await enrolled(centre)
        await station.push(centre, [sale(1), sale(2)])
        station.new_epoch(b"\x02" * 16)
        await station.push(centre, [sale(2), sale(3), sale(3)])
        assert await stored(centre) == rows_of(3, journal=5)


async def test_same_id_with_another_payload_is_kept_as_a_conflict(database_url: str, tmp_path: Path) -> None:
    """Neither of two documents with one id is lost, and only the first one happens."""
    async with open_centre(database_url, tmp_path) as centre:
        one, two = await enrolled(centre), await enrolled(centre, "T-2")
        await one.push(centre, [sale(1)])
        await one.push(centre, [sale(1, 600)])
        assert not (await two.push(centre, [sale(1)])).held
        assert await stored(centre) == rows_of(1, journal=3, bodies=3, held=2)
        assert await count(centre, "held", "why = 'conflict'") == 2


async def test_quarantined_station_is_taken_from_and_held(database_url: str, tmp_path: Path) -> None:
    """Nothing of either machine is lost while HQ decides; a release applies it."""
    async with open_centre(database_url, tmp_path) as centre:
        station = await enrolled(centre)
        async with centre.database.write() as connection:
            await registry.update_station(connection, 1, quarantined=True)
        assert (await station.push(centre, [sale(1), sale(2)])).held
        assert await stored(centre) == rows_of(2, pending=0, held=2)

        await centre.registry.release_station("T-1", who="test")
        assert await stored(centre) == rows_of(2)
        assert not (await station.push(centre, [sale(3)])).held


async def test_retired_key_is_taken_from_and_held(database_url: str, tmp_path: Path) -> None:
    """A replaced machine may still empty its journal; a person decides what becomes of it."""
    async with open_centre(database_url, tmp_path) as centre:
        old, new = await enrolled(centre), HandStation("T-1", seed=2)
        new.new_epoch(b"\x02" * 16)
        await new.enroll(centre, await add_station(centre, replace=True))
        await new.sign_in(centre)
        assert (await old.push(centre, [sale(1)])).held
        assert not (await new.push(centre, [sale(2)])).held
        assert await count(centre, "held", "why = 'retired-key'") == 1


async def test_revoked_and_expired_sessions_store_nothing(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The station's row and the database's clock are asked in the push's own transaction."""
    async with open_centre(database_url, tmp_path) as centre:
        station = await enrolled(centre)
        session = centre.session(station.token)
        expired = type(session)(session.station_no, session.code, session.public_key, 1)
        with pytest.raises(NotAuthenticated) as caught:
            await centre.intake.push(expired, *station.batch([sale(1)]))
        assert caught.value.name == "session-expired"
        async with centre.database.write() as connection:
            await registry.update_station(connection, 1, state="revoked")
        with pytest.raises(NotAllowed):
            await station.push(centre, [sale(2)])
        async with centre.database.write() as connection:
            await connection.execute(text("DELETE FROM station_keys"))
        with pytest.raises(NotAuthenticated):
            await station.push(centre, [sale(3)])
        assert await stored(centre) == rows_of(0)


async def test_wrong_signature_stores_nothing(database_url: str, tmp_path: Path) -> None:
    """Only the machine that holds the key can push."""
    async with open_centre(database_url, tmp_path) as centre:
        station, thief = await enrolled(centre), HandStation("T-1", seed=2)
        thief.token = station.token
        with pytest.raises(BadInput) as caught:
            await thief.push(centre, [sale(1)])
        assert caught.value.name == "wrong-signature"
        assert await stored(centre) == rows_of(0)


async def test_damaged_document_is_held_and_its_good_copy_still_happens(
    database_url: str, tmp_path: Path
) -> None:
    """The chain goes on over damaged bytes, and the gate stays open for a salvaged copy."""
    async with open_centre(database_url, tmp_path) as centre:
        station = await enrolled(centre)
        envelope, lines = station.batch([sale(1), sale(2)])
        whole = journal.seal(b"", 1, lines[0], lines[1])
        recorded = (whole.header_hash.hex(), whole.payload_hash.hex())
        envelope["damaged"] = {"1": recorded}
        lines[:2] = [framing.armour(lines[0]), framing.armour(b"\x00 broken")]
        await centre.intake.push(centre.session(station.token), envelope, lines)
        assert await stored(centre) == rows_of(2, gate=1, pending=1, held=1)
        await station.push(centre, [sale(1)])
        assert await stored(centre) == rows_of(3, gate=2, pending=2, held=1)

        page, back = await centre.intake.history(await centre.station(station.token), station.epoch, 0)
        assert page["damaged"] == {"1": recorded}
        assert framing.unarmour(back[1]) == b"\x00 broken"


async def test_history_gives_back_the_exact_bytes(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A station that lost its journal reads it back page by page, and each page's chain can be checked."""
    monkeypatch.setattr(accept, "HISTORY_ROWS", 2)
    async with open_centre(database_url, tmp_path) as centre:
        station = await enrolled(centre)
        documents = [sale(n) for n in (1, 2, 3)]
        await station.push(centre, documents)
        identity = await centre.station(station.token)
        first, lines = await centre.intake.history(identity, station.epoch, 0)
        assert (first["first_seq"], first["count"], first["more"]) == (1, 2, True)
        second, more = await centre.intake.history(identity, station.epoch, 2)
        assert (second["prev_head"], second["more"]) == (first["last_head"], False)
        assert second["last_head"] == station.head.hex()
        assert framing.pairs([*lines, *more]) == documents
        empty, _ = await centre.intake.history(identity, b"\x09" * 16, 0)
        assert (empty["count"], empty["more"]) == (0, False)


async def test_parent_behind_what_is_here_is_noted(database_url: str, tmp_path: Path) -> None:
    """A restored disk names a parent that the centre has further on, or that went on elsewhere: an alert only."""
    async with open_centre(database_url, tmp_path) as centre:
        station = await enrolled(centre)
        await station.push(centre, [sale(1), sale(2)])
        parent, head = station.epoch, station.head
        for epoch, parent_last in ((b"\x02" * 16, 2), (b"\x03" * 16, 1), (b"\x04" * 16, 2)):
            station.new_epoch(epoch)
            envelope, lines = station.batch([sale(int(epoch[0]) + 1)])
            envelope["parent"] = (parent.hex(), parent_last, head.hex())
            await centre.intake.push(centre.session(station.token), envelope, lines)
        assert await count(centre, "audit", "what = 'disk restored or copied'") == 2
        assert await count(centre, "epochs", "parent IS NOT NULL") == 3
        assert await stored(centre) == rows_of(5)


async def test_many_stations_share_a_transaction_and_keep_their_chains(
    database_url: str, tmp_path: Path
) -> None:
    """Pushes of many stations at once, one after the other of each, are all stored."""
    async with open_centre(database_url, tmp_path) as centre:
        stations = [await enrolled(centre, f"T-{n}") for n in range(1, 6)]

        async def push_all(n: int, station: HandStation) -> list[int]:
            documents = [sale(1_000 * n + i) for i in range(12)]
            return [(await station.push(centre, documents[at : at + 3])).acked_seq for at in range(0, 12, 3)]

        answers = await asyncio.gather(*[push_all(n, station) for n, station in enumerate(stations)])
        assert answers == [[3, 6, 9, 12]] * 5
        assert await stored(centre) == rows_of(60)
        assert await count(centre, "journal", "seq = 12") == 5


async def test_failing_push_does_not_fail_its_neighbours(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a shared transaction fails, each push is done by itself, and only the one at fault is refused."""
    async with open_centre(database_url, tmp_path) as centre:
        good, bad = await enrolled(centre), await enrolled(centre, "T-2")
        real = rows.store

        async def store(transaction: Any, new: rows.NewRows) -> None:
            if any(row[1] == 2 for row in new.bodies):
                raise OSError("no")
            await real(transaction, new)

        monkeypatch.setattr(rows, "store", store)
        answers = await asyncio.gather(
            good.push(centre, [sale(1)]), bad.push(centre, [sale(2)]), return_exceptions=True
        )
        assert not isinstance(answers[0], BaseException)
        assert isinstance(answers[1], CounterflowError)
        assert (answers[1].name, answers[1].retryable) == ("unavailable", True)
        assert await stored(centre) == rows_of(1)
        monkeypatch.undo()
        bad.new_epoch(b"\x02" * 16)
        await bad.push(centre, [sale(3)])
        assert await stored(centre) == rows_of(2)


async def test_two_nodes_take_the_same_document_once(postgres_url: str, tmp_path: Path) -> None:
    """Pushes of one document at the same moment on two nodes: the gate lets one through, the other is kept."""
    async with open_centre(postgres_url, tmp_path) as one:
        two = await Centre.open(one.config)
        try:
            first, second = await enrolled(one), await enrolled(one, "T-2")
            for n in range(20):
                await asyncio.gather(first.push(one, [sale(n)]), second.push(two, [sale(n)]))
            assert await stored(one) == rows_of(20, journal=40, bodies=40, held=20)
            await asyncio.gather(one.applier.drain(), two.applier.drain())
            assert await count(one, "documents") == 20
        finally:
            await two.close()


async def test_safe_point_moves_over_a_prefix_only(database_url: str, tmp_path: Path) -> None:
    """What a verified copy holds becomes safe, up to the first document that came later, and only with its head."""
    async with open_centre(database_url, tmp_path) as centre:
        station = await enrolled(centre)
        await station.push(centre, [sale(1), sale(2)])
        async with centre.database.write() as connection:
            await connection.execute(text("UPDATE bodies SET received_ms = 1000"))
        await station.push(centre, [sale(3), sale(1)])  # the alias is older than what stands before it
        async with centre.database.write() as connection:
            covered = await rows.positions(centre.database, connection, 2_000)
            assert [seq for seq, _ in covered.values()] == [2]
            wrong = dict.fromkeys(covered, (2, b"\x00" * 32))
            assert await rows.mark_safe(centre.database, connection, wrong) == 0
            assert await rows.mark_safe(centre.database, connection, covered) == 1
            assert await rows.mark_safe(centre.database, connection, covered) == 0
        reply = await station.push(centre, [sale(4)])
        assert (reply.safe_seq, reply.safe_head) == (2, next(iter(covered.values()))[1].hex())


async def test_old_documents_become_safe_by_age(database_url: str, tmp_path: Path) -> None:
    """After the days that were set, a document counts as safe without any backup."""
    async with open_centre(database_url, tmp_path) as centre:
        station = await enrolled(centre)
        await station.push(centre, [sale(1)])
        assert await centre.safety.look() == 0
        async with centre.database.write() as connection:
            await connection.execute(text("UPDATE bodies SET received_ms = 1000"))
        assert await centre.safety.look() == 1
        assert await centre.safety.look() == 0
