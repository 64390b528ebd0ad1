"""Files of another system: read whole and in order, each record's newest word once, and nothing touched."""

from __future__ import annotations

import asyncio
import gzip
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from central.connectors.base import Batch, Page, Read, TargetAway, TargetDenies
from central.connectors.files import folder as reading
from central.connectors.files.connector import FilesConnector, FilesSettings
from central.connectors.formats.writing import compose_file
from central.integrations.build import check_names
from central.integrations.definition import Definition
from shared.errors import BadInput
from tests.support.clock import ManualClock
from tests.support.rigs import delivery

ITEMS: dict[str, Any] = {"full": "full*.csv", "changes": "changes*.csv", "key": "id", "order": "name"}


def connect(
    folder: Path, clock: ManualClock | None = None, settle_s: float = 0, **more: Any
) -> FilesConnector:
    settings = {"folder": folder, "settle_s": settle_s, "lists": {"items": ITEMS | more}}
    return FilesConnector("erp", FilesSettings.model_validate(settings), clock or ManualClock())


async def read(connector: FilesConnector, since: str | None = None, page: int = 500) -> Page:
    """All of a run as one page."""
    pages = [one async for one in connector.read(Read("items", since, page=page))]
    assert all(one.cursor is None for one in pages[:-1])
    assert all(len(one.records) + len(one.deleted) <= page for one in pages[:-1])
    return Page(
        [record for one in pages for record in one.records],
        [key for one in pages for key in one.deleted],
        pages[-1].cursor,
        [why for one in pages for why in one.unreadable],
    )


def write(folder: Path, name: str, *lines: str) -> None:
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def state_of(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (folder, *folder.iterdir())}


async def test_a_full_file_and_the_changes_after_it_are_one_list(tmp_path: Path):
    """The newest word of each record, once; what lies before the full file says nothing any more."""
    write(tmp_path, "changes-0.csv", "id,price", "a,9")
    write(tmp_path, "full-0.csv", "id,price", "x,1")
    write(tmp_path, "changes-1.csv", "id,price", "b,3", "c,4")
    write(tmp_path, "changes-2.csv", "id,price", "b,5")
    # Names order them: full-1 stands after the changes by name, so it replaces them.
    everything = await read(connect(tmp_path))
    assert [(one["id"], one["price"]) for one in everything.records] == [("x", "1")]
    write(tmp_path, "z-changes-3.csv", "id,price", "x,2", "b,7")
    found = await read(connect(tmp_path, changes="*changes*.csv"), everything.cursor)
    assert [(one["id"], one["price"]) for one in found.records] == [("x", "2"), ("b", "7")]
    both = await read(connect(tmp_path, changes="*changes*.csv"), page=1)
    assert [(one["id"], one["price"]) for one in both.records] == [("x", "2"), ("b", "7")]
    assert (await read(connect(tmp_path), found.cursor)).records == []


async def test_a_file_that_is_being_written_waits_until_it_rests(tmp_path: Path):
    """Two looks a moment apart must find it alike."""
    clock = ManualClock()
    write(tmp_path, "full-1.csv", "id", "a")
    connector = connect(tmp_path, clock, settle_s=2)
    run = asyncio.create_task(read(connector))
    await asyncio.sleep(0.05)
    write(tmp_path, "full-1.csv", "id", "a", "b")
    clock.move(2)
    with pytest.raises(TargetAway, match="no whole file"):
        await run
    run = asyncio.create_task(read(connector))
    await asyncio.sleep(0.05)
    clock.move(2)
    assert [one["id"] for one in (await run).records] == ["a", "b"]
    assert [one["id"] for one in (await read(connector)).records] == ["a", "b"]


