"""Snapshots: built once by one node, named by their bytes, and deletions are purged only behind the oldest on offer."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from central.catalog.changes import Pages
from central.catalog.publish import Publisher
from central.catalog.snapshots import GRACE_MS, SETTLE_S, Snapshots, may_change, wants_snapshot
from central.db import leases, station_scopes
from central.db import snapshots as db
from central.db.catalog import ScopeState, find_scope
from central.db.database import Database
from central.verify import verify
from shared.canonical import canonical
from shared.catalog.changes import Change
from shared.errors import Gone
from tests.support.catalog import Shelf, gone, open_database, product, unpacked
from tests.support.clock import ManualClock


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with open_database(database_url) as opened:
        yield opened


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def node(database: Database, clock: ManualClock, folder: Path, name: str = "node-1") -> Snapshots:
    return Snapshots(database, clock, folder / name, name)


async def state_of(database: Database, scope: str = "base") -> ScopeState:
    async with database.read() as connection:
        state = await find_scope(connection, scope)
    assert state is not None
    return state


async def offered(database: Database, scope: str = "base") -> station_scopes.Offered | None:
    async with database.read() as connection:
        return (await station_scopes.scope_offers(database, connection, [scope]))[scope][1]


def many(count: int, name: str = "thing") -> list[Change]:
    return [product(f"P{n:05}", name) for n in range(count)]


def test_a_scope_is_built_when_it_is_large_or_a_tenth_of_it_changed() -> None:
    """Up to a thousand rows changes suffice; above it a tenth may move before it is built anew."""
    assert not wants_snapshot(1_000, 1_000)
    assert wants_snapshot(1_001, 1_001)
    assert may_change(100_000) == 10_000
    assert not wants_snapshot(100_000, 10_000)
    assert wants_snapshot(100_000, 10_001)


async def test_a_snapshot_is_built_once_and_again_after_enough_changes(
    database: Database, clock: ManualClock, tmp_path: Path
) -> None:
    """Small scopes have none; a large one has one; a few changes leave it, many renew it."""
    publisher, snapshots = Publisher(database), node(database, clock, tmp_path)
    await publisher.publish({"store/S1": many(10), "base": many(1_500)})
    assert await snapshots.build_wanted() == ["base"]
    assert await snapshots.build_wanted() == []
    first = await offered(database)
    assert first is not None
    assert first.seq == 1_500
    await publisher.publish({"base": many(500, "new")})
    assert await snapshots.build_wanted() == []
    await publisher.publish({"base": many(1_100, "newer")})
    assert await snapshots.build_wanted() == ["base"]
    second = await offered(database)
    assert second is not None
    assert second.seq == 3_100


async def test_a_list_that_is_published_in_parts_is_one_snapshot(
    database: Database, clock: ManualClock, tmp_path: Path
) -> None:
    """While parts keep coming nothing is built; when they have stopped for a while, one of all of them is."""
    publisher, snapshots = Publisher(database), node(database, clock, tmp_path)
    running = asyncio.create_task(snapshots.run())
    await asyncio.sleep(0.2)  # there is nothing yet, and it waits
    for part in range(5):
        await publisher.publish({"base": many(1_500, f"part{part}")})
        snapshots.published(["base"])
        clock.move(SETTLE_S * 0.9)
        await asyncio.sleep(0.05)
        assert await offered(database) is None
    async with asyncio.timeout(20):
        while (built := await offered(database)) is None:
            clock.move(SETTLE_S)
            await asyncio.sleep(0.05)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert built.seq == 5 * 1_500


async def test_the_file_holds_the_rows_and_what_tills_look_up_by(
    database: Database, clock: ManualClock, tmp_path: Path
) -> None:
    """Rows in key order, barcodes in barcode order without doubles, prices by product; deleted rows are absent."""
    price = {
        "price_list": "L",
        "product": "B",
        "amount_minor": 100,
        "currency": "EUR",
        "valid_from": "2026-01-01T00:00:00Z",
    }
    await Publisher(database).publish(
        {
            "base": [
                product(
                    "B",
                    barcodes=["2", "1", "2"],
                    packs=[{"code": "box", "quantity": "6", "barcodes": ["1", "9"]}],
                ),
                product("a", measured="77", variants=[{"code": "red", "barcodes": ["5"]}]),
                product("Z"),
                Change("price", "L|B|||", canonical(price)),
                Change("price", "L|A|||", canonical(price | {"product": "A", "valid_from": None})),
            ]
        }
    )
    await Publisher(database).publish({"base": [gone("Z")]})
    stored = await node(database, clock, tmp_path).build("base")
    assert stored is not None
    _, path = await node(database, clock, tmp_path).file(stored.sha256)
    assert hashlib.sha256(path.read_bytes()).digest() == stored.sha256
    state = await state_of(database)
    file = sqlite3.connect(path)
    assert file.execute("SELECT * FROM about").fetchone() == ("base", state.gen.hex(), 6, 4, state.digest.hex)
    rows = file.execute("SELECT entity, key FROM rows ORDER BY rowid").fetchall()
    assert rows == [("price", "L|A|||"), ("price", "L|B|||"), ("product", "B"), ("product", "a")]
    assert file.execute("SELECT key, code, name, measured FROM products ORDER BY rowid").fetchall() == [
        ("B", "B", "thing", None),
        ("a", "a", "thing", "77"),
    ]
    assert file.execute("SELECT barcode, product, variant, pack FROM barcodes ORDER BY rowid").fetchall() == [
        ("1", "B", None, None),
        ("2", "B", None, None),
        ("5", "a", "red", None),
        ("9", "B", None, "box"),
    ]
    assert file.execute("SELECT product, valid_from FROM prices ORDER BY rowid").fetchall() == [
        ("A", None),
        ("B", 1_767_225_600_000),
    ]
    file.close()


async def test_another_node_serves_it_from_the_database(
    database: Database, clock: ManualClock, tmp_path: Path
) -> None:
    """A node that did not build it brings it to its own disk, and the bytes are the same."""
    await Publisher(database).publish({"base": many(20_000)})
    stored = await node(database, clock, tmp_path).build("base")
    assert stored is not None
    assert stored.bytes > 1 << 20  # more than one part
    scope, path = await node(database, clock, tmp_path, "node-2").file(stored.sha256)
    assert scope == "base"
    assert path.parent.name == "node-2"
    assert hashlib.sha256(path.read_bytes()).digest() == stored.sha256


async def test_only_the_holder_of_the_lease_builds(
    database: Database, clock: ManualClock, tmp_path: Path
) -> None:
    """While one node builds, the others leave the scope to it."""
    await Publisher(database).publish({"base": many(1_500)})
    assert await leases.take(database, "snapshot/base", "node-2", 60)
    assert await node(database, clock, tmp_path).build_wanted() == []
    await leases.release(database, "snapshot/base", "node-2")
    assert await node(database, clock, tmp_path).build_wanted() == ["base"]


async def test_an_unfinished_snapshot_is_never_offered(
    database: Database, clock: ManualClock, tmp_path: Path
) -> None:
    """A node that died while it stored the parts leaves nothing that a station could be sent to."""
    await Publisher(database).publish({"base": many(1_500)})
    state = await state_of(database)
    half = db.Stored(b"x" * 32, state.scope_no, state.gen, state.head, 10, 0)
    await database.run(lambda connection: db.begin_store(connection, half))
    assert await offered(database) is None
    assert (await verify(database)).findings == []  # nor is it a finding: its parts are still coming
    with pytest.raises(Gone):
        await node(database, clock, tmp_path).file(half.sha256)
    snapshots = node(database, clock, tmp_path)
    assert await snapshots.build_wanted() == ["base"]
    clock.move(GRACE_MS / 1000 + 1)
    await snapshots.tidy()
    async with database.read() as connection:
        assert [one.sha256 for one in await db.all_stored(connection)] != []
        assert half.sha256 not in [one.sha256 for one in await db.all_stored(connection)]


async def test_a_replaced_snapshot_goes_after_its_grace_and_deletions_behind_it(
    database: Database, clock: ManualClock, tmp_path: Path
) -> None:
    """Tombstones up to the oldest snapshot on offer are purged, an older cursor is 410, and no row comes back."""
    publisher, snapshots, pages = Publisher(database), node(database, clock, tmp_path), Pages(database)
    await publisher.publish({"base": many(1_500)})
    await snapshots.build_wanted()
    first = await offered(database)
    await publisher.publish({"base": [gone("P00001"), *many(0)]})
    await publisher.publish({"base": [product(f"P{n:05}", "new") for n in range(100, 1_400)]})
    await snapshots.build_wanted()
    await publisher.publish({"base": [gone("P00002")]})
    await snapshots.tidy()
    assert first is not None
    assert (await snapshots.file(first.sha256))[0] == "base"  # still there: somebody may be fetching it
    clock.move(GRACE_MS / 1000 + 1)
    await snapshots.tidy()
    with pytest.raises(Gone):
        await snapshots.file(first.sha256)
    assert len(list((tmp_path / "node-1").glob("*.db"))) == 1
    state = await state_of(database)
    second = await offered(database)
    assert second is not None
    assert state.floor == second.seq
    with pytest.raises(Gone):
        await pages.page(state, "base", state.gen.hex(), 1_400)
    coming, fresh = Shelf(), Shelf()
    coming.load((await snapshots.file(second.sha256))[1])
    for shelf in (coming, fresh):
        done = False
        while not done:
            done = shelf.apply(
                unpacked(*(await pages.page(state, "base", state.gen.hex(), shelf.seq)).packed)
            )
    assert coming.rows == fresh.rows
    assert ("product", "P00001") not in coming.rows
    assert ("product", "P00002") not in coming.rows
    assert coming.digest == coming.told == (1_498, state.digest.hex)


async def test_a_new_generation_gets_a_snapshot_of_its_own(
    database: Database, clock: ManualClock, tmp_path: Path
) -> None:
    """After a restore the old file is not offered, whatever is in it."""
    publisher, snapshots = Publisher(database), node(database, clock, tmp_path)
    await publisher.publish({"base": many(1_500)})
    await snapshots.build_wanted()
    await publisher.new_gens()
    assert await offered(database) is None
    assert await snapshots.build_wanted() == ["base"]
    assert await offered(database) is not None
