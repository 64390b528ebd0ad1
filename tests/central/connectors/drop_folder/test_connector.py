"""The drop folder towards its reader, and towards the disk."""

from __future__ import annotations

import errno
import os
from collections.abc import Collection
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from central.connectors.base import Batch, Delivery, NoAnswer, TargetAway, TargetDenies
from central.connectors.drop_folder import outgoing
from central.connectors.drop_folder.connector import DropFolder, DropFolderSettings
from shared.errors import ConfigError
from tests.support.clock import ManualClock

BATCH_ID = "erp-20261121T100000000Z-0123456789abcdef"


def delivery(number: int) -> Delivery:
    doc_id = f"01234567-0000-7000-8000-{number:012d}"
    header = b'{"doc_id":"%s","number":"T-%d"}' % (doc_id.encode(), number)
    payload = '{"z":1,"a":"Молоко","amount":12345678901234567}'.encode()
    return Delivery(
        f"erp:{doc_id}:document", "document", doc_id, "sale", f"T-{number}", "T-1", "S1", header, payload
    )


BATCH = Batch(BATCH_ID, (delivery(1), delivery(2)))


async def all_known(batch_ids: Collection[str]) -> set[str]:
    return set()


async def all_forgotten(batch_ids: Collection[str]) -> set[str]:
    return set(batch_ids)


@pytest.fixture
async def connector(tmp_path: Path) -> DropFolder:
    one = DropFolder("erp", DropFolderSettings(folder=tmp_path / "drop"), ManualClock())
    await one.prepare()
    assert all(finding.ok for finding in await one.check())
    return one


async def test_a_line_holds_the_exact_bytes_of_the_till(connector: DropFolder, tmp_path: Path):
    """Header and document stand in the line as they were sealed, byte for byte, behind what identifies them."""
    await connector.deliver(BATCH)
    lines = (tmp_path / "drop/out" / f"{BATCH_ID}.ndjson").read_bytes().splitlines()
    assert len(lines) == 2
    first = BATCH.deliveries[0]
    assert b',"header":' + first.header + b',"document":' + first.payload + b"}" in lines[0]
    line = orjson.loads(lines[0])
    assert list(line) == ["delivery_key", "doc_id", "number", "station", "store", "header", "document"]
    assert (line["delivery_key"], line["station"], line["store"]) == (first.key, "T-1", "S1")


