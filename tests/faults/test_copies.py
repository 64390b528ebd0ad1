"""Machines that should be one and are two, and a centre that has forgotten: nobody's sales are lost."""

from __future__ import annotations

import json
import shutil
from collections import Counter

from tests.faults.seller import Seller, reckon
from tests.support.chain import Chain, Station, run_command
from tests.support.processes import Process, free_port, python


def copied(chain: Chain, station: Station, name: str) -> Station:
    """A second machine with the same disk."""
    folder, port = chain.folder / name, free_port()
    shutil.copytree(station.folder, folder, ignore=shutil.ignore_patterns("lock", "port"))
    argv = python("-m", "edge_agent.cli", "run", "--data-dir", str(folder), "--port", str(port))
    process = Process(name, argv, chain.folder, env=chain.agent_env)
    clone = Station(station.code, folder, port, station.proxy, process, station.http)
    chain.stations.append(clone)
    return clone


async def test_a_cloned_till_is_found_and_both_branches_are_kept(chain: Chain) -> None:
    """Two machines sell under one identity: quarantine, both branches held; after the release both are applied."""
    first = chain.stations[0]
    async with Seller(first) as seller:
        await seller.reached(10)
    await chain.until("the backlog is sent", chain.backlog_is_empty)
    first.process.kill()
    second = copied(chain, first, "clone")
    await first.start()
    await second.start()

    async def quarantined() -> bool:
        return (await chain.admin("GET", f"/stations/{first.code}"))["quarantined"]

    async with Seller(first) as one, Seller(second) as two:
        # Sessions last ten minutes; a start opens a new one, as two machines in a shop do every morning.
        for machine in (first, second, first):
            await machine.restart_after_kill()
            await one.reached(len(one.accepted) + 5)
            await two.reached(len(two.accepted) + 5)
            await machine.sync()
        await chain.until("the copy is found", quarantined)
    await chain.until("both backlogs are sent", chain.backlog_is_empty)
    held = await chain.admin("GET", f"/held?station={first.code}")
    assert held["items"], "a quarantined station's documents are held"

    code = (await chain.admin("POST", "/stations", {"code": "S1-T9", "store": "S1"}))["enrolment_code"]
    second.process.kill()
    target = ["--server", second.proxy.url, "--new-station", "--data-dir", str(second.folder)]
    await run_command("edge_agent.cli", "enroll", code, *target, env=chain.agent_env)
    await second.start()
    await chain.central("stations", "release", first.code)
    assert not await quarantined()
    async with Seller(second) as three:
        await three.reached(5)
    await reckon(chain, seller, one, two, three)


async def test_a_replaced_machine_takes_over_and_the_old_ones_sales_are_held(chain: Chain) -> None:
    """The new PC enrols with a replace code; what the old one still has goes up and waits for HQ."""
    old = chain.stations[0]
    old.proxy.mode("cut")
    async with Seller(old) as before:
        await before.reached(8)
    code = (await chain.admin("POST", "/codes", {"station": old.code, "replace": True}))["enrolment_code"]
    folder, port = chain.folder / "new-pc", free_port()
    data = ["--data-dir", str(folder)]
    await run_command("edge_agent.cli", "enroll", code, "--server", chain.url, *data, env=chain.agent_env)
    process = Process(
        "new-pc",
        python("-m", "edge_agent.cli", "run", *data, "--port", str(port)),
        chain.folder,
        env=chain.agent_env,
    )
    new = Station(old.code, folder, port, old.proxy, process, old.http)
    chain.stations.append(new)
    await new.start()
    async with Seller(new) as after:
        await after.reached(8)
    old.proxy.mode("pass")
    await chain.until("both backlogs are sent", chain.backlog_is_empty)
    held = await chain.admin("GET", f"/held?station={old.code}")
    assert Counter(row["why"] for row in held["items"]) == {"retired-key": len(before.accepted)}
    await chain.central("stations", "release", old.code)
    await reckon(chain, before, after)


async def test_a_centre_restored_from_an_older_backup_gets_everything_again(chain: Chain) -> None:
    """The centre's disk is lost: backup back, `after-restore`, and the stations send what it does not have."""
    station, node = chain.stations[0], chain.nodes[0]
    backup = chain.folder / "backup.db"
    async with Seller(station) as seller:
        await seller.reached(20)
        await chain.until("some are delivered", _delivered_some(chain))
        await chain.central("backup", str(backup))
        await seller.reached(60)
        await chain.until("some are delivered", _delivered_some(chain, 40))
        node.kill()
        database = chain.folder / "centre" / "central.db"
        for file in database.parent.glob("central.db*"):
            file.unlink()
        shutil.copy(backup, database)
        await chain.central("after-restore", "--yes")
        node.start()
        await node.wait_until_healthy(chain.url)
        await seller.reached(len(seller.accepted) + 10)
    await reckon(chain, seller)


def _delivered_some(chain: Chain, count: int = 5):  # type: ignore[no-untyped-def]
    async def reached() -> bool:
        return len(chain.delivered()) >= count

    return reached


async def test_verify_prints_what_it_checked(chain: Chain) -> None:
    """`verify --json` names its checks, so that "clean" means something."""
    async with Seller(chain.stations[0]) as seller:
        await seller.reached(3)
    await reckon(chain, seller)
    report = json.loads(await chain.central("verify", "--json"))
    assert report["checked"]
