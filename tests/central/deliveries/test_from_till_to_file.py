"""The whole upward line within one centre: pushed by a station, applied, and in a file byte for byte."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import orjson
import pytest

from central.centre import Centre
from central.db import integrations
from central.integrations.definition import Deliver
from central.server import running
from shared.canonical import canonical
from shared.ids import uuid7
from tests.support.centre import enrolled, open_centre

DEADLINE_S = 30


def doc_id(number: int) -> str:
    return str(uuid7(1_790_000_000_000 + number, bytes(10)))


def sale(number: int, kind: str = "sale", sign: int = 1, **fields: object) -> tuple[bytes, bytes]:
    """Header and payload as an agent seals them, with a field that the centre does not know."""
    header = {
        "doc_id": doc_id(number),
        "kind": kind,
        "version": 1,
        "time": "2026-11-21T10:00:00Z",
        "zone": "Europe/Paris",
        "boot": "b",
        "tick_ms": number,
        "offset_ms": 0,
        "business_date": "2026-11-21",
        "number": f"T-1-{number}",
        "refs": [fields["cancels"]] if "cancels" in fields else [],
        "store": "S-then",
    }
    payload = {
        "currency": "EUR",
        "lines": [
            {
                "n": 1,
                "product": "Молоко",
                "quantity": str(sign),
                "price_minor": 250,
                "amount_minor": 250 * sign,
            }
        ],
        "payments": [{"n": 1, "type": "CASH", "amount_minor": 250 * sign}],
        "total_minor": 250 * sign,
        "a field of tomorrow": [1, {"z": None}],
        **fields,
    }
    return canonical(header), canonical(payload)


def lines_in(folder: Path) -> list[bytes]:
    return [line for path in sorted(folder.glob("out/*.ndjson")) for line in path.read_bytes().splitlines()]


async def read_out(centre: Centre, folder: Path, count: int) -> list[bytes]:
    """The lines of all files, once there are so many."""
    until = time.monotonic() + DEADLINE_S
    lines: list[bytes] = []
    while len(lines) < count:
        assert time.monotonic() < until, f"{len(lines)} lines of {count}"
        await asyncio.sleep(0.02)
        lines = lines_in(folder)
    return lines


async def test_a_sale_lies_in_the_file_as_the_till_sealed_it(database_url: str, tmp_path: Path):
    """Pushed as one batch, with a cancellation before its sale: both are delivered, in order, byte for byte."""
    folder = tmp_path / "drop"
    async with open_centre(database_url, tmp_path) as centre:
        await centre.integrations.create(
            "erp", "drop_folder", {"folder": str(folder)}, ["sale", "sale_cancellation"]
        )
        async with running(centre):
            station = await enrolled(centre)
            pushed = [sale(1, "sale_cancellation", -1, cancels=doc_id(2)), sale(2), sale(3)]
            await station.push(centre, pushed)
            lines = await read_out(centre, folder, 3)
    found = [orjson.loads(line) for line in lines]
    numbers = [line["number"] for line in found]
    assert sorted(numbers) == ["T-1-1", "T-1-2", "T-1-3"]
    assert numbers.index("T-1-1") > numbers.index("T-1-2")
    assert {line["delivery_key"] for line in found} == {f"erp:{doc_id(n)}:document" for n in (1, 2, 3)}
    assert {(line["station"], line["store"]) for line in found} == {("T-1", "S-then")}
    for header, payload in pushed:
        assert any(b',"header":' + header + b',"document":' + payload + b"}" in line for line in lines)


@pytest.mark.parametrize("first", ["the integration", "the sales"])
async def test_it_does_not_matter_what_was_there_first(database_url: str, tmp_path: Path, first: str):
    """Documents that were applied before the integration existed are filled in from its date on."""
    folder = tmp_path / "drop"
    async with open_centre(database_url, tmp_path) as centre, running(centre):
        station = await enrolled(centre)
        if first == "the sales":
            await station.push(centre, [sale(number) for number in range(1, 21)])
        await centre.integrations.create("erp", "drop_folder", {"folder": str(folder)}, ["sale"], from_ms=0)
        if first == "the integration":
            await station.push(centre, [sale(number) for number in range(1, 21)])
        lines = await read_out(centre, folder, 20)
    assert len({orjson.loads(line)["delivery_key"] for line in lines}) == len(lines) == 20


async def test_a_shift_lies_in_the_file_as_one_record_once_it_is_closed(database_url: str, tmp_path: Path):
    """Pushed by a station while the node runs: nothing but its own wake-ups makes the group and closes it."""
    folder = tmp_path / "drop"
    deliver = {
        "name": "shift",
        "kinds": ["sale"],
        "target": "file",
        "group": {"by": ["shift"], "close": "shift_close", "after": "1s"},
        "fields": {"n": "{{number}}", "total": "{{payload.total_minor}}", "count": "{{count}}"},
    }
    async with open_centre(database_url, tmp_path) as centre:
        one = await centre.integrations.create(
            "erp", "drop_folder", {"folder": str(folder)}, ["sale"], from_ms=0
        )
        definition = one.definition.model_copy(update={"deliver": [Deliver.model_validate(deliver)]})
        async with centre.database.write() as connection:
            await integrations.change(connection, 1, definition=definition.model_dump_json(), version=2)
        await centre.integrations.load()
        async with running(centre):
            station = await enrolled(centre)
            await station.push(centre, [sale(number, shift="7") for number in range(1, 6)])
            await station.push(centre, [sale(6, "shift_close", shift="7")])
            (line,) = await read_out(centre, folder, 1)
    assert orjson.loads(line)["record"] == {"n": f"{station.code}-7-EUR", "total": 1_250, "count": 5}
