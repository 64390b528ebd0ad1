"""Before and after a first load: what it would do is told, and what it did can be taken back (B11)."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, select

from central.db import pulls as rows
from central.db.database import Database
from central.db.metadata import metadata
from central.integrations.dry_run import dry_run
from central.integrations.undo import undo_created, undo_run
from shared.canonical import canonical
from shared.catalog.changes import Change
from shared.errors import BadInput, NotFound
from tests.central.integrations.conftest import Centre
from tests.central.integrations.test_pulls import APPLE, BREAD, CORN, PRICE, price


async def everything(database: Database) -> dict[str, Any]:
    """How many rows each table has."""
    async with database.read() as connection:
        return {
            table.name: (await connection.execute(select(func.count()).select_from(table))).scalar_one()
            for table in metadata.sorted_tables
        }


async def look(centre: Centre) -> dict[str, Any]:
    one = await centre.integrations.get("erp")
    return await dry_run(centre.ports(), one, one.definition.pull[0], centre.integrations.connector(one))


async def put(centre: Centre, key: str, **row: Any) -> None:
    change = Change("product", key, canonical({"code": key, **row}))
    await centre.publisher.publish({"base": [change]})


async def test_a_dry_run_tells_all_and_writes_nothing(any_centre: Centre):
    """New, updated, unchanged, unclear, with names, errors by field, and samples before and after."""
    centre = any_centre
    await put(centre, "A", name="Old apple")
    await put(centre, "B", name="Bread")
    centre.shop.put("products", APPLE, BREAD, CORN, {"id": 9, "code": "N", "name": ""})
    await centre.connect({"page": 2})
    before = await everything(centre.database)
    report = await look(centre)
    assert await everything(centre.database) == before
    names = ("records", "new", "updated", "unchanged", "unclear")
    assert {name: report[name] for name in names} == dict(zip(names, (4, 1, 1, 1, 1), strict=True))
    assert report["listed"]["new"] == ["C"]
    assert report["listed"]["updated"] == ["A"]
    assert report["errors"][0]["id"] == "9"
    assert report["samples"][0]["before"] == {"code": "A", "name": "Old apple"}
    assert report["samples"][0]["output"] == {"code": "A", "name": "Apple"}


async def test_a_dry_run_tells_what_would_be_absent(centre: Centre):
    """Rows that a full run would end are named."""
    centre.shop.put("prices", price(1, "P", "A"), price(2, "P", "B"))
    await centre.connect({"source": "prices", "entity": "price", "fields": PRICE})
    await centre.until_idle()
    centre.shop.remove("prices", "2")
    report = await look(centre)
    assert (report["absent"], report["absence"], len(report["listed"]["absent"])) == (1, "delete", 1)


async def test_a_first_load_is_undone(any_centre: Centre):
    """What it created is gone, what it changed is as before, and what somebody has changed since is left and told."""
    centre = any_centre
    await put(centre, "A", name="Old apple")
    centre.shop.put("products", APPLE, BREAD, CORN)
    await centre.connect({})
    await centre.until_idle()
    await put(centre, "C", name="My corn")
    run_no = (await centre.runs())[0].run_no
    report = await undo_run(centre.database, centre.publisher, centre.integrations, "erp", run_no)
    assert (report["undone"], report["left"], report["listed"]) == (2, 1, ["base product C"])
    assert await centre.catalog() == {
        "base A": {"code": "A", "name": "Old apple"},
        "base C": {"code": "C", "name": "My corn"},
    }
    assert not (await centre.integrations.get("erp")).enabled
    with pytest.raises(NotFound):
        await undo_run(centre.database, centre.publisher, centre.integrations, "erp", 77)


async def test_an_undone_load_may_be_done_again(centre: Centre):
    """The next run is full; and an undo can be undone."""
    centre.shop.put("products", APPLE)
    await centre.connect({})
    await centre.until_idle()
    run_no = (await centre.runs())[0].run_no
    await undo_run(centre.database, centre.publisher, centre.integrations, "erp", run_no)
    undo_no = (await centre.runs())[0].run_no
    await undo_run(centre.database, centre.publisher, centre.integrations, "erp", undo_no)
    assert list(await centre.catalog()) == ["base A"]
    await centre.integrations.enable("erp")
    assert (await centre.later())["full"] is True


async def test_a_run_that_changed_nothing_has_no_undo(centre: Centre):
    """It is said so instead of doing nothing."""
    await centre.connect({})
    await centre.until_idle()
    with pytest.raises(BadInput, match="changed nothing"):
        await undo_run(centre.database, centre.publisher, centre.integrations, "erp", 1)


async def test_what_was_made_over_there_is_taken_back(centre: Centre):
    """As far as the other system gives it up; what it keeps is told with its reason."""
    one = await centre.connect({})
    centre.shop.created, centre.shop.kept = ["p1", "p2"], {"p2"}
    async with centre.database.write() as connection:
        for target, ids in (("party", ["p1", "p2"]), ("colour", ["c1"])):
            await rows.note_created(
                centre.database, connection, one.integration_no, target, ids, "first load", 5
            )
    connector = centre.integrations.connector(one)
    report = await undo_created(centre.database, one, connector, 0)
    assert (report["undone"], report["left"], centre.shop.created) == (1, 2, ["p2"])
    assert {row["id"]: row["why"] for row in report["refused"]}["p2"] == "it has been used"
