"""The journal: sealed, numbered, durable, and never doubled."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest

from edge_agent.db import journal as journal_module
from edge_agent.verify import verify
from shared.errors import BadInput, CannotStore, Conflict, NotFound, Unavailable
from shared.ids import reference
from shared.journal import genesis, heads
from shared.protocol.messages import DayTotal
from tests.support.till import Till, open_till, submission

DOC_ID = "0198b0a0-0000-7000-8000-0000000000aa"


async def test_documents_stand_in_a_chain_from_the_genesis_of_their_epoch(till: Till) -> None:
    """Positions count from 1 without a hole, and each head follows from the bytes that are stored."""
    answers = [await till.sell(n) for n in (100, 200, 300)]

    epoch = till.journal.current_epoch
    stored = await till.journal.read(epoch, 1, 3, 1 << 20)
    assert [(a.epoch, a.seq) for a in answers] == [(epoch.hex(), n) for n in (1, 2, 3)]
    assert [d.head for d in stored] == heads(
        genesis("T-1", epoch), 1, [(d.header_hash, d.payload_hash) for d in stored]
    )
    assert not any(d.damaged for d in stored)
    assert await verify(till.journal) == []


async def test_callers_that_come_together_share_commits_and_keep_their_order(till: Till) -> None:
    """A hundred sales at once are a hundred documents in a few transactions, each caller with its own answer."""
    accepted = await asyncio.gather(*(till.sell(n + 1) for n in range(100)))

    assert [a.seq for a in accepted] == list(range(1, 101))
    assert len({a.doc_id for a in accepted}) == 100
    assert len({a.number for a in accepted}) == 100
    assert await verify(till.journal) == []


async def test_a_repeated_key_brings_the_first_answer_and_stores_nothing(till: Till) -> None:
    """The same request again, in another spelling of the same JSON, is answered as the first time."""
    first, repeated_first = await till.intake.accept(submission(500), idempotency_key="k", source="api")
    till.clock.move(60)
    spaced = submission(500).replace(b",", b" ,\n ")
    second, repeated_second = await till.intake.accept(spaced, idempotency_key="k", source="api")

    assert (repeated_first, repeated_second) == (False, True)
    assert second == first
    assert (await till.journal.epochs())[0].last == 1


async def test_a_key_with_another_body_is_refused(till: Till) -> None:
    """A key stands for one request for ever."""
    await till.intake.accept(submission(500), idempotency_key="k", source="api")

    with pytest.raises(BadInput) as refusal:
        await till.intake.accept(submission(501), idempotency_key="k", source="api")

    assert refusal.value.name == "idempotency-mismatch"
    assert (await till.journal.epochs())[0].last == 1


async def test_keys_of_different_sources_are_apart(till: Till) -> None:
    """A line of a spool file never answers a request of the API."""
    await till.intake.accept(submission(500), idempotency_key="k", source="api")
    _, repeated = await till.intake.accept(submission(501), idempotency_key="k", source="spool")

    assert repeated is False


async def test_a_repeated_doc_id_brings_the_first_answer(till: Till) -> None:
    """A till that lost the answer, and its key, still has its doc_id: same document, same number."""
    first, _ = await till.intake.accept(submission(500, doc_id=DOC_ID), idempotency_key="a", source="api")
    second, repeated = await till.intake.accept(
        submission(500, doc_id=DOC_ID), idempotency_key="b", source="api"
    )

    assert repeated
    assert second == first


async def test_a_doc_id_with_another_payload_is_a_conflict(till: Till) -> None:
    """What was accepted is never overwritten."""
    await till.intake.accept(submission(500, doc_id=DOC_ID), idempotency_key=None, source="api")

    with pytest.raises(Conflict) as refusal:
        await till.intake.accept(submission(501, doc_id=DOC_ID), idempotency_key=None, source="api")

    assert refusal.value.name == "doc-id-conflict"


async def test_repetitions_inside_one_group_are_recognised(till: Till) -> None:
    """The same request twice at the same moment is stored once; its neighbours are not disturbed."""
    same = [till.intake.accept(submission(500), idempotency_key="k", source="api") for _ in range(3)]
    other = [till.intake.accept(submission(900), idempotency_key=f"o{n}", source="api") for n in range(3)]
    wrong = till.intake.accept(submission(501), idempotency_key="k", source="api")
    *good, refused = await asyncio.gather(*same, *other, wrong, return_exceptions=True)

    assert isinstance(refused, BadInput)
    answers = [answer for answer, _ in good]  # type: ignore[misc]
    assert len({a.doc_id for a in answers}) == 4
    assert [repeated for _, repeated in good].count(True) == 2  # type: ignore[misc]
    assert (await till.journal.epochs())[0].last == 4
    assert await verify(till.journal) == []


async def test_every_start_has_an_epoch_of_its_own_that_names_its_parent(tmp_path: Path) -> None:
    """An epoch is written with its first document, never continued, and tells what it followed."""
    first = await open_till(tmp_path)
    await first.sell()
    await first.sell()
    parent = (await first.journal.epochs())[0]
    await first.journal.close()
    idle = await open_till(tmp_path)
    await idle.journal.close()
    second = await open_till(tmp_path)
    accepted = await second.sell()

    epochs = await second.journal.epochs()
    assert [e.last for e in epochs] == [2, 1]
    assert await second.journal.parent_of(epochs[1].epoch) == (parent.epoch, 2, parent.head)
    assert await second.journal.parent_of(epochs[0].epoch) is None
    assert accepted.seq == 1
    assert accepted.reference == reference(epochs[1].epoch, 1)
    await second.journal.close()


async def test_numbers_go_on_over_starts_and_from_the_centre(tmp_path: Path) -> None:
    """The number for people counts on, also behind what the centre has seen, and survives a start without a sale."""
    till = await open_till(tmp_path)
    numbers = [(await till.sell()).number for _ in range(2)]
    await till.journal.raise_number(40)
    numbers.append((await till.sell()).number)
    await till.journal.raise_number(7)
    numbers.append((await till.sell()).number)
    await till.journal.raise_number(100)
    await till.journal.close()
    till = await open_till(tmp_path)
    numbers.append((await till.sell()).number)
    numbers.append((await till.sell(number="POS/7")).number)
    await till.journal.close()

    assert numbers == ["T-1-1", "T-1-2", "T-1-41", "T-1-42", "T-1-101", "POS/7"]


async def test_a_failed_commit_leaves_no_trace_and_no_gap(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk refuses the sale; the next one takes the very next position."""
    await till.sell()

    def full(*_: object) -> None:
        raise disk_full()

    with monkeypatch.context() as patch:
        patch.setattr("edge_agent.db.commit.reach", full)
        with pytest.raises(CannotStore):
            await till.sell()
    accepted = await till.sell()

    assert accepted.seq == 2
    assert accepted.number == "T-1-2"
    assert await verify(till.journal) == []


