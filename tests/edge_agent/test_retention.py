"""What the station keeps: everything that is not safe, and what is safe for some weeks."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from edge_agent import retention as retention_module
from edge_agent.retention import Retention
from edge_agent.verify import verify
from tests.support.till import Till, open_till

DAY_S = 86_400


def _retention(till: Till) -> Retention:
    return Retention(till.journal, till.folder / "spool", till.clock, retention_days=35)


async def _make_safe(till: Till, upto: int) -> None:
    epoch = till.journal.current_epoch
    head = await till.journal.head_at(epoch, upto)
    assert head is not None
    await till.journal.record_cursor(epoch, upto, upto, head)


async def test_only_what_is_safe_and_old_goes(till: Till) -> None:
    """Two documents are old, of them one is safe; a third is safe and young."""
    retention = _retention(till)
    for _ in range(2):
        await till.sell()
    till.clock.move(36 * DAY_S)
    await till.sell()

    await retention.step()
    assert (await till.journal.epochs())[0].first == 1
    await _make_safe(till, 1)
    await retention.step()
    assert (await till.journal.epochs())[0].first == 2
    await _make_safe(till, 3)
    await retention.step()
    assert (await till.journal.epochs())[0].first == 3
    assert await verify(till.journal) == []


async def test_a_long_prefix_goes_in_slices(till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much may go, a sale never waits for all of it."""
    monkeypatch.setattr(retention_module, "PURGE_DOCUMENTS", 2)
    for _ in range(5):
        await till.sell()
    await _make_safe(till, 5)
    till.clock.move(36 * DAY_S)
    slices = []
    purge = till.journal.purge

    async def watched(epoch: bytes, upto: int) -> int:
        slices.append(upto)
        return await purge(epoch, upto)

    monkeypatch.setattr(till.journal, "purge", watched)
    await _retention(till).step()

    assert slices == [2, 4, 5]
    assert await till.journal.epochs() == []


async def test_a_clock_that_jumped_keeps_what_is_behind_a_young_document(till: Till) -> None:
    """Only an unbroken prefix of old documents goes: a document sealed in the future keeps all behind it."""
    now_ms = till.clock.now_ms()
    till.clock.set_wall(now_ms + 400 * DAY_S * 1000)
    await till.sell()
    till.clock.set_wall(now_ms)
    await till.sell()
    await _make_safe(till, 2)
    till.clock.move(100 * DAY_S)
    await _retention(till).step()
    assert (await till.journal.epochs())[0].first == 1


async def test_a_safe_head_that_is_not_ours_purges_nothing(till: Till) -> None:
    """R6: a prefix goes only if its head equals the centre's."""
    await till.sell()
    till.clock.move(36 * DAY_S)
    await till.journal.record_cursor(till.journal.current_epoch, 1, 1, b"\1" * 32)
    await _retention(till).step()
    assert (await till.journal.epochs())[0].first == 1


async def test_taken_files_go_after_the_same_time(till: Till) -> None:
    """Folders of old days are removed, younger ones and what is being taken are not."""
    taken = till.folder / "spool" / "taken"
    for name in ("2026-01-01", "2026-09-20"):
        os.makedirs(taken / name)
    (taken / "half.json").write_text("{}")
    await _retention(till).step()
    assert sorted(path.name for path in os.scandir(taken)) == ["2026-09-20", "half.json"]


async def test_damage_is_found_within_a_day_and_told_until_it_is_gone(tmp_path: Path) -> None:
    """The nightly look raises the alarm and takes it back."""
    till = await open_till(tmp_path)
    await till.sell()
    retention = _retention(till)
    outside = sqlite3.connect(tmp_path / "journal.db", isolation_level=None)
    outside.execute("CREATE TABLE kept AS SELECT payload FROM documents")
    outside.execute("UPDATE documents SET payload = x'00'")
    await retention.step()
    assert await till.journal.alarms() == {}
    till.clock.move(DAY_S)
    await retention.step()
    assert "no longer fit" in (await till.journal.alarms())["journal-damaged"]
    outside.execute("UPDATE documents SET payload = (SELECT payload FROM kept)")
    outside.close()
    till.clock.move(DAY_S)
    await retention.step()
    assert await till.journal.alarms() == {}
    await till.journal.close()
