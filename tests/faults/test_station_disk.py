"""What happens to a till's disk: full, set back, cut off, deleted, flipped, opened twice."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio

from tests.faults.disk import NO_TMPFS, fill, small_disk
from tests.faults.seller import Seller, large_sale, reckon, sale, sell, sent
from tests.support.chain import Chain, Station
from tests.support.processes import Process, python

pytestmark = pytest.mark.asyncio(loop_scope="module")

STATIONS = 0
SMALL = "24m"
"""Of a disk that is to get full; a new station with its reserve for sales takes about 10 MB."""


@pytest_asyncio.fixture(loop_scope="module")
async def station(chain: Chain) -> AsyncIterator[Station]:
    """A new till: what is done to its disk is nobody else's."""
    async with chain.one_more() as station:
        yield station


async def test_a_restored_journal_is_noticed_and_nothing_sent_is_lost(chain: Chain, station: Station) -> None:
    """The journal is set back to an older copy: a new epoch, no reference twice, and all that was sent stays."""
    kept = chain.folder / "kept"
    kept.mkdir()
    await sell(station, 10)
    await sent(chain)
    station.process.kill()
    for file in station.folder.glob("journal.db*"):
        shutil.copy(file, kept)
    await station.start()
    await sell(station, 10)
    await sent(chain)
    station.process.kill()
    for file in station.folder.glob("journal.db*"):
        file.unlink()
    for file in kept.iterdir():
        shutil.copy(file, station.folder)
    await station.start()
    await sell(station, 10)
    references = [answer["reference"] for answer in station.accepted.values()]
    assert len(set(references)) == 30
    await reckon(chain)

    lost = list(station.accepted)[10:20]

    async def read_back() -> bool:
        return all([await station.knows(doc_id) for doc_id in lost])

    await chain.until("the tail is read back from the centre", read_back)
    told = await chain.central("audit", "--json")
    assert f"station {station.code}" in told
    assert "disk restored or copied" in told