async def test_after_an_error_of_the_disk_the_journal_is_opened_again_in_a_new_epoch(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a failed fsync left on the disk is unknown, so nothing is built upon it."""
    first = await till.sell()

    def broken(_: str) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("edge_agent.db.commit.reach", broken)
        with pytest.raises(CannotStore):
            await till.sell()
    second = await till.sell()

    assert second.epoch != first.epoch
    assert second.seq == 1
    assert [e.last for e in await till.journal.epochs()] == [1, 1]
    assert await verify(till.journal) == []


async def test_who_waits_behind_an_error_of_the_disk_is_refused_too(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written on a connection that is no longer trusted; nobody waits for ever."""
    monkeypatch.setattr(journal_module, "GROUP_MAX_DOCUMENTS", 1)

    def broken(_: str) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorname = "SQLITE_IOERR_WRITE"
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("edge_agent.db.commit.reach", broken)
        results = await asyncio.gather(*(till.sell() for _ in range(5)), return_exceptions=True)
    assert all(isinstance(result, CannotStore) for result in results)

    assert (await till.sell()).seq == 1


async def test_closing_commits_what_was_handed_in(till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop loses no sale that a till is waiting for, and takes none that comes later."""
    monkeypatch.setattr(journal_module, "GROUP_MAX_DOCUMENTS", 2)
    waiting = [asyncio.create_task(till.sell()) for _ in range(7)]
    await asyncio.sleep(0)
    await till.journal.close()

    assert sorted(a.seq for a in await asyncio.gather(*waiting)) == list(range(1, 8))
    with pytest.raises(Unavailable):
        await till.sell()


async def test_a_caller_that_goes_away_does_not_lose_its_sale(till: Till) -> None:
    """The document of a cancelled request is stored all the same; asking again finds it."""
    request = asyncio.create_task(till.intake.accept(submission(), idempotency_key="k", source="api"))
    await asyncio.sleep(0)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    _, repeated = await till.intake.accept(submission(), idempotency_key="k", source="api")

    assert repeated


async def test_the_queue_of_waiting_callers_is_bounded(till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound a caller is told to come again, and nothing of it is stored."""
    monkeypatch.setattr(journal_module, "WAITING_MAX_DOCUMENTS", 5)
    disk = threading.Event()
    till.journal._connection.post(lambda _: disk.wait() and None)
    callers = [asyncio.create_task(till.sell()) for _ in range(8)]
    await asyncio.sleep(0)
    disk.set()
    results = await asyncio.gather(*callers, return_exceptions=True)

    assert [isinstance(result, Unavailable) for result in results] == [False] * 5 + [True] * 3
    assert (await till.journal.epochs())[0].last == 5


async def test_reading_is_bounded_by_bytes_but_gives_at_least_one(till: Till) -> None:
    """A page never exceeds its bytes, except for a single document that is larger."""
    for _ in range(4):
        await till.sell()
    epoch = till.journal.current_epoch
    size = sum(len(d.header) + len(d.payload) for d in await till.journal.read(epoch, 1, 2, 1 << 20))

    assert [d.seq for d in await till.journal.read(epoch, 1, 4, size)] == [1, 2]
    assert [d.seq for d in await till.journal.read(epoch, 3, 4, 1)] == [3]
    assert await till.journal.read(b"\0" * 16, 1, 4, size) == []


async def test_status_follows_the_cursor(till: Till) -> None:
    """Accepted, sent, safe; a document that was never here is not found."""
    first, second, third = [await till.sell() for _ in range(3)]
    epoch = till.journal.current_epoch
    head = await till.journal.head_at(epoch, 1)
    assert head is not None
    await till.journal.record_cursor(epoch, 2, 1, head)

    states = [(await till.journal.status_of(a.doc_id)).status for a in (first, second, third)]
    assert states == ["safe", "sent", "accepted"]
    assert await till.journal.backlog() == (1, till.clock.now_ms())
    with pytest.raises(NotFound):
        await till.journal.status_of(DOC_ID)


async def test_claims_name_what_is_not_fully_safe(tmp_path: Path) -> None:
    """A session claims each epoch that the centre's backup does not cover whole, with its parent."""
    till = await open_till(tmp_path)
    await till.sell()
    old = (await till.journal.epochs())[0]
    await till.journal.close()
    till = await open_till(tmp_path)
    await till.sell()
    both = await till.journal.claims()
    await till.journal.record_cursor(old.epoch, 1, 1, old.head)
    one = await till.journal.claims()
    await till.journal.close()

    assert [c.last for c in both] == [1, 1]
    assert [c.epoch for c in one] == [both[1].epoch]
    assert (one[0].parent, one[0].parent_last, one[0].parent_head) == (old.epoch.hex(), 1, old.head.hex())


async def test_fold_journals_a_branch_again_with_the_same_bytes(tmp_path: Path) -> None:
    """After a fork what the centre did not confirm stands at new positions; no branch's document is discarded."""
    till = await open_till(tmp_path)
    before = [await till.sell(n) for n in (1, 2, 3)]
    old = (await till.journal.epochs())[0]
    await till.journal.close()
    till = await open_till(tmp_path)
    await till.sell(4)

    assert await till.journal.fold(old.epoch, 1) == 2
    epochs = {e.epoch: e for e in await till.journal.epochs()}
    assert epochs[old.epoch].folded
    again = await till.journal.read(till.journal.current_epoch, 2, 3, 1 << 20)
    first = await till.journal.read(old.epoch, 2, 3, 1 << 20)
    assert [(d.header, d.payload) for d in again] == [(d.header, d.payload) for d in first]
    status = await till.journal.status_of(before[2].doc_id)
    assert (status.epoch, status.seq) == (till.journal.current_epoch.hex(), 3)
    assert status.reference == before[2].reference
    assert await till.journal.backlog() == (3, till.clock.now_ms())
    assert await verify(till.journal) == []
    await till.journal.close()


async def test_folding_the_current_epoch_draws_a_new_one(till: Till) -> None:
    """A branch that the centre does not know may not grow: the documents and all that follow go elsewhere."""
    await till.sell(1)
    await till.sell(2)
    forked = till.journal.current_epoch

    assert await till.journal.fold(forked, 0) == 2
    accepted = await till.sell(3)

    assert till.journal.current_epoch != forked
    assert accepted.seq == 3
    assert accepted.number == "T-1-5"
    assert await verify(till.journal) == []


async def test_folding_nothing_writes_no_epoch(till: Till) -> None:
    """An epoch whose documents are all shared ends without one to follow it."""
    await till.sell()
    assert await till.journal.fold(till.journal.current_epoch, 1) == 0
    assert [e.folded for e in await till.journal.epochs()] == [True]


async def test_only_a_safe_prefix_is_purged(till: Till) -> None:
    """Whatever is asked, nothing goes that the centre's backup does not cover, and the chain stays provable."""
    documents = [await till.sell(n + 1) for n in range(5)]
    epoch = till.journal.current_epoch
    head = await till.journal.head_at(epoch, 3)
    assert head is not None
    await till.journal.record_cursor(epoch, 5, 3, head)

    assert await till.journal.purge(epoch, 5) == 3
    local = (await till.journal.epochs())[0]
    assert (local.first, local.last) == (4, 5)
    assert await till.journal.head_at(epoch, 3) == head
    assert await till.journal.head_at(epoch, 2) is None
    with pytest.raises(NotFound):
        await till.journal.status_of(documents[0].doc_id)
    assert await verify(till.journal) == []
    assert (await till.sell()).seq == 6


async def test_a_fully_purged_epoch_is_neither_read_nor_claimed(tmp_path: Path) -> None:
    """It is remembered for the numbers only; the next start goes on from its end."""
    till = await open_till(tmp_path)
    await till.sell()
    old = (await till.journal.epochs())[0]
    await till.journal.record_cursor(old.epoch, 1, 1, old.head)
    await till.journal.purge(old.epoch, 1)
    await till.journal.close()
    till = await open_till(tmp_path)
    accepted = await till.sell()

    assert [e.epoch for e in await till.journal.epochs()] == [till.journal.current_epoch]
    assert await till.journal.parent_of(till.journal.current_epoch) == (old.epoch, 1, old.head)
    assert accepted.number == "T-1-2"
    assert [(t.count, t.amount_minor) for t in await till.journal.day_totals("")] == [(2, 1_000)]
    await till.journal.close()


async def test_purging_the_later_position_of_a_folded_document_purges_it(till: Till) -> None:
    """A document goes when the position that was confirmed goes; the branch that was never confirmed is no reason."""
    accepted = await till.sell()
    await till.journal.fold(till.journal.current_epoch, 0)
    epoch = till.journal.current_epoch
    head = await till.journal.head_at(epoch, 1)
    assert head is not None
    await till.journal.record_cursor(epoch, 1, 1, head)
    await till.journal.purge(epoch, 1)

    with pytest.raises(NotFound):
        await till.journal.status_of(accepted.doc_id)
    assert await verify(till.journal) == []


async def test_day_totals_are_the_sums_of_the_payments(till: Till) -> None:
    """Counted once whatever is asked how often, by the store's own day; cash movements are no takings."""
    await till.sell(500, business_date="2026-11-20")
    await till.sell(250, business_date="2026-11-21")
    cash_in = b'{"kind":"cash_in","payload":{"currency":"EUR","amount_minor":9900,"reason":"FLOAT"}}'
    await till.intake.accept(cash_in, idempotency_key="c", source="api")
    await till.journal.day_totals("2026-01-01")
    await till.sell(50, business_date="2026-11-21")

    totals = await till.journal.day_totals("2026-11-21")
    assert totals == [
        DayTotal(business_date="2026-11-21", type="CASH", currency="EUR", count=2, amount_minor=300)
    ]
    assert len(await till.journal.day_totals("2026-01-01")) == 2
    assert await verify(till.journal) == []


async def test_history_counts_once_and_never_twice(tmp_path: Path) -> None:
    """What is read back from the centre is in the totals, unless the journal itself has it."""
    (tmp_path / "lost").mkdir()
    lost = await open_till(tmp_path / "lost")
    sold = [await lost.sell(100, business_date="2026-11-21") for _ in range(2)]
    old = (await lost.journal.epochs())[0]
    stored = [(d.header, d.payload) for d in await lost.journal.read(old.epoch, 1, 2, 1 << 20)]
    await lost.journal.store_history(old.epoch, 1, stored[:1])
    assert (await lost.journal.day_totals(""))[0].amount_minor == 200
    await lost.journal.close()

    till = await open_till(tmp_path)
    for _ in range(2):
        await till.journal.store_history(old.epoch, 1, stored)
    assert await till.journal.history_last(old.epoch) == 2
    assert await till.journal.history_last(till.journal.current_epoch) == 0
    assert [(t.count, t.amount_minor) for t in await till.journal.day_totals("")] == [(2, 200)]
    assert (await till.journal.status_of(sold[0].doc_id)).status == "safe"
    assert await till.journal.epochs() == []
    assert await verify(till.journal) == []
    assert await till.journal.purge_history("2026-11-22") == 2
    assert await verify(till.journal) == []
    await till.journal.close()


async def test_alarms_stand_until_they_are_cleared(till: Till) -> None:
    """An alarm of the same name gets the new text."""
    await till.journal.add_alarm("disk", "90 % full")
    await till.journal.add_alarm("disk", "95 % full")
    assert await till.journal.alarms() == {"disk": "95 % full"}
    await till.journal.clear_alarm("disk")
    assert await till.journal.alarms() == {}


async def test_export_gives_every_document_with_its_sealed_bytes(till: Till) -> None:
    """One line of JSON each; the bytes inside are those of the chain."""
    accepted = [await till.sell(n + 1) for n in range(3)]
    lines = b"".join([chunk async for chunk in till.journal.export()]).splitlines()
    stored = await till.journal.read(till.journal.current_epoch, 1, 3, 1 << 20)

    assert len(lines) == 3
    for line, document, answer in zip(lines, stored, accepted, strict=True):
        assert b'"header":' + document.header + b',"payload":' + document.payload in line
        assert answer.reference.encode() in line


def disk_full() -> sqlite3.Error:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorname = "SQLITE_FULL"
    return error
