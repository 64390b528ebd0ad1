"""The registry of integrations: what is connected, and what the apply worker is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from central.db.database import Database
from central.integrations.registry import REFRESH_S, Integrations
from shared.errors import BadInput, Conflict, NotFound
from tests.support.clock import ManualClock
from tests.support.outgoing import open_database


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def database(database_url: str, clock: ManualClock) -> AsyncIterator[Database]:
    database = await open_database(database_url, clock)
    yield database
    await database.close()


@pytest.fixture
def folder(tmp_path: Path) -> dict[str, Any]:
    return {"folder": str(tmp_path / "drop")}


async def test_an_integration_gets_the_kinds_it_asked_for(
    database: Database, clock: ManualClock, folder: dict[str, Any], tmp_path: Path
):
    """`targets` names every enabled integration of a kind; a folder without kinds only hands lists in."""
    integrations = Integrations(database, clock)
    await integrations.load()
    assert list(integrations.targets("sale")) == []
    one = await integrations.create("erp", "drop_folder", folder, ["sale", "return"])
    await integrations.create("hq", "drop_folder", {"folder": str(tmp_path / "hq")}, [])
    assert list(integrations.targets("sale")) == [(one.integration_no, "document", "ready")]
    assert list(integrations.targets("shift_open")) == []
    assert {(one.name, one.enabled) for one in await integrations.list()} == {("erp", True), ("hq", True)}
    assert one.from_ms == clock.now_ms()
    await integrations.disable("erp")
    assert list(integrations.targets("sale")) == []


async def test_a_change_on_another_node_is_seen(
    database: Database, clock: ManualClock, folder: dict[str, Any]
):
    """What one node enables, another one delivers to after its next look."""
    import asyncio

    here, there = Integrations(database, clock), Integrations(database, clock)
    heard = asyncio.Event()
    there.listeners.append(heard.set)
    watching = asyncio.create_task(there.run())
    await asyncio.sleep(0)
    await here.create("erp", "drop_folder", folder, ["sale"])
    clock.move(REFRESH_S)
    async with asyncio.timeout(10):
        await heard.wait()
    assert list(there.targets("sale")) == [(1, "document", "ready")]
    watching.cancel()


@pytest.mark.parametrize(
    ("name", "connector", "settings", "kinds", "error"),
    [
        ("a b", "drop_folder", None, ["sale"], BadInput),
        ("a", "carrier_pigeon", None, ["sale"], BadInput),
        ("a", "drop_folder", {}, ["sale"], BadInput),
        ("a", "drop_folder", {"folder": "relative"}, ["sale"], BadInput),
        ("a", "drop_folder", None, ["sales"], BadInput),
        ("erp", "drop_folder", {"folder": "/tmp/elsewhere-{tmp}"}, ["sale"], Conflict),
        ("b", "drop_folder", None, ["sale"], Conflict),
    ],
)
async def test_what_cannot_work_is_refused(
    database: Database,
    clock: ManualClock,
    folder: dict[str, Any],
    tmp_path: Path,
    name: str,
    connector: str,
    settings: dict[str, Any] | None,
    kinds: list[str],
    error: type[Exception],
):
    """Wrong name, connector, settings or kind, a taken name, a folder that another integration uses."""
    integrations = Integrations(database, clock)
    existing = str(tmp_path / "used") if name in ("erp", "b") else str(tmp_path / "other")
    await integrations.create("erp", "drop_folder", {"folder": existing}, ["sale"])
    if settings is None:
        settings = {"folder": existing} if name == "b" else folder
    elif "tmp" in str(settings):
        settings = {"folder": str(tmp_path / "elsewhere")}
    with pytest.raises(error):
        await integrations.create(name, connector, settings, kinds)
    assert len(await integrations.list()) == 1


async def test_an_unknown_name_says_where_to_look(database: Database, clock: ManualClock):
    """Asking for an integration that is not there is answered with a hint."""
    with pytest.raises(NotFound, match="integrations list"):
        await Integrations(database, clock).get("nobody")


async def test_an_act_whose_line_in_the_trail_cannot_be_written_was_not_done(
    database: Database, clock: ManualClock, folder: dict[str, Any]
):
    """Whoever connects, stops or starts a system is named in the same transaction, or nothing happened."""

    async def refuse(*_: Any, **outcome: Any) -> None:
        raise OSError("the trail cannot be written")

    integrations = Integrations(database, clock)
    with pytest.raises(OSError, match="the trail"):
        await integrations.create("erp", "drop_folder", folder, ["sale"], audited=refuse)
    assert await integrations.list() == []
    await integrations.create("erp", "drop_folder", folder, ["sale"])
    with pytest.raises(OSError, match="the trail"):
        await integrations.disable("erp", audited=refuse)
    assert (await integrations.get("erp")).enabled
