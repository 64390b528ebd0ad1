"""Machines that should be one and are two: both branches are kept, and nobody's sales are lost or doubled."""

from __future__ import annotations

import shutil
from collections import Counter

import pytest

from tests.faults.seller import Seller, reckon, sell, sent
from tests.support.chain import Chain

pytestmark = pytest.mark.asyncio(loop_scope="module")

STATIONS = 0


async def test_a_cloned_till_is_found_and_both_branches_are_kept(chain: Chain) -> None:
    """Two machines sell under one identity: quarantine, both branches held; after the release both are applied."""
    async with chain.one_more() as first:
        await sell(first, 10)
        await sent(chain)
        first.process.kill()
        second = await chain.machine(first.code, folder=chain.folder / "clone")
        shutil.copytree(first.folder, second.folder)
        chain.stations.append(second)
        await first.start()
        await second.start()

        async def quarantined() -> bool:
            station = await chain.admin("GET", f"/stations/{first.code}")
            return bool(station["quarantined"])

        async with Seller(first) as one, Seller(second) as two:
            # Sessions last ten minutes; "sync now" opens a new one, so that nobody has to wait for it here.
            for machine in (first, second, first, second):
                await machine.sync()
                await one.sold(5)
                await two.sold(5)
            await chain.until("the copy is found", quarantined)
            await one.sold(5)
            await two.sold(5)
        await sent(chain)
        held = await chain.admin("GET", f"/held?station={first.code}&limit=500")
        held_ids = {row["doc_id"] for row in held["items"]}
        assert held_ids & set(one.accepted), "what a quarantined station sells is held"
        assert held_ids & set(two.accepted)
        alarms = (await first.get("/v1/station"))["alarms"]
        assert any("two machines" in alarm for alarm in alarms)

        code = (await chain.admin("POST", "/stations", {"code": "S1-T9", "store": "S1"}))["enrolment_code"]
        second.process.kill()
        target = ["--server", second.proxy.url, "--new-station", "--data-dir", str(second.folder)]
        await chain.agent("enroll", code, *target)
        await second.start()
        await chain.central("stations", "release", first.code)
        assert not await quarantined()
        await sell(first, 5)
        await sell(second, 5)
        await reckon(chain)
        assert not await quarantined()
        second.process.kill()
        chain.stations.remove(second)


async def test_a_clone_that_was_offline_brings_its_branch_later(chain: Chain) -> None:
    """One of two machines has no line for a while; what it sold in the meantime is kept like any other branch."""
    async with chain.one_more() as first:
        await sell(first, 5)
        await sent(chain)
        first.process.kill()
        second = await chain.machine(first.code, folder=chain.folder / "offline-clone")
        shutil.copytree(first.folder, second.folder)
        second.proxy.mode("cut")
        await first.start()
        await second.start()
        await sell(first, 10)
        await sell(second, 10)
        await sent(chain)
        first.process.kill()
        chain.stations.remove(first)
        chain.stations.append(second)
        second.proxy.mode("pass")
        await sent(chain)
        # The first one's last request may reach the centre behind the second one's first: then it sees both take turns.
        if (await chain.admin("GET", f"/stations/{first.code}"))["quarantined"]:
            await chain.central("stations", "release", first.code)
        await reckon(chain)
        second.process.kill()
        chain.stations.remove(second)
        chain.stations.append(first)


async def test_a_replaced_machine_takes_over_and_the_old_ones_sales_are_held(chain: Chain) -> None:
    """The new PC enrols with a replace code; what the old one still has goes up and waits for HQ."""
    async with chain.one_more() as old:
        old.proxy.mode("cut")
        await sell(old, 8)
        made = await chain.admin("POST", "/codes", {"station": old.code, "replace": True})
        new = await chain.machine(old.code, folder=chain.folder / "new-pc")
        target = ["--server", new.proxy.url, "--data-dir", str(new.folder)]
        await chain.agent("enroll", made["enrolment_code"], *target)
        chain.stations.append(new)
        await new.start()
        await sell(new, 8)
        old.proxy.mode("pass")
        await sent(chain)
        held = await chain.admin("GET", f"/held?station={old.code}")
        assert Counter((row["doc_id"], row["why"]) for row in held["items"]) == Counter(
            (doc_id, "retired-key") for doc_id in old.accepted
        )
        await chain.central("stations", "release", old.code)
        await reckon(chain)
        new.process.kill()
        chain.stations.remove(new)
