"""The upward line against a real centre: whatever the network and the disks do, each sale is there once."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from central.centre import Centre
from central.db.tables.journal import bodies, held, journal, pending
from central.db.tables.registry import stations
from edge_agent import identity
from edge_agent.sync.client import Refused
from edge_agent.sync.drain import DrainLine
from shared.canonical import canonical
from shared.errors import ConnectionFailed
from shared.protocol import framing, wire
from shared.protocol.messages import PushReply
from tests.support.centre import open_centre
from tests.support.clock import ManualClock
from tests.support.proxy import FaultProxy
from tests.support.station import Station, sale, served


@pytest.fixture
async def centre(tmp_path: Path) -> AsyncIterator[Centre]:
    async with open_centre(f"sqlite+aiosqlite:///{tmp_path / 'central.db'}", tmp_path) as opened:
        yield opened


@pytest.fixture
async def proxy(centre: Centre) -> AsyncIterator[FaultProxy]:
    """The way from the stations to the centre."""
    async with served(centre) as url, FaultProxy(url) as between:
        yield between


@pytest.fixture
async def till(centre: Centre, proxy: FaultProxy, tmp_path: Path) -> AsyncIterator[Station]:
    """An enrolled station that runs."""
    station = Station(tmp_path / "till", proxy.url, batch_documents=4)
    await station.enroll(centre)
    await station.start()
    yield station
    await station.stop()


async def count(centre: Centre, table: Any) -> int:
    async with centre.database.read() as connection:
        return int((await connection.execute(select(func.count()).select_from(table))).scalar_one())


async def test_sales_arrive_once_and_the_backlog_is_empty(centre: Centre, till: Station) -> None:
    """More than one batch goes up in order, and the cursor says so."""
    await till.sell(10)
    await till.drain()
    assert await count(centre, bodies) == 10
    assert await till.journal.backlog() == (0, None)
    assert till.contact.offset_ms is not None


async def test_every_start_is_an_epoch_of_its_own(centre: Centre, till: Station) -> None:
    """Sales before and after a restart stand in two epochs, and both arrive."""
    await till.sell(3)
    await till.restart()
    await till.sell(2)
    await till.drain()
    assert await count(centre, bodies) == 5
    assert len(await till.journal.epochs()) == 2


FAULTS = {
    "cut": {},
    "cut_request": {"keep_bytes": 200},
    "cut_after": {"keep_bytes": 150},
    "drop_answer": {},
    "double": {},
    "html200": {},
    "login302": {},
    "status": {},
    "stale": {},
    "swap": {},
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_broken_line_neither_loses_nor_doubles(
    centre: Centre, till: Station, proxy: FaultProxy, fault: str
) -> None:
    """Requests that are cut, doubled or answered by strangers cost a repetition and nothing else."""
    await till.sell(3)
    await till.drain()
    await till.sell(9)
    proxy.mode(fault, path="/v1/journal", times=2, **FAULTS[fault])
    await till.drain_over()
    assert proxy.counters.reached[fault] == 2
    assert await count(centre, bodies) == 12
    assert await count(centre, journal) == 12
    assert await till.journal.backlog() == (0, None)


async def test_a_lost_reply_costs_nothing(
    centre: Centre, till: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The centre has it, the station was killed before the cursor: a new session tells where they are."""
    await till.sell(4)
    with monkeypatch.context() as patch:

        async def lose(*_: object) -> None:
            raise ConnectionFailed("killed before the cursor")

        patch.setattr(till.journal, "record_cursor", lose)
        with pytest.raises(ConnectionFailed):
            await till.drain()
    assert await count(centre, bodies) == 4
    await till.restart()
    await till.drain()
    assert await till.journal.backlog() == (0, None)
    assert await count(centre, journal) == 4


