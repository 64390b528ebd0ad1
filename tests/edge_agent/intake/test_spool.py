"""The spool folder: complete files become documents, each line once; nothing is lost and nothing is blocked."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import orjson
import pytest

from edge_agent.intake import spool as spool_module
from edge_agent.intake.formats import FILE_MAX_BYTES
from edge_agent.intake.spool import SETTLE_S, Spool, watch
from shared.errors import CannotStore
from tests.support.till import Till, submission


class Folder:
    """A spool with a till behind it."""

    def __init__(self, till: Till) -> None:
        self.till = till
        self.root = till.folder / "spool"
        self.spool = Spool(self.root, till.intake, till.clock, interval_s=30)
        (self.root / "in").mkdir(parents=True)

    def drop(self, name: str, *lines: bytes) -> None:
        (self.root / "in" / name).write_bytes(b"\n".join(lines))

    async def look(self) -> float:
        """Two looks, far enough apart for a file to be seen standing still."""
        await self.spool.step()
        self.till.clock.move(SETTLE_S)
        return await self.spool.step()

    def names(self, part: str) -> list[str]:
        base = self.root / part
        return sorted(str(path.relative_to(base)) for path in base.rglob("*") if path.is_file())

    def reason(self, name: str) -> str:
        return (self.root / "bad" / f"{name}.reason.txt").read_text()

    async def count(self) -> int:
        return sum(epoch.last for epoch in await self.till.journal.epochs())


@pytest.fixture
def folder(till: Till) -> Folder:
    return Folder(till)


TODAY = "2026-09-21"


async def test_every_form_of_file_is_taken(folder: Folder) -> None:
    """One object, a list, lines; with a byte order mark, blank lines, and Windows line ends."""
    folder.drop("one.json", b"\xef\xbb\xbf" + submission(1))
    folder.drop("list.json", b"[" + submission(2) + b"," + submission(3) + b"]")
    folder.drop("lines.ndjson", submission(4) + b"\r", b"", submission(5) + b"\r", b"")
    await folder.look()

    assert await folder.count() == 5
    assert folder.names("in") == folder.names("bad") == []
    assert folder.names("taken") == [f"{TODAY}/{n}" for n in ("lines.ndjson", "list.json", "one.json")]


async def test_unfinished_and_growing_files_are_not_read(folder: Folder) -> None:
    """A file is left alone while its name says so, or while it still changes."""
    for name in ("a.json.part", ".hidden.json", "b.tmp"):
        folder.drop(name, submission(1))
    folder.drop("grows.ndjson", submission(2))
    await folder.spool.step()
    folder.drop("grows.ndjson", submission(2), submission(3))
    folder.till.clock.move(SETTLE_S)
    assert await folder.spool.step() == SETTLE_S
    assert await folder.count() == 0
    folder.till.clock.move(SETTLE_S)
    assert await folder.spool.step() == 30

    assert await folder.count() == 2
    assert folder.names("in") == [".hidden.json", "a.json.part", "b.tmp"]


async def test_bad_lines_are_told_and_the_others_taken(folder: Folder) -> None:
    """Only the bad lines go to bad/, with the reason beside them; corrected and dropped again, they double nothing."""
    folder.drop("day.ndjson", submission(1), b"{oops", submission(2), submission(3).replace(b"EUR", b"euro"))
    await folder.look()

    assert await folder.count() == 2
    assert folder.names("bad") == ["day.ndjson", "day.ndjson.reason.txt"]
    reason = folder.reason("day.ndjson")
    assert "2 of 4 lines" in reason
    assert "line 2 of day.ndjson: the submission is not valid JSON" in reason
    assert "line 4 of day.ndjson: the submission: currency" in reason

    folder.drop("day.ndjson", submission(6), submission(7))
    await folder.look()
    assert await folder.count() == 4


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("x.json", b"{not json", "not valid JSON"),
        ("x.json", b"", "is empty"),
        ("x.csv", b"a;b", 'suffix ".csv"'),
        ("x.ndjson", b"\xff\xfe{\x00", "not valid JSON"),
        ("x.json", b'[{"kind":"sale","payload":{"n":' + b"9" * 30 + b"}}]", "64-bit"),
    ],
)
async def test_a_file_that_cannot_be_read_is_moved_aside(
    folder: Folder, name: str, content: bytes, why: str
) -> None:
    """The reason names the file and says what to do."""
    folder.drop(name, content)
    await folder.look()

    assert await folder.count() == 0
    assert folder.names("in") == []
    (reason_name,) = [n for n in folder.names("bad") if n.endswith(".reason.txt")]
    assert why in (folder.root / "bad" / reason_name).read_text()


async def test_a_giant_file_is_moved_aside(folder: Folder) -> None:
    """Memory stays bounded whatever is dropped."""
    with (folder.root / "in" / "giant.ndjson").open("wb") as file:
        file.truncate(FILE_MAX_BYTES + 1)
    await folder.look()
    assert folder.names("bad") == ["giant.ndjson", "giant.ndjson.reason.txt"]
    assert "split it" in folder.reason("giant.ndjson")


async def test_a_file_met_again_after_a_crash_doubles_nothing(folder: Folder) -> None:
    """Killed after some lines were durable: the claimed file is taken again, its known lines are repetitions."""
    folder.drop("day.ndjson", submission(1), submission(2))
    await folder.look()
    taken = folder.root / "taken"
    os.replace(taken / TODAY / "day.ndjson", taken / "day.ndjson")
    await folder.spool.step()

    assert await folder.count() == 2
    assert folder.names("taken") == [f"{TODAY}/day.ndjson"]
    assert folder.names("bad") == []


async def test_the_same_bytes_dropped_again_are_not_sold_again_but_told(folder: Folder) -> None:
    """Without doc_ids only a person knows whether two alike are two sales; nothing is doubled or silently lost."""
    folder.drop("a.json", submission(1))
    await folder.look()
    folder.drop("b.json", submission(1))
    await folder.look()

    assert await folder.count() == 1
    assert folder.names("bad") == ["b.json", "b.json.reason.txt"]
    assert "no doc_id" in folder.reason("b.json")


async def test_the_same_document_dropped_again_is_a_repetition(folder: Folder) -> None:
    """With a doc_id the till has said which document it is: taken once, and no complaint."""
    same = submission(1, doc_id="0198b0a0-0000-7000-8000-0000000000cc")
    folder.drop("a.json", same)
    await folder.look()
    folder.drop("b.json", same)
    await folder.look()

    assert await folder.count() == 1
    assert folder.names("bad") == []
    assert folder.names("taken") == [f"{TODAY}/a.json", f"{TODAY}/b.json"]


async def test_a_disk_that_refuses_leaves_the_file_claimed(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the disk, not the line: nothing is moved aside, and the next step takes the file."""

    async def full(*_: object, **__: object) -> None:
        raise CannotStore("the disk is full")

    folder.drop("a.json", submission(1))
    with monkeypatch.context() as patch:
        patch.setattr(folder.till.intake, "accept", full)
        with pytest.raises(CannotStore):
            await folder.look()
    assert folder.names("taken") == ["a.json"]
    await folder.spool.step()

    assert await folder.count() == 1
    assert folder.names("taken") == [f"{TODAY}/a.json"]