async def test_a_file_counts_once_its_marker_is_there(tmp_path: Path):
    """What the other system says is better than any guess; unfinished copies and links never count."""
    write(tmp_path, "full-1.csv", "id", "a")
    write(tmp_path, "full-2.csv.part", "id", "b")
    os.symlink("/etc/hostname", tmp_path / "full-3.csv")
    connector = connect(tmp_path, ready=".ok")
    with pytest.raises(TargetAway, match="no whole file"):
        await read(connector)
    write(tmp_path, "full-1.csv.ok")
    assert [one["id"] for one in (await read(connector)).records] == ["a"]


async def test_what_says_that_it_is_gone_is_deleted(tmp_path: Path):
    """By a value of a field; the newest word counts."""
    write(tmp_path, "full-1.csv", "id,status", "a,1", "b,1", "c,0")
    write(tmp_path, "full-1a-changes.csv", "id,status", "a,0", "b,0")
    write(tmp_path, "full-1b-changes.csv", "id,status", "b,1")
    connector = connect(tmp_path, full="full-?.csv", changes="*changes.csv", deleted={"status": ["0"]})
    found = await read(connector)
    assert ([one["id"] for one in found.records], sorted(found.deleted)) == (["b"], ["a", "c"])


async def test_each_part_has_full_files_of_its_own(tmp_path: Path):
    """A shop that is missing today keeps what it said yesterday; a key may be made of several fields."""
    for store, day, items in (("1", 1, "ab"), ("2", 1, "a"), ("1", 2, "b")):
        write(tmp_path, f"full-{store}-{day}.csv", "id", *items)
    connector = connect(
        tmp_path,
        full="full-{store}-{day}.csv",
        changes=None,
        key=["store", "id"],
        parts=["store"],
        order="day",
    )
    found = await read(connector)
    assert sorted(str(one["key"]) for one in found.records) == ["1/b", "2/a"]
    assert connector.reads["items"].key == "key"


async def test_what_cannot_be_read_is_told_by_line(tmp_path: Path):
    """A record without a key, or of which nothing can be told, is named; the others come."""
    write(tmp_path, "full-1.csv", "id,name", "a,Apple", ",Nothing", "b,Bread,7")
    found = await read(connect(tmp_path))
    assert [one["id"] for one in found.records] == ["a"]
    assert list(found.unreadable) == [
        "full-1.csv, line 3: it has no id",
        "full-1.csv, line 4: 3 cells, but there are 2 columns",
    ]


async def test_a_full_file_that_shrank_is_refused(tmp_path: Path):
    """Half an export would delete half of the goods."""
    write(tmp_path, "full-1.csv", "id", *(f"item-{n}" for n in range(100)))
    write(tmp_path, "full-2.csv", "id", *(f"item-{n}" for n in range(10)))
    with pytest.raises(BadInput, match="less than 50 %"):
        await read(connect(tmp_path))
    assert len((await read(connect(tmp_path, shrink_percent=0))).records) == 10


@pytest.mark.parametrize("what", ["changed", "gone"])
async def test_a_file_that_changes_while_it_is_read_is_not_read(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
):
    """Half of one and half of another is neither; it is read again soon."""
    write(tmp_path, "full-1.csv", "id", "a", "b")
    read_records = reading.read_records

    def meanwhile(path: Path, *rest: Any) -> Any:
        records = list(read_records(path, *rest))
        path.unlink()
        if what == "changed":
            write(tmp_path, "full-1.csv", "id", "c", "d", "e")
        return iter(records)

    monkeypatch.setattr(reading, "read_records", meanwhile)
    with pytest.raises(TargetAway, match="full-1"):
        await read(connect(tmp_path))


