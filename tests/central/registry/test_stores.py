"""What HQ does to stores, groups and stations."""

from __future__ import annotations

from pathlib import Path

import pytest

from central.centre import Centre
from central.db import registry as registry_rows
from central.registry.import_csv import parse
from shared.errors import BadInput, Conflict, NotAllowed, NotFound
from tests.support.centre import HandStation, open_centre
from tests.support.hq import push, report, sell
from tests.support.yardstick_sales import documents

DAY_S = 86_400


async def furnish(centre: Centre) -> None:
    """Two stores and two groups."""
    for code in ("S1", "S2"):
        await centre.registry.add_store(
            code, name=code, zone="Europe/Paris", currency="EUR", price_list=None, who="test"
        )
    for code in ("G1", "G2"):
        await centre.registry.add_group(code, name=code, priority=0, price_list=None, who="test")


async def station_row(centre: Centre, code: str) -> registry_rows.Any:
    async with centre.database.read() as connection:
        return await registry_rows.station_by_code(connection, code)


async def import_list(centre: Centre, text: str, *, dry_run: bool = False) -> list[tuple[str, str, bool]]:
    listed, errors = parse(text.encode())
    done = await centre.registry.import_stations(listed, errors, valid_s=DAY_S, dry_run=dry_run, who="test")
    return [(row.code, row.result, row.enrolment_code is not None) for row in done]


async def test_two_hundred_stations_come_from_one_list_with_a_code_each(
    database_url: str, tmp_path: Path
) -> None:
    """One list makes all stations, and every code enrols its own station."""
    async with open_centre(database_url, tmp_path) as centre:
        await furnish(centre)
        listed, errors = parse(
            ("code,store,groups\n" + "".join(f"T-{n},S{n % 2 + 1},G1\n" for n in range(200))).encode()
        )
        done = await centre.registry.import_stations(listed, errors, valid_s=DAY_S, dry_run=False, who="test")
        assert len({row.enrolment_code for row in done}) == 200
        code = done[7].enrolment_code
        assert code is not None
        await HandStation("T-7").enroll(centre, code)
        assert (await station_row(centre, "T-7")).state == "active"
        assert (await station_row(centre, "T-8")).state == "new"


async def test_one_wrong_line_imports_nothing(database_url: str, tmp_path: Path) -> None:
    """All faults of all lines are told, and no station was made."""
    async with open_centre(database_url, tmp_path) as centre:
        await furnish(centre)
        with pytest.raises(BadInput) as refusal:
            await import_list(centre, "code,store,groups\nT-1,S1,\nT-2,S9,G1 G9\nT 3,S8,\n")
        found = {(row["line"], row["column"], row["value"]) for row in refusal.value.extra["rows"]}
        assert found == {(3, "store", "S9"), (3, "groups", "G9"), (4, "code", "T 3"), (4, "store", "S8")}
        assert await station_row(centre, "T-1") is None


async def test_the_same_list_again_draws_new_codes_for_who_is_not_enrolled(
    database_url: str, tmp_path: Path
) -> None:
    """What is printed last counts: the code of the first list opens nothing any more."""
    async with open_centre(database_url, tmp_path) as centre:
        await furnish(centre)
        text = "code,store,groups\nT-1,S1,G1\nT-2,S1,G1\n"
        listed, _ = parse(text.encode())
        first = await centre.registry.import_stations(listed, [], valid_s=DAY_S, dry_run=False, who="test")
        codes = [row.enrolment_code or "" for row in first]
        await HandStation("T-1").enroll(centre, codes[0])
        assert await import_list(centre, text) == [
            ("T-1", "already enrolled", False),
            ("T-2", "new code", True),
        ]
        with pytest.raises(NotAllowed, match="not known"):
            await HandStation("T-2").enroll(centre, codes[1])


async def test_a_list_that_contradicts_what_is_there_is_refused(database_url: str, tmp_path: Path) -> None:
    """An import never moves a station; it says to do that on purpose."""
    async with open_centre(database_url, tmp_path) as centre:
        await furnish(centre)
        await import_list(centre, "code,store,groups\nT-1,S1,G1\n")
        with pytest.raises(BadInput) as refusal:
            await import_list(centre, "code,store,groups\nT-1,S2,G2\n")
        assert [row["column"] for row in refusal.value.extra["rows"]] == ["store", "groups"]


async def test_a_dry_run_changes_nothing(database_url: str, tmp_path: Path) -> None:
    """It says what would happen."""
    async with open_centre(database_url, tmp_path) as centre:
        await furnish(centre)
        assert await import_list(centre, "code,store\nT-1,S1\n", dry_run=True) == [("T-1", "created", False)]
        assert await station_row(centre, "T-1") is None