async def test_files_of_one_name_do_not_overwrite_one_another(folder: Folder) -> None:
    """Two files of the same name on one day are both kept."""
    for amount in (1, 2, 3):
        folder.drop("sale.json", submission(amount))
        await folder.look()
    assert await folder.count() == 3
    assert len(folder.names("taken")) == 3


async def test_many_files_are_taken_in_bounded_steps(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step takes some and asks for the next one at once; the oldest come first."""
    monkeypatch.setattr(spool_module, "FILES_PER_STEP", 3)
    for n in range(5):
        folder.drop(f"{n}.json", submission(n + 1))
        os.utime(folder.root / "in" / f"{n}.json", (1_000 - n, 1_000 - n))
    assert await folder.look() == 0.0
    assert await folder.count() == 3
    assert folder.names("in") == ["0.json", "1.json"]
    await folder.spool.step()
    assert await folder.count() == 5


async def test_no_card_number_stays_in_the_spool(folder: Folder) -> None:
    """Neither in the copy of what was taken, nor in bad lines, nor in their reasons."""
    card = "4111111111111111"
    good = orjson.loads(submission(1))
    good["payload"]["comment"] = card
    folder.drop("a.ndjson", orjson.dumps(good), b'{"kind":"sale","comment":"' + card.encode() + b'"}')
    await folder.look()

    assert await folder.count() == 1
    kept = [path for path in folder.root.rglob("*") if path.is_file()]
    assert len(kept) == 3
    assert not [path for path in kept if card.encode() in path.read_bytes()]


async def test_a_missing_share_is_told_as_a_circumstance(folder: Folder) -> None:
    """A share that is away raises an error that is tried again, and no file is blamed."""
    (folder.root / "in").rmdir()
    (folder.root / "in").write_text("a file where the folder should be")
    with pytest.raises(CannotStore, match="spool"):
        await folder.spool.step()


async def test_events_wake_the_spool(tmp_path: Path) -> None:
    """A file that appears sets the event, so that nobody waits for the next poll."""
    wake = asyncio.Event()
    (tmp_path / "in").mkdir()
    watching = asyncio.create_task(watch(tmp_path, wake))
    try:
        async with asyncio.timeout(20):
            n = 0
            while not wake.is_set():
                n += 1
                (tmp_path / "in" / f"{n}.json").write_bytes(b"{}")
                await asyncio.wait({asyncio.create_task(wake.wait())}, timeout=0.2)
    finally:
        watching.cancel()
    assert wake.is_set()
