"""A journal that is missing, empty, truncated, foreign or broken: never started over silently."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from edge_agent.db.journal import Journal
from edge_agent.db.reader import JournalReader
from edge_agent.verify import verify
from shared.errors import ConfigError, NotFound
from tests.support.clock import ManualClock
from tests.support.till import Till, open_till

DOCUMENTS = 60


async def _closed_till(folder: Path, *, safe: int = 0) -> tuple[list[str], bytes]:
    """A journal of some documents, closed; their ids and the epoch."""
    till = await open_till(folder)
    ids = [(await till.sell(n + 1)).doc_id for n in range(DOCUMENTS)]
    epoch = till.journal.current_epoch
    if safe:
        head = await till.journal.head_at(epoch, safe)
        assert head is not None
        await till.journal.record_cursor(epoch, safe, safe, head)
    await till.journal.close()
    return ids, epoch


async def _kept(till: Till, ids: list[str]) -> set[str]:
    kept = set()
    for doc_id in ids:
        try:
            await till.journal.status_of(doc_id)
        except NotFound:
            continue
        kept.add(doc_id)
    return kept


async def test_a_first_start_raises_no_alarm(tmp_path: Path) -> None:
    """A station that never had a journal has lost nothing."""
    till = await open_till(tmp_path)
    assert await till.journal.alarms() == {}
    assert (tmp_path / "identity" / "journal.begun").exists()
    await till.journal.close()


async def test_a_clean_restart_raises_no_alarm(tmp_path: Path) -> None:
    """What was closed is opened as it is."""
    ids, _ = await _closed_till(tmp_path)
    till = await open_till(tmp_path)
    assert await till.journal.alarms() == {}
    assert await _kept(till, ids) == set(ids)
    await till.journal.close()


@pytest.mark.parametrize("how", ["missing", "empty"])
async def test_a_lost_journal_is_told(tmp_path: Path, how: str) -> None:
    """An identity without its journal goes on in a new epoch and raises an alarm."""
    await _closed_till(tmp_path)
    (tmp_path / "journal.db").unlink()
    if how == "empty":
        (tmp_path / "journal.db").touch()
    till = await open_till(tmp_path)

    assert f"journal.db is {how}" in (await till.journal.alarms())["journal-lost"]
    assert (await till.sell()).seq == 1
    await till.journal.close()


async def test_a_truncated_journal_is_set_aside_and_rescued(tmp_path: Path) -> None:
    """What can be read of a cut file is journaled again; the file itself is kept for people."""
    _, epoch = await _closed_till(tmp_path)
    path = tmp_path / "journal.db"
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size * 2 // 3 // 4096 * 4096)
    till = await open_till(tmp_path)

    alarm = (await till.journal.alarms())["journal-lost"]
    aside = _set_aside(tmp_path)
    assert len(aside) == 1
    assert aside[0].name in alarm
    assert till.journal.current_epoch != epoch
    assert await verify(till.journal) == []
    await till.journal.close()


async def test_every_page_of_a_journal_may_be_broken(tmp_path: Path) -> None:
    """Whatever page is overwritten, the station opens and sells, and only documents of that page are gone."""
    good = tmp_path / "good"
    os.mkdir(good)
    ids, _ = await _closed_till(good)
    lost_most = 0
    for page in range(1, _pages(good)):
        folder = tmp_path / f"page-{page}"
        shutil.copytree(good, folder)
        with (folder / "journal.db").open("r+b") as file:
            file.seek(page * 4096)
            file.write(b"\xa5" * 4096)
        till = await open_till(folder)
        await till.sell()
        lost = len(ids) - len(await _kept(till, ids))
        lost_most = max(lost_most, lost)
        if lost:
            assert "journal-lost" in await till.journal.alarms()
        assert await verify(till.journal) == []
        await till.journal.close()
        shutil.rmtree(folder)
    assert 0 < lost_most <= 8  # as many as share a page


async def test_a_broken_first_page_loses_no_document(tmp_path: Path) -> None:
    """The header and the schema are the same in every journal, so a fresh first page makes the rest readable."""
    ids, _ = await _closed_till(tmp_path)
    # The right bytes under another type are the right document.
    _break(tmp_path / "journal.db", "UPDATE documents SET payload = CAST(payload AS TEXT) WHERE doc_no = 5")
    with (tmp_path / "journal.db").open("r+b") as file:
        file.write(b"\0" * 4096)
    till = await open_till(tmp_path)

    assert "journal-lost" in await till.journal.alarms()
    assert await _kept(till, ids) == set(ids)
    assert await verify(till.journal) == []
    await till.journal.close()


async def test_rescued_documents_keep_their_bytes_and_numbers_go_on(tmp_path: Path) -> None:
    """Safe documents become history, the others are journaled again; nothing is counted twice."""
    _, epoch = await _closed_till(tmp_path, safe=10)
    before = await JournalReader.open_existing(tmp_path / "journal.db")
    sealed = {d.payload_hash: d for d in await before.read(epoch, 1, DOCUMENTS, 1 << 24)}
    await before.close()
    _break(tmp_path / "journal.db", "DROP TABLE day_totals")
    _break(tmp_path / "journal.db", "UPDATE meta SET key = 'nobody' WHERE key = 'station'")
    till = await open_till(tmp_path)

    accepted = await till.sell(9_999)
    local = await till.journal.epochs()
    again = await till.journal.read(local[0].epoch, 1, DOCUMENTS, 1 << 24)
    assert [e.last for e in local] == [DOCUMENTS - 10, 1]
    assert all(d.header == sealed[d.payload_hash].header for d in again)
    assert await till.journal.history_last(epoch) == 10
    assert accepted.number == f"T-1-{DOCUMENTS + 1}"
    totals = await till.journal.day_totals("")
    assert sum(t.amount_minor for t in totals) == sum(range(1, DOCUMENTS + 1)) + 9_999
    assert await verify(till.journal) == []
    await till.journal.close()


async def test_a_repetition_is_recognised_after_a_rescue(tmp_path: Path) -> None:
    """Keys and ids are rescued with their documents."""
    till = await open_till(tmp_path)
    first, _ = await till.intake.accept(
        b'{"kind":"cash_in","payload":{"currency":"EUR","amount_minor":1,"reason":"R"}}',
        idempotency_key="k",
        source="api",
    )
    await till.journal.close()
    _break(tmp_path / "journal.db", "UPDATE meta SET key = 'nobody' WHERE key = 'station'")
    till = await open_till(tmp_path)
    second, repeated = await till.intake.accept(
        b'{"kind":"cash_in","payload":{"currency":"EUR","amount_minor":1,"reason":"R"}}',
        idempotency_key="k",
        source="api",
    )
    assert repeated
    assert (second.doc_id, second.number) == (first.doc_id, first.number)
    await till.journal.close()


async def test_the_journal_of_another_station_is_refused_untouched(tmp_path: Path) -> None:
    """Documents are journaled only under the station that made them."""
    await _closed_till(tmp_path)
    before = (tmp_path / "journal.db").read_bytes()
    with pytest.raises(ConfigError, match="T-1"):
        await Journal.open(tmp_path / "journal.db", station="T-2", clock=ManualClock())
    assert (tmp_path / "journal.db").read_bytes() == before


async def test_the_journal_of_a_newer_agent_is_refused_untouched(tmp_path: Path) -> None:
    """An older agent must not guess at a schema that it does not know."""
    await _closed_till(tmp_path)
    _break(tmp_path / "journal.db", "PRAGMA user_version = 99")
    with pytest.raises(ConfigError, match="newer"):
        await open_till(tmp_path)
    assert _set_aside(tmp_path) == []


async def test_a_reader_sees_the_journal_while_it_is_written(tmp_path: Path) -> None:
    """`verify` and `export` run beside the agent and change nothing."""
    till = await open_till(tmp_path)
    await till.sell()
    reader = await JournalReader.open_existing(tmp_path / "journal.db")
    assert reader.station == "T-1"
    await till.sell()
    assert (await reader.epochs())[0].last == 2
    assert await verify(reader) == []
    await reader.close()
    await till.journal.close()
    with pytest.raises(NotFound):
        await JournalReader.open_existing(tmp_path / "nowhere.db")


def _pages(folder: Path) -> int:
    return (folder / "journal.db").stat().st_size // 4096


def _set_aside(folder: Path) -> list[Path]:
    return list(folder.glob("journal.damaged-*.db"))


def _break(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(statement)
    connection.close()