async def test_a_reader_never_sees_half_a_file(
    connector: DropFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """While bytes are written there is no name that a reader looks for."""
    seen: list[list[str]] = []

    def fsync(handle: int) -> None:
        seen.append([path.name for path in (tmp_path / "drop/out").glob("*.ndjson")])
        os.fsync(handle)

    class Watched:
        def __getattr__(self, name: str) -> Any:
            return fsync if name == "fsync" else getattr(os, name)

    monkeypatch.setattr(outgoing, "os", Watched())
    await connector.deliver(BATCH)
    assert seen == [[], [f"{BATCH_ID}.ndjson"]]


@pytest.mark.parametrize("place", ["out", "taken", "taken/2026-11-21"])
async def test_the_probe_looks_where_readers_put_files(connector: DropFolder, tmp_path: Path, place: str):
    """A batch in `out`, in `taken` or below it was delivered; sending it again writes nothing."""
    await connector.deliver(BATCH)
    (tmp_path / "drop" / place).mkdir(exist_ok=True)
    file = tmp_path / "drop" / place / f"{BATCH_ID}.ndjson"
    (tmp_path / "drop/out" / file.name).rename(file)
    assert await connector.probe(BATCH, all_known) == {one.key for one in BATCH.deliveries}
    await connector.deliver(BATCH)
    assert list((tmp_path / "drop").rglob("*.ndjson*")) == [file]


async def test_a_forgotten_batch_is_known_by_its_keys(connector: DropFolder):
    """A batch that the centre does not know was sent before its restore: its documents are found by their keys."""
    await connector.deliver(BATCH)
    other = Batch("erp-20261121T110000000Z-fedcba9876543210", (delivery(2), delivery(3)))
    assert await connector.probe(other, all_known) == frozenset()
    restored = DropFolder("erp", connector._settings, ManualClock())
    assert await restored.probe(other, all_forgotten) == {delivery(2).key}


async def test_a_centre_restored_under_a_running_process_is_noticed(connector: DropFolder):
    """What was known once is asked again: when the newest known batch is forgotten, all files are looked at anew."""
    await connector.deliver(BATCH)
    other = Batch("erp-20261121T110000000Z-fedcba9876543210", (delivery(2), delivery(3)))
    assert await connector.probe(other, all_known) == frozenset()
    assert await connector.probe(other, all_forgotten) == {delivery(2).key}


async def test_a_foreign_file_is_none_of_our_batches(connector: DropFolder, tmp_path: Path):
    """Only names that we give are read; a damaged file of such a name stops the integration instead of a guess."""
    (tmp_path / "drop/taken/readme.ndjson").write_text("hello")
    (tmp_path / "drop/taken/other-20261121T100000000Z-0123456789abcdef.ndjson").write_text("hello")
    assert await connector.probe(BATCH, all_forgotten) == frozenset()
    (tmp_path / "drop/taken/erp-20261121T100000000Z-00000000deadbeef.ndjson").write_text("hello")
    with pytest.raises(TargetDenies, match="line 1"):
        await connector.probe(BATCH, all_forgotten)


async def test_an_unmounted_share_is_not_written_beneath(connector: DropFolder, tmp_path: Path):
    """Without its marker the folder is away: neither probe nor send nor look for lists touches what lies there."""
    (tmp_path / "drop/.counterflow").unlink()
    for act in (connector.probe(BATCH, all_known), connector.deliver(BATCH), connector.pull()):
        with pytest.raises(TargetAway, match="not there"):
            await act
    assert list((tmp_path / "drop/out").iterdir()) == []


@pytest.mark.parametrize(("step", "failure"), [("fsync", TargetAway), ("replace", NoAnswer)])
async def test_a_disk_that_fails_is_told_by_what_may_have_arrived(
    connector: DropFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    failure: type[Exception],
):
    """A full disk before the rename means that nothing was sent; a failing rename leaves it open."""

    class Failing:
        def __getattr__(self, name: str) -> Any:
            return self.fail if name == step else getattr(os, name)

        def fail(self, *_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(outgoing, "os", Failing())
        with pytest.raises(failure, match="No space left"):
            await connector.deliver(BATCH)
    assert list((tmp_path / "drop/out").glob("*.ndjson")) == []
    assert await connector.probe(BATCH, all_known) == frozenset()
    await connector.deliver(BATCH)
    assert len(list((tmp_path / "drop/out").iterdir())) == 1


async def test_settings_that_cannot_work_are_refused_before_anything_is_enabled(tmp_path: Path):
    """A relative path, or a place where no folder can be made, is told with its reason."""
    (tmp_path / "file").write_text("x")
    for folder in (Path("drop"), tmp_path / "file"):
        with pytest.raises(ConfigError, match="drop folder"):
            await DropFolder("erp", DropFolderSettings(folder=folder), ManualClock()).prepare()


async def test_a_check_makes_nothing(connector: DropFolder, tmp_path: Path):
    """Enabled again while its share is not mounted: the integration is refused, and nothing is made in its place."""
    (tmp_path / "drop/.counterflow").unlink()
    (finding,) = await connector.check()
    assert not finding.ok
    assert "mount" in finding.detail
    assert not (tmp_path / "drop/.counterflow").exists()


def mapped(number: int, record: dict[str, Any]) -> Delivery:
    return delivery(number)._replace(target="file", record=record)


async def test_mapped_records_go_out_in_the_other_systems_own_form(tmp_path: Path):
    """CSV as its import wants it, nothing of ours in it; what was delivered is known from the keys beside it."""
    settings = DropFolderSettings.model_validate(
        {
            "folder": tmp_path,
            "out": {"form": "csv", "delimiter": ";", "encoding": "cp1251"},
            "columns": ["no"],
        }
    )
    one = DropFolder("erp", settings, ManualClock())
    await one.prepare()
    batch = Batch(
        BATCH_ID, (mapped(1, {"name": "Молоко", "no": 1}), mapped(2, {"name": "牛奶"}), mapped(3, {"no": 3}))
    )
    assert await one.probe(batch, all_known) == frozenset()
    answer = await one.deliver(batch)
    assert list(answer.rejected) == [batch.deliveries[1].key]
    placed = tmp_path / "out" / f"{BATCH_ID}.csv"
    assert placed.read_bytes().decode("cp1251") == "no;name\n1;Молоко\n3;\n"
    # What did not fit is not taken for delivered, neither by this batch nor by one that a restored centre makes.
    went = {batch.deliveries[0].key, batch.deliveries[2].key}
    assert await one.probe(batch, all_known) == went
    again = Batch(BATCH_ID.replace("0123", "9999"), batch.deliveries)
    assert await one.probe(again, all_forgotten) == went
    placed.rename(tmp_path / "taken" / placed.name)
    assert await one.probe(batch, all_known) == went
    (tmp_path / "keys" / BATCH_ID).unlink()
    with pytest.raises(TargetDenies, match="is missing"):
        await one.probe(batch, all_known)


async def test_mapped_records_are_lines_with_their_key_where_nothing_else_is_said(
    connector: DropFolder, tmp_path: Path
):
    await connector.deliver(Batch(BATCH_ID, (mapped(1, {"sum": Decimal("1.50")}), delivery(2))))
    first, second = (tmp_path / "drop/out" / f"{BATCH_ID}.ndjson").read_bytes().splitlines()
    assert first.endswith(b',"record":{"sum":1.50}}')
    assert b'"document":' in second
