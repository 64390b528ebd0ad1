"""The cross-reference: what is looked up, what is learned, and that nothing is guessed."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncConnection

from central.codes import Match, Noted, look_up, look_up_ours, miss, note
from central.codes.acts import CodeActs
from central.codes.import_csv import CodeRow, parse
from central.db import codes as rows
from central.db.database import Database
from central.mapping.lookups import LookUp, unknown
from shared.errors import BadInput, Conflict


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    await database.create()
    yield database
    await database.close()


def item(code: str, system: str = "erp", outlet: str = "") -> LookUp:
    return LookUp("item", system, code, outlet)


async def learn(database: Database, *matches: Match, system: str = "erp") -> Noted:
    async with database.write() as connection:
        return await note(database, connection, system, matches, by="pull goods")


async def theirs(database: Database, *asked: LookUp) -> dict[LookUp, str]:
    async with database.read() as connection:
        return await look_up(connection, asked)


async def ours(database: Database, *asked: LookUp) -> dict[LookUp, str]:
    async with database.read() as connection:
        return await look_up_ours(connection, asked)


async def unmatched(database: Database) -> list[tuple[str, str, int]]:
    async with database.read() as connection:
        found = await rows.list_unmatched(connection, after=0, limit=100, kind=None, system=None)
    return [(row.way, row.code, row.seen) for row in found]


async def test_a_page_is_answered_in_both_directions(database: Database) -> None:
    """What a pull learned is understood when it comes in and sent when it goes out."""
    pairs = [Match("item", f"A{n}", f"ERP-'{n}") for n in range(2_000)]
    assert await learn(database, *pairs) == (2_000, 0)
    assert await learn(database, *pairs) == (0, 0)
    assert await theirs(database, *(item(one.ours) for one in pairs)) == {
        item(one.ours): one.theirs for one in pairs
    }
    assert await ours(database, *(item(one.theirs) for one in pairs)) == {
        item(one.theirs): one.ours for one in pairs
    }
    assert (
        await theirs(database, item("A1", "crm"), item("A1", outlet="S1"), LookUp("party", "erp", "A1")) == {}
    )
    assert await theirs(database) == await ours(database) == {}


async def test_a_local_code_belongs_to_its_outlet(database: Database) -> None:
    """One item has many local codes, and the same local code is another item elsewhere."""
    await learn(
        database,
        Match("item", "A1", "17", "S1"),
        Match("item", "A1", "99", "S2"),
        Match("item", "A2", "17", "S2"),
    )
    assert await ours(database, item("17", outlet="S1"), item("17", outlet="S2"), item("17")) == {
        item("17", outlet="S1"): "A1",
        item("17", outlet="S2"): "A2",
    }
    assert await theirs(database, item("A1", outlet="S2"), item("A1")) == {item("A1", outlet="S2"): "99"}


async def test_what_was_looked_up_in_vain_is_listed_until_it_is_matched(database: Database) -> None:
    """One `set` answers it, and the reason is one and the same for all that miss a code."""
    for _ in range(3):
        async with database.write() as connection:
            await miss(database, connection, [item("A1"), item("A2")], way="out")
            await miss(database, connection, [item("X9")], way="in")
    assert await unmatched(database) == [("out", "A1", 3), ("out", "A2", 3), ("in", "X9", 3)]
    await CodeActs(database).set("erp", Match("item", "A1", "X1"), who="boss")
    await learn(database, Match("item", "A5", "X9"))
    assert await unmatched(database) == [("out", "A2", 3)]
    assert await theirs(database, item("A1")) == {item("A1"): "X1"}
    assert unknown(item("A2")) == "unknown item A2 in system erp"
    assert unknown(item("7", outlet="S1")) == "unknown item 7 of outlet S1 in system erp"


async def test_of_several_codes_none_is_guessed(database: Database) -> None:
    """They all are understood; what is sent is known once HQ says so."""
    acts = CodeActs(database)
    await learn(database, Match("item", "A1", "X1"), Match("item", "A1", "X2"))
    assert await theirs(database, item("A1")) == {}
    (found,) = await acts.doubled(limit=10)
    assert (found.ours, found.theirs) == (("A1",), ("X1", "X2"))
    await acts.set("erp", Match("item", "A1", "X2"), who="boss")
    assert await acts.doubled(limit=10) == []
    assert await theirs(database, item("A1")) == {item("A1"): "X2"}
    assert await ours(database, item("X1"), item("X2")) == {item("X1"): "A1", item("X2"): "A1"}


async def test_a_system_that_contradicts_itself_changes_nothing(database: Database) -> None:
    """What it says is listed beside what is known, until somebody decides."""
    acts = CodeActs(database)
    await learn(database, Match("item", "A1", "X1"))
    assert await learn(database, Match("item", "A2", "X1")) == (0, 1)
    assert await learn(database, Match("item", "B1", "X7"), Match("item", "B2", "X7")) == (0, 2)
    assert await ours(database, item("X1"), item("X7")) == {item("X1"): "A1"}
    assert [(one.ours, one.theirs) for one in await acts.doubled(limit=10, kind="item", system="erp")] == [
        (("A1", "A2"), ("X1",)),
        (("B1", "B2"), ("X7",)),
    ]
    await acts.set("erp", Match("item", "A2", "X1"), who="boss")
    await acts.merge("item", "B1", "B2", who="boss")
    assert await acts.doubled(limit=10) == []
    assert await ours(database, item("X1")) == {item("X1"): "A2"}


async def test_a_merge_cannot_go_in_a_circle(database: Database) -> None:
    """What was merged away has one survivor, found in one step however long the way was."""
    acts = CodeActs(database)
    await learn(database, Match("item", "A1", "X1"))
    await acts.merge("item", "A1", "A2", who="boss")
    assert await acts.merge("item", "A2", "A3", who="boss") == ("A3", 1)
    assert await acts.merge("item", "A1", "A2", who="boss") == ("A3", 0)
    for gone, into in (("A3", "A1"), ("A3", "A3")):
        with pytest.raises(BadInput, match="into itself"):
            await acts.merge("item", gone, into, who="boss")
    with pytest.raises(Conflict, match="merged into A3 already"):
        await acts.merge("item", "A1", "A9", who="boss")
    assert await theirs(database, item("A1"), item("A2"), item("A3")) == {
        item(code): "X1" for code in ("A1", "A2", "A3")
    }
    await learn(database, Match("item", "A1", "X5", "S1"))
    assert await ours(database, item("X5", outlet="S1")) == {item("X5", outlet="S1"): "A3"}


async def test_what_is_learned_while_codes_are_merged_goes_to_the_survivor(database: Database) -> None:
    """Pulls and merges of many nodes at once leave no code with what is gone."""
    acts = CodeActs(database)

    async def pull(number: int) -> None:
        async def work(connection: AsyncConnection) -> None:
            learned = [
                Match("item", f"A{number}", f"X{number}"),
                Match("item", f"A{number}", f"Y{number}", "S1"),
            ]
            await note(database, connection, "erp", learned, by="pull goods")

        await database.run(work)

    await asyncio.gather(
        *(acts.merge("item", f"A{n}", "B", who="boss") for n in range(6)), *(pull(n) for n in range(6))
    )
    found = await ours(
        database, *(item(f"X{n}") for n in range(6)), *(item(f"Y{n}", outlet="S1") for n in range(6))
    )
    assert (len(found), set(found.values())) == (12, {"B"})
    assert {row[5] for row in await _all(database)} == {"B"}


async def test_a_list_is_imported_as_a_whole_or_not_at_all(database: Database) -> None:
    """Every fault is told with its line; two codes of theirs for one of ours decide nothing."""
    acts = CodeActs(database)
    listed, errors = parse(
        b"kind;ours;system;theirs;outlet\nitem;A1;erp;X1;\nthing;A2;erp;;\nitem;A9;erp;X1;\nitem;A1;erp;1;2;3\n"
    )
    assert [(fault.line, fault.column) for fault in errors] == [
        (3, "kind"),
        (3, "theirs"),
        (4, "theirs"),
        (5, "(line)"),
    ]
    with pytest.raises(BadInput, match="nothing was imported"):
        await acts.import_list(listed, errors, dry_run=False, who="boss")
    for text, why in ((b"", "empty"), (b"kind,ours\n", "missing"), (b'kind,ours,system,theirs\n"', "line")):
        with pytest.raises(BadInput, match=why):
            parse(text)
    good = b"kind,ours,system,theirs\nitem,A1,erp,X1\nitem,A2,erp,X2\nitem,A2,erp,X3\n"
    listed, errors = parse(good)
    assert await acts.import_list(listed, errors, dry_run=True, who="boss") == 3
    assert await theirs(database, item("A1")) == {}
    for _ in range(2):
        assert await acts.import_list(listed, errors, dry_run=False, who="boss") == 3
    assert await theirs(database, item("A1"), item("A2")) == {item("A1"): "X1"}
    await acts.set("erp", Match("item", "A2", "X3"), who="boss")
    await acts.import_list(listed, [], dry_run=False, who="boss")
    assert await theirs(database, item("A2")) == {item("A2"): "X3"}


codes = st.sampled_from("abcd")
world = st.lists(
    st.tuples(codes, st.sampled_from(["erp", "crm"]), st.sampled_from(["", "S1"]), st.integers(0, 6))
)
merges = st.lists(st.tuples(codes, codes), max_size=5)


@settings(max_examples=20)
@given(world, merges)
def test_merging_loses_no_code_and_is_idempotent(
    pairs: Sequence[tuple[str, str, str, int]], done: Sequence[tuple[str, str]]
) -> None:
    """After any merges each code of theirs means the survivor of what it meant, and repeating them changes nothing."""

    async def live(folder: str) -> None:
        database = Database(f"sqlite+aiosqlite:///{Path(folder) / 'c.db'}")
        await database.create()
        acts = CodeActs(database)
        before: dict[LookUp, str] = {}
        for code, system, outlet, number in pairs:
            match = Match("item", code, str(number), outlet)
            await acts.import_list([CodeRow(1, system, match)], [], dry_run=False, who="boss")
            before[item(str(number), system, outlet)] = code
        sent = await theirs(
            database, *(item(c, s, o) for c in "abcd" for s in ("erp", "crm") for o in ("", "S1"))
        )
        survivor = {code: code for code in "abcd"}
        for gone, into in done:
            try:
                await acts.merge("item", gone, into, who="boss")
            except (BadInput, Conflict):
                continue
            target = survivor[into]
            survivor = {code: target if at == survivor[gone] else at for code, at in survivor.items()}
            state = await _all(database)
            assert await acts.merge("item", gone, into, who="boss") == (target, 0)
            assert await _all(database) == state
        assert await ours(database, *before) == {one: survivor[code] for one, code in before.items()}
        for code in "abcd":
            for one, answer in sent.items():
                # What was sent for a survivor still is, and for all that were merged into it.
                if one.code == survivor[code]:
                    asked = item(code, one.system, one.outlet)
                    assert await theirs(database, asked) == {asked: answer}
        await database.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(live(folder))


async def _all(database: Database) -> list[tuple[object, ...]]:
    async with database.read() as connection:
        found = await rows.list_matches(connection, after=0, limit=1_000)
    return [tuple(row) for row in found]
