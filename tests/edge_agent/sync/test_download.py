"""The downward line against a small real server: loads, changes, lost files, lies and broken lines."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edge_agent.db import catalog_read as read
from edge_agent.db.catalog import Catalog
from edge_agent.sync.client import CentreClient, Route
from edge_agent.sync.download import DownloadLine
from shared.errors import ConnectionFailed
from tests.support.catalog_builder import CatalogServer, OneSession, ScopeLog, drop, product
from tests.support.clock import ManualClock


@dataclass
class Till:
    """A station's downward line and the centre that it talks to."""

    server: CatalogServer
    catalog: Catalog
    client: CentreClient
    folder: Path
    clock: ManualClock = field(default_factory=ManualClock)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    changes: int = 0
    pokes: int = 0
    line: DownloadLine = field(init=False)

    def __post_init__(self) -> None:
        self.line = self.begin()

    def begin(self) -> DownloadLine:
        def changed() -> None:
            self.changes += 1

        def poked() -> None:
            self.pokes += 1

        return DownloadLine(
            self.catalog,
            self.client,
            OneSession(),
            self.folder / "snapshots",
            clock=self.clock,
            wake=self.wake,
            changed=changed,
            poked=poked,
        )

    async def settle(self) -> None:
        """Look, and step until the line waits at the centre."""
        self.wake.set()  # ends a wait that is the next thing to do
        await self.line.step()
        self.wake.clear()
        while True:
            step = await self.waiting_step()
            if not step.done():
                step.cancel()
                await asyncio.gather(step, return_exceptions=True)
                return
            step.result()

    async def waiting_step(self) -> asyncio.Future[float]:
        """A step that is done, or that waits at the centre."""
        self.server.waiting.clear()
        waits = asyncio.ensure_future(self.server.waiting.wait())
        step = asyncio.ensure_future(self.line.step())
        await asyncio.wait([step, waits], return_when=asyncio.FIRST_COMPLETED)
        waits.cancel()
        return step

    async def fits(self) -> bool:
        """Whether every scope is what the centre has."""
        have = {
            scope: (local.gen, local.seq, local.digest)
            for scope, local in (await self.catalog.scopes()).items()
        }
        return have == {log.scope: (log.gen, log.head, log.digest.hex) for log in self.server.logs}

    async def keys(self) -> list[str]:
        return [row.key for row in await self.catalog.read(read.list_entity, "product", "", 1_000)]

    def asked_for(self, what: str) -> int:
        return sum(what in path for path in self.server.asked)


@pytest.fixture
async def till(tmp_path: Path) -> AsyncIterator[Till]:
    (tmp_path / "centre").mkdir()
    base, group = ScopeLog("base"), ScopeLog("group/G")
    base.publish([product(f"A{i:02d}", barcodes=[f"{i:08d}"]) for i in range(10)])
    async with CatalogServer(tmp_path / "centre", group, base, rows_max=3).serving() as server:
        catalog = await Catalog.open(tmp_path / "catalog.db")
        client = CentreClient(Route(server.url))
        yield Till(server, catalog, client, tmp_path)
        await client.close()
        await catalog.close()


async def test_first_load_by_pages_and_then_changes(till: Till) -> None:
    """All that the manifest names is there, then every change, and each tells the report."""
    await till.settle()
    assert await till.fits()
    assert len(await till.keys()) == 10
    changes = till.changes
    till.server.logs[1].publish([product("A99"), drop("product", "A00")])
    till.server.logs[0].publish([product("A01", "Special")])
    await till.settle()
    assert await till.fits()
    assert till.changes > changes
    assert till.line.settled == {"ee" * 16: 7}


async def test_first_load_by_snapshot_and_the_rest_by_changes(till: Till) -> None:
    """A station with nothing takes the file, then what came after it; the file is not kept."""
    base = till.server.logs[1]
    till.server.build_snapshot(base)
    base.publish([product("A99"), drop("product", "A05")])
    await till.settle()
    assert await till.fits()
    assert till.asked_for("/v1/snapshots/") == 1
    assert list((till.folder / "snapshots").iterdir()) == []


async def test_cut_line_goes_on_where_it_was(till: Till) -> None:
    """Pages that arrived are not asked for again, and till then the old state is what a till sees."""
    till.server.pages_left = 2
    with pytest.raises(ConnectionFailed):
        await till.settle()
    assert await till.keys() == []
    till.server.pages_left = None
    till.server.asked.clear()
    await till.settle()
    assert await till.fits()
    assert till.asked_for("/base/") == 2


async def test_scope_that_the_manifest_no_longer_names_is_dropped(till: Till) -> None:
    """A station that left a group keeps nothing of it."""
    till.server.logs[0].publish([product("G1")])
    await till.settle()
    assert "G1" in await till.keys()
    del till.server.logs[0]
    await till.settle()
    assert await till.fits()
    assert "G1" not in await till.keys()


async def test_new_generation_replaces_all_rows(till: Till) -> None:
    """After a restore of the centre a scope is taken anew: what it no longer has is gone."""
    await till.settle()
    restored = ScopeLog("base", gen="bb" * 16)
    restored.publish([product("A01")])
    till.server.logs[1] = restored
    await till.settle()
    assert await till.fits()
    assert await till.keys() == ["A01"]


