"""The folder in which HQ drops lists: whole files only, each once, with a report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from central.connectors.drop_folder import incoming as incoming_module
from central.connectors.drop_folder.incoming import EMPTY_SETTLE_S, InFolder
from tests.support.clock import ManualClock

CONTENT = "#counterflow entity=product\ncode,name\nA,x\n"
REPORT: dict[str, Any] = {
    "file": "p.csv",
    "result": "taken",
    "what": "1 rows",
    "rejected": 1,
    "errors": [{"line": 3, "key": "A", "why": "no"}],
}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def folder(tmp_path: Path, clock: ManualClock) -> InFolder:
    for name in ("in", "work", "done", "bad"):
        (tmp_path / name).mkdir()
    return InFolder(tmp_path, 2.0, clock.tick_ms)


def test_a_growing_file_is_not_read(folder: InFolder, clock: ManualClock):
    """A file is claimed only when it has not changed for the settling time."""
    path = folder.incoming / "p.csv"
    path.write_text(CONTENT)
    assert folder.next() is None
    clock.move(1.9)
    path.write_text(CONTENT + "B,y\n")
    assert folder.next() is None
    clock.move(1.9)
    assert folder.next() is None
    clock.move(0.1)
    incoming = folder.next()
    assert incoming is not None
    assert len(list(incoming.rows())) == 2
    assert list(folder.incoming.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["p.csv.part", ".p.csv", "~p.csv", "p.CSV.TMP", "p.csv.filepart", "p.csv.about.json"]
)
def test_unfinished_names_are_not_read(folder: InFolder, clock: ManualClock, name: str):
    """What a copying program has not renamed yet, and a description without its list, are left alone."""
    (folder.incoming / name).write_text(CONTENT)
    for _ in range(3):
        assert folder.next() is None
        clock.move(60)


def test_an_empty_file_gets_more_time(folder: InFolder, clock: ManualClock):
    """An empty file is often a copy that has not begun; after a minute it is a list that says nothing."""
    (folder.incoming / "p.csv").touch()
    folder.next()
    clock.move(EMPTY_SETTLE_S - 1)
    assert folder.next() is None
    clock.move(1)
    incoming = folder.next()
    assert incoming is not None
    assert "does not say what it is" in incoming.refusal


def test_the_oldest_goes_first_and_one_at_a_time(folder: InFolder, clock: ManualClock):
    """Files are taken in the order in which they were written; the next one only when the last is settled."""
    import os

    for age, name in enumerate(("c.csv", "a.csv", "b.csv")):
        (folder.incoming / name).write_text(CONTENT)
        os.utime(folder.incoming / name, ns=(0, 1_000 + age))
    folder.next()
    clock.move(2)
    names = []
    while incoming := folder.next():
        again = folder.next()
        assert again is not None
        assert (again.name, again.resumed) == (incoming.name, True)
        names.append(incoming.name)
        folder.settle(incoming, REPORT)
    assert names == ["c.csv", "a.csv", "b.csv"]


def test_a_settled_file_has_its_report_beside_it(folder: InFolder, clock: ManualClock):
    """Done or bad, with a report for programs and one for people; a second file of the name overwrites nothing."""
    for result, expected in (("taken", folder.done), ("taken", folder.done), ("refused", folder.bad)):
        (folder.incoming / "p.csv").write_text(CONTENT)
        (folder.incoming / "p.csv.about.json").write_text("{}")
        folder.next()
        clock.move(2)
        incoming = folder.next()
        assert incoming is not None
        folder.settle(incoming, REPORT | {"result": result})
        assert (expected / "p.csv").exists()
    four = ["p.csv", "p.csv.about.json", "p.csv.report.json", "p.csv.report.txt"]
    assert sorted(path.name for path in folder.bad.iterdir()) == four
    assert sorted(path.name for path in folder.done.iterdir()) == sorted(
        [*four, "p-2.csv", "p-2.csv.about.json", "p-2.csv.report.json", "p-2.csv.report.txt"]
    )
    assert (folder.done / "p.csv.report.txt").read_text() == "p.csv: taken. 1 rows\nline 3 (A): no\n"
    assert list(folder.work.iterdir()) == []


def test_a_file_that_nobody_may_read_delays_no_other(
    folder: InFolder, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
):
    """Without the right to read it, a list is refused with that reason."""

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    (folder.incoming / "p.csv").write_text(CONTENT)
    folder.next()
    clock.move(2)
    monkeypatch.setattr(incoming_module.hashlib, "file_digest", refuse)
    incoming = folder.next()
    assert incoming is not None
    assert "Permission denied" in incoming.refusal