async def test_an_acknowledgement_of_another_chain_moves_nothing(
    till: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a head that the station itself holds moves its cursor."""
    await till.sell(2)

    async def other(*_: object) -> PushReply:
        return PushReply(acked_seq=2, acked_head="00" * 32, safe_seq=0, safe_head="00" * 32)

    monkeypatch.setattr(till.client, "push", other)
    with pytest.raises(ConnectionFailed, match="another head"):
        await till.drain()
    assert (await till.journal.backlog())[0] == 2


@pytest.mark.parametrize("name", ["session-expired", "not-authenticated"])
async def test_a_session_that_is_not_known_is_renewed_once(
    centre: Centre, till: Station, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """One 401 costs a new session; a centre that always says so is left alone for a while."""
    await till.sell(1)
    await till.drain()
    push = till.client.push
    expired = Refused({"type": f"urn:counterflow:problem:{name}"}, 401, None)
    refusals = [expired]

    async def refusing(token: str, packed: Any) -> PushReply:
        if refusals:
            raise refusals.pop()
        return await push(token, packed)

    monkeypatch.setattr(till.client, "push", refusing)
    await till.sell(1)
    await till.drain()
    assert await count(centre, bodies) == 2

    refusals[:] = [expired] * 50
    await till.sell(1)
    with pytest.raises(Refused):
        await till.drain()
    assert len(refusals) > 40


@pytest.mark.parametrize("hours", [-87_600, -1, 1, 87_600])
async def test_a_clock_that_was_set_is_measured_anew(till: Station, hours: int) -> None:
    """The next request opens a session, so that documents bear the offset of the clock that they are told by."""
    clock = till.clock
    assert isinstance(clock, ManualClock)
    await till.sell()
    await till.drain()
    before = till.contact.offset_ms
    assert before is not None
    clock.move(300)
    await till.sell()
    await till.drain()
    assert till.contact.offset_ms == before, "time that passes is no reason for a session"
    clock.set_wall(clock.now_ms() + hours * 3_600_000)
    await till.sell()
    await till.drain()
    assert till.contact.offset_ms is not None
    assert abs(before - till.contact.offset_ms - hours * 3_600_000 - 300_000) < 60_000


async def test_large_documents_go_up_in_smaller_batches(centre: Centre, till: Station) -> None:
    """Four documents that do not shrink are more than one push may hold; all arrive."""
    for _ in range(4):
        body = canonical({"kind": "sale", "payload": sale(till=os.urandom(400_000).hex())})
        await till.intake.accept(body, idempotency_key=None, source="api")
    await till.drain()
    assert await count(centre, bodies) == 4


async def test_a_refused_size_is_halved(
    centre: Centre, till: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that takes less than this station sends gets less; any server takes one document."""
    push = till.client.push
    sent: list[int] = []

    async def small(token: str, packed: Any) -> PushReply:
        documents = framing.split(wire.unpack(packed[0], packed[1].get("Content-Encoding"), 1 << 20))[0][
            "count"
        ]
        sent.append(documents)
        if documents > 1:
            raise Refused({"type": "urn:counterflow:problem:too-large"}, 413, None)
        return await push(token, packed)

    monkeypatch.setattr(till.client, "push", small)
    await till.sell(4)
    await till.drain()
    assert sent == [4, 2, 1, 1, 1, 1]
    assert await count(centre, bodies) == 4


async def test_a_restored_journal_neither_loses_nor_doubles(
    centre: Centre, till: Station, tmp_path: Path
) -> None:
    """The disk's copy of this morning comes back: what only the centre has is read back, nothing is sent twice."""
    await till.sell(5)
    await till.drain()
    await till.stop()
    shutil.copytree(till.data_dir, tmp_path / "backup")
    await till.start()
    lost = await till.sell(3)
    await till.drain()
    await till.stop()
    shutil.rmtree(till.data_dir)
    shutil.copytree(tmp_path / "backup", till.data_dir)
    await till.start()
    await till.sell(2)
    await till.drain()
    assert await count(centre, bodies) == 10
    assert await till.journal.backlog() == (0, None)
    assert (await till.journal.status_of(lost[0].doc_id)).status == "safe"


async def test_a_clone_is_found_and_nothing_of_it_is_lost(
    centre: Centre, till: Station, proxy: FaultProxy, tmp_path: Path
) -> None:
    """Two machines with one identity: the centre quarantines, both go on selling, every document is kept."""
    await till.sell(2)
    await till.drain()
    await till.stop()
    shutil.copytree(till.data_dir, tmp_path / "clone")
    clone = Station(tmp_path / "clone", proxy.url)
    await till.start()
    await clone.start()
    for machine in (till, clone, till, clone):
        await machine.sell(1)
        machine.sessions.expired(await machine.sessions.token())
        await machine.drain()
    assert clone.contact.quarantined
    assert await count(centre, bodies) == 6
    assert await count(centre, held) > 0
    async with centre.database.read() as connection:
        assert (await connection.execute(select(stations.c.quarantined))).scalar_one()
    await clone.stop()


@pytest.mark.parametrize(
    "value", ["X'7B7D'", """replace(payload, '"CASH"', '"CASK"')"""], ids=["bytes", "text"]
)
async def test_a_flipped_bit_travels_as_damaged(centre: Centre, till: Station, value: str) -> None:
    """A payload that no longer fits its hash goes up with its recorded hashes; the chain goes on."""
    accepted = await till.sell(3)
    await till.stop()
    with closing(sqlite3.connect(till.data_dir / "journal.db")) as raw:
        raw.execute(f"UPDATE documents SET payload = {value} WHERE doc_id = ?", (accepted[1].doc_id,))
        raw.commit()
    await till.start()
    await till.drain()
    assert await till.journal.backlog() == (0, None)
    async with centre.database.read() as connection:
        damaged = (
            (await connection.execute(select(bodies.c.damaged).order_by(bodies.c.doc_no))).scalars().all()
        )
    assert list(damaged) == [False, True, False]
    assert await count(centre, held) == 1


async def test_a_centre_restored_from_a_backup_gets_it_again(till: Station, tmp_path: Path) -> None:
    """The centre comes back as it was in the morning: its cursor is the truth, and the station sends the rest again."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'hq.db'}"
    station = Station(tmp_path / "other", "", batch_documents=4)
    async with open_centre(url, tmp_path) as centre, served(centre) as address:
        station.url = address
        await station.enroll(centre, "T-9")
        await station.start()
        await station.sell(3)
        await station.drain()
        with (
            closing(sqlite3.connect(tmp_path / "hq.db")) as source,
            closing(sqlite3.connect(tmp_path / "morning.db")) as copy,
        ):
            source.backup(copy)
        await station.sell(4)
        await station.drain()
        await station.stop()
    for name in ("hq.db", "hq.db-wal", "hq.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    shutil.copy(tmp_path / "morning.db", tmp_path / "hq.db")
    async with open_centre(url, tmp_path) as centre, served(centre) as address:
        station.url = address
        await station.start()
        await station.sell(1)
        await station.drain()
        assert await count(centre, bodies) == 8
        assert await station.journal.backlog() == (0, None)
        await station.stop()


async def test_another_identity_drains_the_old_journal(centre: Centre, till: Station) -> None:
    """What was not sent when the machine became another station arrives as the old one's."""
    await till.sell(3)
    await till.stop()
    await till.enroll(centre, "T-2", new_station=True)
    await till.start()
    await till.sell(1)
    await till.drain()
    (folder,) = identity.archives(till.data_dir)
    line = DrainLine(folder, till.client.route, till.clock, {})
    while await line.step() == 0:
        pass
    assert list(identity.archives(till.data_dir)) == []
    assert await count(centre, pending) + await count(centre, held) == 4
    async with centre.database.read() as connection:
        owners = (
            await connection.execute(
                select(stations.c.code, func.count())
                .join(bodies, bodies.c.station_no == stations.c.station_no)
                .group_by(stations.c.code)
            )
        ).all()
    assert sorted(map(tuple, owners)) == [("T-1", 3), ("T-2", 1)]
    assert not till.contact.quarantined


async def test_a_replaced_machine_is_held_and_its_successor_goes_on(
    centre: Centre, till: Station, proxy: FaultProxy, tmp_path: Path
) -> None:
    """A replace code retires the old key: what the old machine still sends is kept, not applied."""
    await till.sell(1)
    await till.drain()
    successor = Station(tmp_path / "new-pc", proxy.url)
    await successor.enroll(centre, replace=True)
    await successor.start()
    await successor.sell(1)
    await successor.drain()
    assert not successor.contact.quarantined
    await till.sell(1)
    await till.drain()
    assert await count(centre, bodies) == 3
    assert await count(centre, held) == 1
    await successor.stop()