async def test_a_station_with_a_backlog_is_not_moved_by_mistake(database_url: str, tmp_path: Path) -> None:
    """Documents not sent yet would count to the new store; --force moves all the same."""
    async with open_centre(database_url, tmp_path) as centre:
        await furnish(centre)
        await sell(centre, "T-1", 1)
        await report(centre, "T-1", backlog=3)
        with pytest.raises(Conflict, match="3 documents"):
            await centre.registry.move_station("T-1", "S2", force=False, who="test")
        await centre.registry.move_station("T-1", "S2", force=True, who="test")
        assert (await station_row(centre, "T-1")).store == "S2"


async def test_what_changes_a_stations_catalog_also_pokes_it(database_url: str, tmp_path: Path) -> None:
    """Store, group and price list changes are seen at once."""
    async with open_centre(database_url, tmp_path) as centre:
        await furnish(centre)
        await import_list(centre, "code,store,groups\nT-1,S1,G1\nT-2,S2,G2\n")
        registry = centre.registry
        await registry.change_store("S1", {"price_list": "RETAIL"}, who="test")
        await registry.change_group("G1", {"priority": 7}, who="test")
        await registry.change_groups("T-1", ["G2"], ["G1"], who="test")
        await registry.move_station("T-1", "S2", force=False, who="test")
        assert (await station_row(centre, "T-1")).poke == 4
        assert (await station_row(centre, "T-2")).poke == 0
        assert await registry.poke(station=None, store=None, group=None, who="test") == 2


async def test_release_applies_what_was_held_and_forgets_who_was_current(
    database_url: str, tmp_path: Path
) -> None:
    """After a quarantine both branches count, and the next session is no reason for another one."""
    async with open_centre(database_url, tmp_path) as centre:
        first = await sell(centre, "T-1", 2)
        clone = HandStation("T-1")
        clone.new_epoch(b"\x02" * 16)
        await clone.sign_in(centre)
        assert (await first.sign_in(centre)).quarantined
        await clone.sign_in(centre)
        await push(centre, clone, list(documents(3, "T-1", start=100)))
        assert await centre.applier.drain() == 0
        released = await centre.registry.release_station("T-1", who="test")
        assert (released.was_quarantined, released.documents) == (True, 3)
        assert (await station_row(centre, "T-1")).poke == 1, "it reads back at once what it did not know"
        assert await centre.applier.drain() == 3
        assert not (await clone.sign_in(centre)).quarantined
        again = await centre.registry.release_station("T-1", who="test")
        assert (again.was_quarantined, again.documents) == (False, 0)


async def test_a_revoked_station_comes_back_with_a_new_machine_only(
    database_url: str, tmp_path: Path
) -> None:
    """Its old key stays outside for ever; what it sent stays."""
    async with open_centre(database_url, tmp_path) as centre:
        stolen = await sell(centre, "T-1", 1)
        await centre.registry.revoke_station("T-1", who="test")
        with pytest.raises(NotAllowed, match="revoked"):
            await stolen.sign_in(centre)
        code = await centre.registry.reinstate_station("T-1", valid_s=DAY_S, who="test")
        with pytest.raises(NotAllowed):
            await stolen.enroll(centre, code)
        machine = HandStation("T-1", seed=2)
        machine.new_epoch(b"\x03" * 16)
        await machine.enroll(centre, code)
        assert not (await machine.sign_in(centre)).quarantined
        with pytest.raises(NotAllowed):
            await stolen.sign_in(centre)


async def test_names_of_nothing_and_names_taken_are_told(database_url: str, tmp_path: Path) -> None:
    """Each refusal names what is not there or is there already."""
    async with open_centre(database_url, tmp_path) as centre:
        await furnish(centre)
        registry = centre.registry
        with pytest.raises(NotFound, match='store "S9"'):
            await registry.add_station("T-1", store="S9", groups=[], name="", valid_s=DAY_S, who="test")
        with pytest.raises(NotFound, match='group "G9"'):
            await registry.add_station("T-1", store="S1", groups=["G9"], name="", valid_s=DAY_S, who="test")
        with pytest.raises(Conflict, match='store "S1"'):
            await registry.add_store("S1", name="", zone="UTC", currency="EUR", price_list=None, who="test")
        with pytest.raises(BadInput, match="not a time zone"):
            await registry.add_store(
                "S3", name="", zone="Mars/Olympus", currency="EUR", price_list=None, who="test"
            )
        with pytest.raises(BadInput, match="not a currency"):
            await registry.change_store("S1", {"currency": "euro"}, who="test")