@pytest.mark.parametrize("harm", ["truncated", "emptied", "deleted", "garbage"])
async def test_a_ruined_journal_is_never_started_on_silently(
    chain: Chain, station: Station, harm: str
) -> None:
    """The agent starts, sells on in a new epoch, raises an alarm, and reads its tail back from the centre."""
    await sell(station, 30)
    await sent(chain)
    station.process.kill()
    journal = station.folder / "journal.db"
    for file in station.folder.glob("journal.db-*"):
        file.unlink()
    content = journal.read_bytes()
    if harm == "deleted":
        journal.unlink()
    else:
        journal.write_bytes(
            {"truncated": content[: len(content) // 2], "emptied": b"", "garbage": b"?" * 5_000}[harm]
        )
    await station.start()
    await sell(station, 10)
    assert any("journal" in alarm for alarm in (await station.get("/v1/station"))["alarms"]), (
        "nobody was told"
    )
    await reckon(chain)


async def test_a_flipped_bit_in_a_stored_payload_stops_nobody(chain: Chain, station: Station) -> None:
    """A document whose bytes no longer fit goes up as damaged and is held; all others arrive."""
    station.proxy.mode("cut")
    await sell(station, 12)
    station.process.kill()
    with sqlite3.connect(station.folder / "journal.db") as database:
        doc_id, payload = database.execute(
            "SELECT doc_id, payload FROM documents ORDER BY doc_no LIMIT 1 OFFSET 5"
        ).fetchone()
        flipped = payload[:20] + bytes([payload[20] ^ 1]) + payload[21:]
        database.execute("UPDATE documents SET payload = ? WHERE doc_id = ?", (flipped, doc_id))
    database.close()
    station.proxy.mode("pass")
    await station.start()
    await sent(chain)
    held = await chain.admin("GET", f"/held?station={station.code}")
    assert [(row["doc_id"], row["why"]) for row in held["items"]] == [(doc_id, "damaged")]
    findings = await station.findings()
    assert len(findings) == 1
    assert "payload" in findings[0].what
    station.process.kill()
    chain.stations.remove(station)  # its journal stays as it is; all others must be clean
    chain.kept_back.add(doc_id)
    await reckon(chain)
    chain.stations.append(station)


async def test_catalog_deleted_while_running_comes_back(chain: Chain, station: Station) -> None:
    """Selling goes on and the catalog is fetched again by itself."""
    chain.drop_file("units.csv", "#counterflow entity=unit mode=changes\ncode,name\npc,piece\nkg,kilogram\n")

    async def loaded() -> bool:
        return sum(scope["count"] for scope in (await station.get("/v1/station"))["scopes"]) == 2

    await chain.until("the units are there", loaded)
    async with Seller(station) as seller:
        for file in station.folder.glob("catalog.db*"):
            file.unlink()
        await seller.sold(20)
        await chain.until(
            "there is a file again", lambda: asyncio.to_thread((station.folder / "catalog.db").exists)
        )
        await chain.until("the units are there again", loaded)
    await reckon(chain)


async def test_a_second_process_on_the_same_journal_is_refused(chain: Chain, station: Station) -> None:
    """It says who holds it and ends with 75; the first one sells on."""
    second = Process(
        "second",
        python("-m", "edge_agent.cli", "run", "--data-dir", str(station.folder), "--port", "0"),
        chain.folder,
    )
    second.start()
    assert await second.wait() == 75
    assert str(station.process.pid) in second.log()
    await sell(station, 3)
    await reckon(chain)


async def test_a_frozen_process_does_not_wake_beside_another(chain: Chain, station: Station) -> None:
    """While the first is stopped a second one is refused all the same; the first goes on where it was."""
    await sell(station, 3)
    station.process.pause()
    try:
        second = Process(
            "beside",
            python("-m", "edge_agent.cli", "run", "--data-dir", str(station.folder), "--port", "0"),
            chain.folder,
        )
        second.start()
        assert await second.wait() == 75
    finally:
        station.process.resume()
    await sell(station, 3)
    await reckon(chain)


async def until_refused(station: Station) -> None:
    """Hand in large documents until the disk takes no more; the journal's own reserve has to be used up too."""
    for number in itertools.count():
        status, answer = await station.sell(large_sale(number), f"large-{station.code}-{number}-{uuid4()}")
        if status != 201:
            assert (status, answer["type"]) == (507, "urn:counterflow:problem:cannot-store")
            return


async def test_a_full_disk_refuses_cleanly_and_keeps_what_was_accepted(chain: Chain, tmp_path: Path) -> None:
    """The till is told "cannot store", nothing accepted is lost, and with room again it sells on by itself."""
    disk = tmp_path / "small"
    with small_disk(disk, SMALL) as is_small:
        if not is_small:
            pytest.skip(NO_TMPFS)
        async with chain.one_more(folder=disk / "till") as station:
            for number in range(3):
                station.proxy.mode("cut")
                await sell(station, 10)
                fill(disk / "ballast")
                await until_refused(station)
                (disk / "ballast").unlink()
                status, answer = await station.sell(sale(number), f"room-again-{number}")
                assert status == 201, answer
                station.proxy.mode("pass")
                await sent(chain)
            await reckon(chain)


async def test_an_agent_that_is_switched_on_with_a_full_disk_sells_once_there_is_room(
    chain: Chain, tmp_path: Path
) -> None:
    """It starts, refuses what has no room and keeps all that it had; with room it needs no hand."""
    disk = tmp_path / "small"
    with small_disk(disk, SMALL) as is_small:
        if not is_small:
            pytest.skip(NO_TMPFS)
        async with chain.one_more(folder=disk / "dark-till") as station:
            station.proxy.mode("cut")
            await sell(station, 10)
            fill(disk / "ballast")
            await until_refused(station)
            station.process.kill()
            fill(disk / "more-ballast")
            await station.start()
            await until_refused(station)
            (disk / "ballast").unlink()
            (disk / "more-ballast").unlink()
            await sell(station, 3)
            station.proxy.mode("pass")
            await reckon(chain)


async def test_the_journal_can_be_exported_and_verified_by_hand(chain: Chain, station: Station) -> None:
    """The last resort: `export` gives every document of a till that is switched off, and `verify` proves them."""
    await sell(station, 5)
    await reckon(chain)
    station.process.kill()
    printed = await chain.agent("export", "--data-dir", str(station.folder))
    assert all(doc_id in printed for doc_id in station.accepted)
    assert (await station.verify())["findings"] == []
    await station.start()
