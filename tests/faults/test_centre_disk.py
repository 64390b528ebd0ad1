"""What happens to the centre's disk: set back to a backup, full, opened twice. The stations bring what is missing."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from shared.canonical import canonical
from tests.faults.disk import NO_TMPFS, fill, small_disk
from tests.faults.hand import HandStation
from tests.faults.prices import load_prices
from tests.faults.seller import Seller, large_sale, reckon, sell
from tests.support.chain import Chain
from tests.support.processes import Process, python
from tests.support.template import Templates

pytestmark = pytest.mark.asyncio(loop_scope="module")

SMALL = "48m"
"""Of the disk that the centre's database lies on."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running_chain(
    tmp_path_factory: pytest.TempPathFactory, templates: Templates
) -> AsyncIterator[Chain]:
    """A centre on a small disk of its own, where there can be one, and two stations."""
    folder = tmp_path_factory.mktemp("chain")
    with small_disk(folder / "centre", SMALL):
        async with Chain(folder, stations=2, templates=templates) as chain:
            yield chain
            chain.kill()


async def test_a_centre_restored_from_an_older_backup_gets_everything_again(chain: Chain) -> None:
    """The centre's disk is lost: backup back, `after-restore`, and the stations send what it does not have."""
    node = chain.nodes[0]
    backup = chain.folder / "backup.db"
    one, two = chain.stations
    await load_prices(chain, 1, 20)
    async with Seller(one) as first, Seller(two) as second:
        await first.sold(20)
        await chain.central("backup", str(backup))
        await load_prices(chain, 2, 20)
        await first.sold(30)
        await second.sold(30)
        since = set(first.accepted[-20:])

        async def delivered() -> bool:
            return since <= {line["doc_id"] for line in chain.delivered()}

        await chain.until("what was sold after the backup is delivered", delivered)
        node.kill()
        database = chain.folder / "centre" / "central.db"
        for file in database.parent.glob("central.db*"):
            file.unlink()
        shutil.copy(backup, database)
        await chain.central("after-restore", "--yes")
        node.start()
        await node.wait_until_healthy(chain.url)
        await first.sold(10)
    await reckon(chain)
    # Delivered before the loss, applied again after it, and not delivered again: that is what the probe is for.
    report = json.loads(await chain.central("verify", "--json"))
    assert report["findings"] == []
    assert report["checked"]["documents"] == len(chain.accepted())


async def test_a_second_centre_on_the_same_database_is_refused(chain: Chain) -> None:
    """It says who holds it and ends with 75; the first one serves on."""
    second = Process(
        "second",
        python("-m", "central.cli", "run"),
        chain.folder,
        env={**chain.central_env, "COUNTERFLOW_CENTRAL_PORT": "0"},
    )
    second.start()
    assert await second.wait() == 75
    assert str(chain.nodes[0].pid) in second.log()
    await sell(chain.stations[0], 3)
    await reckon(chain)


async def test_a_centre_with_a_full_disk_says_so_and_takes_the_rest_later(chain: Chain) -> None:
    """507 for what it cannot store; HQ can read on, the stations sell and keep, and with room all of it arrives."""
    if not (chain.folder / "centre").is_mount():
        pytest.skip(NO_TMPFS)
    one, two = chain.stations
    hand = await HandStation.enrol(chain)
    ballast = chain.folder / "centre" / "ballast"
    async with Seller(one) as first, Seller(two) as second:
        await first.sold(5)
        await asyncio.to_thread(fill, ballast)
        try:
            while True:
                documents = [hand.document(canonical(large_sale(number)["payload"])) for number in range(4)]
                seq, head = hand.seq, hand.head
                status, answer = await hand.push(documents)
                if status != 200:
                    break
                chain.brought |= {doc_id_of(document) for document in documents}
            assert (status, answer["type"]) == (507, "urn:counterflow:problem:cannot-store")
            await first.sold(20)
            await second.sold(20)
            assert (await chain.admin("GET", "/status"))["documents"] > 0
        finally:
            ballast.unlink()
        hand.seq, hand.head = seq, head
        status, answer = await hand.push(documents)
        assert status == 200, answer
        chain.brought |= {doc_id_of(document) for document in documents}
    await reckon(chain)


def doc_id_of(document: tuple[bytes, bytes]) -> str:
    doc_id: str = json.loads(document[0])["doc_id"]
    return doc_id
