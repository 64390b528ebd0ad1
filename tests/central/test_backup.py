"""Backups: proven before anything counts as safe; and what comes after a restore."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from central.backup import MARGIN_MS, backup_sqlite, covered_by
from central.centre import Centre
from central.config import Config
from central.db.database import Database
from central.db.tables import journal as journal_tables
from central.db.tables.catalog import scopes
from central.db.tables.journal import bodies
from central.restore import after_restore
from central.verify import verify
from shared.catalog.changes import Change
from shared.errors import BadInput, DamagedData, NotAuthenticated
from tests.support.centre import open_centre
from tests.support.hq import push, sell
from tests.support.yardstick_sales import documents


def sqlite_url(path: Path) -> str:
    return f"sqlite+aiosqlite:///{path}"


async def safe_points(database: Database) -> dict[int, tuple[int, int]]:
    """Per epoch (last, safe)."""
    async with database.read() as connection:
        rows = await connection.execute(
            select(
                journal_tables.epochs.c.epoch_no,
                journal_tables.epochs.c.last,
                journal_tables.epochs.c.safe_seq,
            )
        )
        return {row.epoch_no: (row.last, row.safe_seq) for row in rows}


async def test_what_a_proven_copy_holds_becomes_safe(tmp_path: Path) -> None:
    """What came in after the copy does not."""
    async with open_centre(sqlite_url(tmp_path / "central.db"), tmp_path) as centre:
        station = await sell(centre, "T-1", 5)
        made, report = await backup_sqlite(
            centre.database, tmp_path / "central.db", tmp_path / "b" / "one.db"
        )
        assert (made.positions, made.epochs_made_safe, report.ok) == (5, 1, True)
        await push(centre, station, list(documents(2, "T-1", start=50)))
        assert await safe_points(centre.database) == {1: (7, 5)}
        assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["one.db"]
        assert (await verify(centre.database)).ok
    copy = Database(sqlite_url(tmp_path / "b" / "one.db"))
    assert (await verify(copy)).checked["documents"] == 5
    await copy.close()


async def test_a_backup_is_never_overwritten(tmp_path: Path) -> None:
    """The older one may be the only good one."""
    async with open_centre(sqlite_url(tmp_path / "central.db"), tmp_path) as centre:
        (tmp_path / "one.db").write_text("precious")
        with pytest.raises(BadInput, match="exists already"):
            await backup_sqlite(centre.database, tmp_path / "central.db", tmp_path / "one.db")
        assert (tmp_path / "one.db").read_text() == "precious"


async def test_a_copy_that_does_not_pass_makes_nothing_safe(tmp_path: Path) -> None:
    """A station must not delete what only a broken copy has."""
    async with open_centre(sqlite_url(tmp_path / "central.db"), tmp_path) as centre:
        await sell(centre, "T-1", 5)
        async with centre.database.write() as connection:
            await connection.execute(update(bodies).where(bodies.c.doc_no == 3).values(payload=b"{}"))
        with pytest.raises(DamagedData, match="does not pass"):
            await backup_sqlite(centre.database, tmp_path / "central.db", tmp_path / "one.db")
        assert await safe_points(centre.database) == {1: (5, 0)}
        assert not (tmp_path / "one.db").exists()
        assert (tmp_path / "one.db.damaged").exists()


async def test_a_copy_with_a_broken_page_makes_nothing_safe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that returns other bytes than were written is found when the copy is read back."""
    import central.backup as module

    copy = module._copy

    def copy_badly(source: Path, target: Path) -> None:
        copy(source, target)
        with open(target, "r+b") as file:
            file.seek(4096 * 6)
            file.write(b"\xff" * 4096)

    monkeypatch.setattr(module, "_copy", copy_badly)
    async with open_centre(sqlite_url(tmp_path / "central.db"), tmp_path) as centre:
        await sell(centre, "T-1", 50)
        with pytest.raises(DamagedData):
            await backup_sqlite(centre.database, tmp_path / "central.db", tmp_path / "one.db")
        assert await safe_points(centre.database) == {1: (50, 0)}


async def test_a_backup_made_by_others_covers_what_was_there_before_it(
    database_url: str, tmp_path: Path
) -> None:
    """A margin is taken off for clocks and transactions under way, and a time in the future is refused."""
    async with open_centre(database_url, tmp_path) as centre:
        station = await sell(centre, "T-1", 5)
        await push(centre, station, list(documents(2, "T-1", start=50)))
        async with centre.database.write() as connection:
            now_ms = await centre.database.now_ms(connection)
            old = bodies.c.doc_no <= 5
            await connection.execute(
                update(bodies).where(old).values(received_ms=now_ms - MARGIN_MS - 10_000)
            )
        covered = await covered_by(centre.database, now_ms - 5_000)
        assert covered.epochs_made_safe == 1
        assert list((await safe_points(centre.database)).values()) == [(7, 5)]
        with pytest.raises(BadInput, match="future"):
            await covered_by(centre.database, now_ms + 3_600_000)


async def test_after_a_restore_nobody_goes_on_as_before(database_url: str, tmp_path: Path) -> None:
    """Old tokens are worth nothing, every scope is a new generation, leases are given up; twice does no harm."""
    async with open_centre(database_url, tmp_path) as centre:
        station = await sell(centre, "T-1", 3)
        await centre.publisher.publish({"base": [Change("product", "A", b'{"code":"A","name":"A"}')]})
        gens = await read(centre.database, select(scopes.c.gen))
        restored = await after_restore(centre.database)
        assert (restored.scopes, restored.stations) == (1, 1)
        assert restored.newest_document_ms is not None
        assert await read(centre.database, select(scopes.c.gen)) != gens
        await after_restore(centre.database)
        assert (await verify(centre.database)).ok
    again = await Centre.open(Config(database_url=database_url, data_dir=tmp_path))
    try:
        with pytest.raises(NotAuthenticated):
            await again.sessions.authenticate(station.token)
        await station.sign_in(again)
        await push(again, station, list(documents(1, "T-1", start=70)))
    finally:
        await again.close()


async def test_an_older_backup_is_filled_up_by_the_stations(tmp_path: Path) -> None:
    """R1: the restored centre says how far it is, and the station goes on from there."""
    live, backup = tmp_path / "central.db", tmp_path / "one.db"
    async with open_centre(sqlite_url(live), tmp_path) as centre:
        station = await sell(centre, "T-1", 3)
        await backup_sqlite(centre.database, live, backup)
        head, last = station.head, station.last
        await push(centre, station, list(documents(2, "T-1", start=3)))
    put_back(backup, live)
    database = Database(sqlite_url(live))
    await after_restore(database)
    await database.close()
    async with open_centre(sqlite_url(live), tmp_path) as centre:
        claim = [{"epoch": station.epoch.hex(), "last": station.last, "head": station.head.hex()}]
        answer = await station.sign_in(centre, epochs=claim)
        assert (answer.epochs[0].last, answer.epochs[0].head) == (last, head.hex())
        station.head, station.last = head, last
        await push(centre, station, list(documents(2, "T-1", start=3)))
        await centre.applier.drain()
        assert (await verify(centre.database)).checked["applied"] == 5


async def read(database: Database, statement: Any) -> list[Any]:
    async with database.read() as connection:
        return list((await connection.execute(statement)).scalars())


def put_back(backup: Path, live: Path) -> None:
    """Restore: the backup takes the live file's place."""
    for leftover in live.parent.glob(live.name + "*"):
        leftover.unlink()
    backup.rename(live)