async def test_purged_cursor_is_answered_by_a_whole_load(till: Till) -> None:
    """A till that was away too long gets 410, and then the snapshot; no deleted row comes back."""
    base = till.server.logs[1]
    await till.settle()
    base.publish([product(f"B{i:02d}") for i in range(10)])
    base.publish([drop("product", "A03")])
    base.rows.pop(("product", "A03"))
    base.floor = base.head
    till.server.build_snapshot(base)
    base.publish([product("A98")])
    await till.settle()
    assert await till.fits()
    assert till.asked_for("/v1/snapshots/") == 1


async def test_catalog_deleted_at_rest_is_fetched_again(till: Till) -> None:
    """The file is gone while the line waits: it is noticed, and all is fetched again."""
    await till.settle()
    waiting = await till.waiting_step()
    till.catalog.path.unlink()
    till.clock.move(3)
    assert await waiting == 0
    await till.settle()
    assert await till.fits()
    assert len(await till.keys()) == 10


async def test_catalog_of_an_older_agent_is_thrown_away_and_fetched_again(till: Till) -> None:
    """Its tables are not this agent's: nothing of it is read, and a moment later all is there again."""
    await till.settle()
    await till.catalog.close()
    older = sqlite3.connect(till.catalog.path)
    older.executescript("DROP TABLE builds; DROP TABLE leftovers; PRAGMA user_version = 1")
    older.close()
    till.catalog = await Catalog.open(till.catalog.path)
    assert await till.keys() == []
    till.line = till.begin()
    await till.settle()
    assert await till.fits()
    assert len(await till.keys()) == 10


async def test_page_that_does_not_fit_is_answered_by_a_whole_load(till: Till) -> None:
    """Rows that do not lead to the centre's digest are not applied; the scope is loaded whole."""
    base = till.server.logs[1]
    await till.settle()
    base.publish([product("A01", "Cake")])
    till.server.damage = lambda lines: [line.replace(b"Cake", b"Fake") for line in lines]
    till.wake.set()
    for _ in range(2):  # the wait that is woken, then the look and the page
        await till.line.step()
    till.wake.clear()
    assert not await till.fits()
    till.server.damage = lambda lines: lines
    till.server._packed.clear()
    await till.settle()
    assert await till.fits()
    assert till.line.alarms() == []


async def test_digest_that_never_fits_keeps_the_last_good_state_and_raises_an_alarm(till: Till) -> None:
    """Loaded whole and it differs still: the till keeps what it had, HQ is told, other scopes go on."""
    group, base = till.server.logs
    await till.settle()
    before = await till.keys()
    base.publish([product("A50")])
    till.server.lies["base"] = "99" * 16
    group.publish([product("G1")])
    await till.settle()
    assert await till.keys() == sorted([*before, "G1"])
    assert [alarm.split(":")[0] for alarm in till.line.alarms()] == ["catalog-differs"]
    # The centre is put right, and publishes again: the alarm goes by itself.
    till.server.lies.clear()
    till.server._packed.clear()
    base.publish([product("A51")])
    await till.settle()
    assert await till.fits()
    assert till.line.alarms() == []


async def test_a_digest_that_goes_on_differing_is_logged_once_and_then_seldom(
    till: Till, caplog: pytest.LogCaptureFixture
) -> None:
    """However often the till looks, a fault that nobody mends does not fill the disk with lines."""
    await till.settle()
    till.server.logs[1].publish([product("A50")])
    till.server.lies["base"] = "99" * 16
    await till.settle()

    async def look_again() -> int:
        caplog.clear()
        for _ in range(5):
            await till.line._perform()
        return [record.message for record in caplog.records].count("catalog_differs")

    assert await look_again() == 0
    till.clock.move(60)
    assert await look_again() == 1
    till.clock.move(60)
    assert await look_again() == 0
    till.clock.move(60)
    assert await look_again() == 1


async def test_row_changed_by_hand_is_put_right(till: Till) -> None:
    """Whoever edits catalog.db is found out by the next count, and that scope comes anew."""
    await till.settle()
    by_hand = sqlite3.connect(till.catalog.path)
    by_hand.execute(
        'UPDATE rows SET payload = CAST(\'{"code":"A01","name":"Free"}\' AS BLOB) WHERE key = \'A01\''
    )
    by_hand.commit()
    by_hand.close()
    till.clock.move(25 * 3600)
    await till.settle()
    rows = await till.catalog.read(read.rows_by_key, "product", "A01")
    assert rows[0].payload["name"] == "Product A01"
    assert await till.fits()


async def test_wake_ends_the_wait_and_pokes_are_passed_on(till: Till) -> None:
    """ "Sync now" at the till ends the wait at once; HQ's is heard and counted."""
    await till.settle()
    waiting = await till.waiting_step()
    till.wake.set()
    assert await waiting == 0
    till.wake.clear()
    till.server.poke = 3
    await till.settle()
    assert (till.pokes, till.line.poke) == (1, 3)


async def test_news_at_the_centre_end_the_wait(till: Till) -> None:
    """A publication wakes the waiting station."""
    await till.settle()
    waiting = await till.waiting_step()
    till.server.logs[1].publish([product("A77")])
    await till.server.moved()
    assert await waiting == 0
    await till.settle()
    assert await till.fits()
