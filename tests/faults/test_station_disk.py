"""What happens to a till's disk: full, set back, cut off, deleted, flipped, opened twice."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.seller import Seller, reckon, sale
from tests.support.chain import Chain, run_command
from tests.support.processes import Process, python


def stop(chain: Chain) -> None:
    chain.stations[0].process.kill()


async def sold_and_sent(chain: Chain, count: int) -> Seller:
    seller = Seller(chain.stations[0])
    for _ in range(count):
        await seller.sell_one()
    await chain.until("the backlog is sent", chain.backlog_is_empty)
    return seller


async def test_a_restored_journal_is_noticed_and_nothing_sent_is_lost(chain: Chain) -> None:
    """The journal is set back to an older copy: a new epoch, no reference twice, and all that was sent stays."""
    station = chain.stations[0]
    early = await sold_and_sent(chain, 10)
    stop(chain)
    for file in station.folder.glob("journal.db*"):
        shutil.copy(file, chain.folder / file.name)
    await station.start()
    late = await sold_and_sent(chain, 10)
    stop(chain)
    for file in station.folder.glob("journal.db*"):
        file.unlink()
    for file in chain.folder.glob("journal.db*"):
        shutil.copy(file, station.folder / file.name)
    await station.start()
    after = await sold_and_sent(chain, 10)
    await reckon(chain, early, late, after)


@pytest.mark.parametrize("harm", ["truncated", "emptied", "deleted", "garbage"])
async def test_a_ruined_journal_is_never_started_on_silently(chain: Chain, harm: str) -> None:
    """The agent starts, sells on in a new epoch, raises an alarm, and reads its tail back from the centre."""
    station = chain.stations[0]
    before = await sold_and_sent(chain, 30)
    stop(chain)
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
    after = await sold_and_sent(chain, 10)
    assert (await station.get("/v1/station"))["alarms"], "nobody was told"
    await reckon(chain, before, after)


async def test_a_flipped_bit_in_a_stored_payload_stops_nobody(chain: Chain) -> None:
    """A document whose bytes no longer fit goes up as damaged and is held; all others arrive."""
    station = chain.stations[0]
    station.proxy.mode("cut")
    seller = Seller(station)
    for _ in range(12):
        await seller.sell_one()
    stop(chain)
    with sqlite3.connect(station.folder / "journal.db") as database:
        doc_id, payload = database.execute(
            "SELECT doc_id, payload FROM documents ORDER BY doc_no LIMIT 1 OFFSET 5"
        ).fetchone()
        flipped = payload[:20] + bytes([payload[20] ^ 1]) + payload[21:]
        database.execute("UPDATE documents SET payload = ? WHERE doc_id = ?", (flipped, doc_id))
    database.close()
    station.proxy.mode("pass")
    await station.start()
    await chain.until("the backlog is sent", chain.backlog_is_empty)
    held = await chain.admin("GET", "/held")
    assert [row["why"] for row in held["items"]] == ["damaged"]
    intact = set(seller.accepted) - {doc_id}

    async def delivered() -> bool:
        return {line["doc_id"] for line in chain.delivered()} == intact

    await chain.until("the other documents are delivered", delivered)


async def test_catalog_deleted_while_running_comes_back(chain: Chain) -> None:
    """Selling goes on and the catalog is fetched again by itself."""
    station = chain.stations[0]
    chain.drop_file("units.csv", "#counterflow entity=unit mode=changes\ncode,name\npc,piece\nkg,kilogram\n")

    async def loaded() -> bool:
        return sum(scope["count"] for scope in (await station.get("/v1/station"))["scopes"]) == 2

    await chain.until("the units are there", loaded)
    async with Seller(station) as seller:
        for file in station.folder.glob("catalog.db*"):
            file.unlink()
        await station.sync()
        await seller.reached(20)
        await chain.until("the units are there again", loaded)
    await reckon(chain, seller)


async def test_a_second_process_on_the_same_journal_is_refused(chain: Chain) -> None:
    """It says who holds it and ends with 75; the first one sells on."""
    station = chain.stations[0]
    second = Process(
        "second",
        python("-m", "edge_agent.cli", "run", "--data-dir", str(station.folder), "--port", "0"),
        chain.folder,
    )
    second.start()
    assert await second.wait() == 75
    assert str(station.process.pid) in second.log()
    await reckon(chain, await sold_and_sent(chain, 3))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 4 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True, check=False
    ).returncode:
        pytest.skip("mounting a small tmpfs needs root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


async def test_a_full_disk_refuses_cleanly_and_keeps_what_was_accepted(
    tmp_path: Path, small_disk: Path
) -> None:
    """The till is told "cannot store", nothing accepted is lost, and with room again it sells on."""
    async with Chain(tmp_path, stations=1) as chain:
        station = chain.stations[0]
        station.process.kill()
        shutil.copytree(station.folder, small_disk / "till")
        data_dir = str(small_disk / "till")
        station.process.argv[station.process.argv.index("--data-dir") + 1] = data_dir
        station.folder = small_disk / "till"
        await station.start()
        station.proxy.mode("cut")
        seller = Seller(station)
        ballast = small_disk / "ballast"
        for _ in range(20):
            await seller.sell_one()
        await asyncio.to_thread(_fill, ballast)
        for _ in range(200):
            await seller.sell_one()
            if seller.refused:
                break
        assert set(seller.refused) == {507}, f"the disk was full, yet nobody said so: {seller.refused}"
        ballast.unlink()
        status, answer = await station.sell(sale(1), "after-the-disk-has-room")
        assert status == 201, answer
        seller.accepted[answer["doc_id"]] = "after"
        station.proxy.mode("pass")
        await reckon(chain, seller)


def _fill(file: Path) -> None:
    with file.open("wb") as out:
        try:
            while True:
                out.write(bytes(65_536))
                out.flush()
        except OSError:
            pass


async def test_export_reads_a_journal_that_no_agent_runs_on(chain: Chain) -> None:
    """The last resort: `export` gives every document as NDJSON from a till that is switched off."""
    seller = await sold_and_sent(chain, 5)
    stop(chain)
    printed = await run_command(
        "edge_agent.cli", "export", "--data-dir", str(chain.stations[0].folder), env={}
    )
    assert all(doc_id in printed for doc_id in seller.accepted)
