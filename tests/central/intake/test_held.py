"""HQ decides held documents: each gets one set of effects of its own, or none; nothing is deleted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import text

from central.centre import Centre
from central.db.held import Choice
from central.intake import held
from central.intake.held import Content, Decided
from central.verify import verify
from shared import journal
from shared.protocol import framing
from tests.support.centre import HandStation, count, enrolled, open_centre
from tests.support.sales import doc_id, header, payload, sale

Document = tuple[bytes, bytes]


async def push_damaged(centre: Centre, station: HandStation, sealed: Document, now: Document) -> None:
    """Send a document whose bytes on the station's disk are not those that it sealed."""
    envelope, lines = station.batch([sealed])
    whole = journal.seal(b"", 1, *sealed)
    envelope["damaged"] = {str(envelope["first_seq"]): (whole.header_hash.hex(), whole.payload_hash.hex())}
    lines[:2] = [framing.armour(part) for part in now]
    await centre.intake.push(centre.session(station.token), envelope, lines)


async def rows(centre: Centre, query: str) -> list[Any]:
    async with centre.database.read() as connection:
        return list((await connection.execute(text(query))).all())


async def assert_clean(centre: Centre) -> None:
    report = await verify(centre.database)
    assert report.findings == []


async def conflict(centre: Centre, *amounts: int) -> HandStation:
    """A station that sold document 1 for 500, and once more under its doc_id for each amount."""
    station = await enrolled(centre)
    await station.push(centre, [sale(1)])
    for amount in amounts:
        await station.push(centre, [sale(1, amount)])
    await centre.applier.drain()
    return station


async def test_discarded_document_has_no_effect_and_is_kept(database_url: str, tmp_path: Path) -> None:
    """It is not listed as held any more, its bytes stay, and the trail says who decided it and why."""
    async with open_centre(database_url, tmp_path) as centre:
        await conflict(centre, 600, 700)
        done = await centre.held.discard(Choice(why="conflict"), reason="typed twice", who="Ann")
        assert done == Decided(discarded=(2, 3))
        await centre.applier.drain()
        assert await count(centre, "held") == 0
        assert (await count(centre, "bodies"), await count(centre, "documents")) == (3, 1)
        assert await rows(centre, "SELECT why, reason, by FROM discarded WHERE doc_no = 2") == [
            ("conflict", "typed twice", "Ann")
        ]
        (line,) = await rows(centre, "SELECT who, detail FROM audit WHERE what = 'held.discard'")
        assert (line.who, orjson.loads(line.detail)) == ("Ann", {"doc_nos": [2, 3], "reason": "typed twice"})
        await assert_clean(centre)


async def test_applied_conflict_is_a_document_of_its_own(database_url: str, tmp_path: Path) -> None:
    """It gets rows and a delivery under a doc_id that no other document has; what was sealed stays."""
    async with open_centre(database_url, tmp_path) as centre:
        settings = {"folder": str(tmp_path / "erp")}
        await centre.integrations.create("erp", "drop_folder", settings, ["sale"], from_ms=0)
        await conflict(centre, 600)
        assert await centre.held.apply(Choice([2]), reason="two sales", who="Ann") == Decided(applied=(2,))
        await centre.applier.drain()
        assert await rows(centre, "SELECT total_minor FROM documents ORDER BY doc_no") == [(500,), (600,)]
        assert await count(centre, "deliveries", "doc_no = 2") == 1
        (row,) = await rows(centre, "SELECT header FROM repairs WHERE doc_no = 2")
        (place,) = await rows(centre, "SELECT doc_id FROM gate WHERE doc_no = 2")
        fresh = orjson.loads(row.header)["doc_id"]
        assert fresh != doc_id(1)
        assert fresh.replace("-", "") == bytes(place.doc_id).hex()
        while await centre.deliveries.step((await centre.integrations.get("erp")).integration_no):
            pass
        files = sorted((tmp_path / "erp").rglob("*.ndjson"))
        keys = [
            orjson.loads(line)["delivery_key"] for file in files for line in file.read_bytes().splitlines()
        ]
        assert keys == [f"erp:{doc_id(1)}:document", f"erp:{fresh}:document"]
        (sealed,) = await rows(centre, "SELECT header FROM bodies WHERE doc_no = 2")
        assert orjson.loads(sealed.header)["doc_id"] == doc_id(1)
        await assert_clean(centre)


