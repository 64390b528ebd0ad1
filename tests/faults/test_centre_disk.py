"""What happens to the centre's disk: set back to a backup, full, opened twice. The stations bring what is missing."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.faults.prices import load_prices
from tests.faults.seller import Seller, reckon, sell
from tests.support.chain import Chain
from tests.support.processes import Process, python

pytestmark = pytest.mark.asyncio(loop_scope="module")

STATIONS = 2


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