async def test_packed_files_are_read_and_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Chains publish .gz; one that is cut short, or far too large, is refused."""
    packed = gzip.compress(b"id\n" + b"".join(b"%d\n" % n for n in range(1_000)))
    (tmp_path / "full-1.csv.gz").write_bytes(packed)
    connector = connect(tmp_path, full="full*.csv.gz")
    assert len((await read(connector)).records) == 1_000
    monkeypatch.setattr(reading, "UNPACKED_MAX_BYTES", 100)
    with pytest.raises(BadInput, match="unpacks to more"):
        await read(connector)
    (tmp_path / "full-1.csv.gz").write_bytes(packed[:-9])
    with pytest.raises(BadInput, match="no whole gzip file"):
        await read(connector)


@pytest.mark.parametrize(
    ("dialect", "suffix"),
    [
        ({"form": "csv", "encoding": "cp1251", "delimiter": ";"}, "csv"),
        ({"form": "xlsx"}, "xlsx"),
        ({"form": "json"}, "json"),
        ({"form": "xml", "record": "item"}, "xml"),
    ],
)
async def test_every_form_is_read(tmp_path: Path, dialect: dict[str, Any], suffix: str):
    """What the form can hold comes as it was written."""
    connector = connect(tmp_path, full=f"full*.{suffix}", changes=None, dialect=dialect)
    written = [{"id": "a", "name": "Молоко"}, {"id": "b", "name": 'Хлеб "Дарницкий"; 700 г'}]
    one = FilesSettings.model_validate(
        {"folder": tmp_path, "lists": {"items": ITEMS | {"dialect": dialect}}}
    ).lists["items"]
    (tmp_path / f"full-1.{suffix}").write_bytes(compose_file(written, one.dialect))
    assert list((await read(connector)).records) == written


async def test_the_folder_is_never_written(tmp_path: Path):
    """Neither by setting up nor by checking nor by reading; and nothing can be sent there."""
    write(tmp_path, "full-1.csv", "id", "a")
    before = state_of(tmp_path)
    connector = connect(tmp_path)
    await connector.prepare()
    assert all(finding.ok for finding in await connector.check())
    await read(connector)
    assert state_of(tmp_path) == before
    with pytest.raises(TargetDenies, match="only read"):
        await connector.deliver(Batch("b", [delivery(1)]))


async def test_check_tells_what_is_wrong_with_a_list(tmp_path: Path):
    """No folder, no file yet, or a file that lacks the key."""
    connector = connect(tmp_path / "missing")
    assert ["missing cannot be read" in one.detail for one in await connector.check()] == [True]
    assert "no file yet" in (await connect(tmp_path).check())[0].detail
    write(tmp_path, "full-1.csv", "number", "7")
    (finding,) = await connect(tmp_path).check()
    assert (finding.ok, finding.detail) == (False, "full-1.csv, line 2: it has no id")


@pytest.mark.parametrize(
    ("pull", "lists", "told"),
    [
        ({"source": "goods"}, {}, 'has no source "goods"'),
        (
            {"fields": {"code": "{{id}}", "name": "{{nmae}}"}},
            {"fields": ["id", "name"]},
            'did you mean "name"',
        ),
        ({}, {"full": None}, 'say absence = "keep"'),
        ({}, {"full": "{store}.csv", "parts": ["shop"]}, '"shop" is no field of the names'),
        ({}, {"key": None}, "key"),
    ],
)
def test_a_definition_is_checked_against_its_lists(
    tmp_path: Path, pull: Mapping[str, Any], lists: Mapping[str, Any], told: str
):
    """Sources are the lists that the settings name; what can be wrong with them is told when they are stated."""
    definition = Definition.model_validate(
        {
            "name": "erp",
            "connector": "files",
            "settings": {"folder": str(tmp_path), "lists": {"items": {**ITEMS, **lists}}},
            "pull": [
                {"name": "g", "source": "items", "entity": "product", "fields": {"code": "{{id}}"}, **pull}
            ],
        }
    )
    with pytest.raises(BadInput, match=told):
        check_names(FilesConnector, definition)


def test_nothing_is_delivered_to_a_connector_that_only_reads(tmp_path: Path):
    definition = Definition.model_validate(
        {
            "name": "erp",
            "connector": "files",
            "settings": {"folder": str(tmp_path), "lists": {"items": ITEMS}},
            "deliver": [{"name": "sale", "kinds": ["sale"]}],
        }
    )
    with pytest.raises(BadInput, match='only read; "sale" cannot be delivered'):
        check_names(FilesConnector, definition)