async def test_same_content_gets_the_same_id_and_happens_once(database_url: str, tmp_path: Path) -> None:
    """What comes again after its twin was applied, as after a restore, has no second delivery key."""
    async with open_centre(database_url, tmp_path) as centre:
        station = await conflict(centre, 600, 600)
        done = await centre.held.apply(Choice(why="conflict", station="T-1"), reason="both", who="Ann")
        assert (done.applied, [one.doc_no for one in done.refused]) == ((2,), [3])
        await station.push(centre, [sale(1, 600)])
        later = await centre.held.apply(Choice([4]), reason="again", who="Ann")
        assert "as 2: discard" in later.refused[0].why
        await centre.applier.drain()
        await assert_clean(centre)


async def test_damaged_document_is_applied_with_its_right_payload(database_url: str, tmp_path: Path) -> None:
    """Under its own doc_id, because its header is whole: an intact copy that comes later is an alias."""
    async with open_centre(database_url, tmp_path) as centre:
        station = await enrolled(centre)
        await push_damaged(centre, station, sale(1), (sale(1)[0], b"\x00 broken"))
        refused = await centre.held.apply(Choice([1]), reason="as it is", who="Ann")
        assert "payload" in refused.refused[0].why
        done = await centre.held.apply(
            Choice([1]), reason="from the paper", who="Ann", content=Content(payload=payload(500))
        )
        assert done == Decided(applied=(1,))
        await station.push(centre, [sale(1)])
        await centre.applier.drain()
        assert await rows(centre, "SELECT total_minor FROM documents") == [(500,)]
        assert (await count(centre, "held"), await count(centre, "bodies")) == (0, 1)
        await assert_clean(centre)


async def test_damaged_header_needs_the_right_one(database_url: str, tmp_path: Path) -> None:
    """A header that is not what was sealed has no claim to its doc_id; the one that was sealed has."""
    async with open_centre(database_url, tmp_path) as centre:
        station = await enrolled(centre)
        for n in (1, 2):
            await push_damaged(centre, station, sale(n), (b'{"kind":"sale"', sale(n)[1]))
        refused = await centre.held.apply(Choice(why="damaged"), reason="as they are", who="Ann")
        assert ["header" in one.why for one in refused.refused] == [True, True]
        await centre.held.apply(Choice([1]), reason="backup", who="Ann", content=Content(header(1)))
        other = Content(header(2, number="from the paper"))
        await centre.held.apply(Choice([2]), reason="paper", who="Ann", content=other)
        await centre.applier.drain()
        at_gate = {bytes(row.doc_id).hex(): row.doc_no for row in await rows(centre, "SELECT * FROM gate")}
        assert at_gate[doc_id(1).replace("-", "")] == 1
        assert doc_id(2).replace("-", "") not in at_gate
        assert await count(centre, "documents") == 2
        await assert_clean(centre)


async def test_damaged_copy_of_a_document_that_is_here_can_only_be_discarded(
    database_url: str, tmp_path: Path
) -> None:
    """To apply it would double the sale."""
    async with open_centre(database_url, tmp_path) as centre:
        station = await enrolled(centre)
        await push_damaged(centre, station, sale(1), (sale(1)[0], b"?"))
        await station.push(centre, [sale(1)])
        right = Content(payload=payload(500))
        done = await centre.held.apply(Choice([1]), reason="x", who="Ann", content=right)
        assert "here already, as 2" in done.refused[0].why
        assert (await centre.held.discard(Choice([1]), reason="a copy", who="Ann")).discarded == (1,)
        await assert_clean(centre)


async def test_quarantine_is_decided_for_the_whole_station(database_url: str, tmp_path: Path) -> None:
    """One by one, a copy's sales would be taken apart."""
    async with open_centre(database_url, tmp_path) as centre:
        station = await enrolled(centre)
        async with centre.database.write() as connection:
            await connection.execute(text("UPDATE stations SET quarantined = TRUE"))
        await station.push(centre, [sale(1)])
        for act in (centre.held.apply, centre.held.discard):
            done = await act(Choice([1]), reason="x", who="Ann")
            assert "stations release T-1" in done.refused[0].why
        assert await count(centre, "held") == 1


async def test_many_are_decided_in_parts_each_with_its_line(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are, no transaction grows with them, and none is without a line in the trail."""
    monkeypatch.setattr(held, "CHUNK", 2)
    async with open_centre(database_url, tmp_path) as centre:
        await conflict(centre, 1, 2, 3, 4, 5)
        done = await centre.held.apply(Choice(why="conflict"), reason="all", who="Ann")
        await centre.applier.drain()
        assert len(done.applied) == 5
        assert await count(centre, "audit", "what = 'held.apply'") == 3
        assert await count(centre, "documents") == 6
        await assert_clean(centre)
