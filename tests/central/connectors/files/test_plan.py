"""Which files are read: laws over any folder, and names that state fields."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central.connectors.files.names import NamePattern
from central.connectors.files.plan import Chosen, Seen, choose, read_place, settled, shrunk, write_place
from shared.errors import BadInput


def seen(number: int, *, full: bool = False, size: int = 100, store: str = "1") -> Seen:
    name = f"{'full' if full else 'changes'}-{store}-{number:03}"
    return Seen(name, size, (number, name), full, {"store": store})


files = st.lists(
    st.builds(
        seen,
        st.integers(0, 30),
        full=st.booleans(),
        size=st.integers(0, 3),
        store=st.sampled_from(["1", "2"]),
    ),
    unique_by=lambda one: one.name,
    max_size=12,
)
places = st.none() | st.integers(0, 30).map(lambda number: (number, "m"))


def values(chosen: list[Chosen]) -> dict[str, int]:
    """Which file said the newest word of each shop, when these are read one after the other."""
    newest: dict[str, int] = {}
    for one in chosen:
        for file in (*one.full, *one.changes):
            assert isinstance(file.place[0], int)
            newest[file.fields["store"]] = file.place[0]
    return newest


@given(files, st.integers(0, 30))
def test_two_runs_read_what_one_would(folder: list[Seen], border: int):
    """Whatever came before the first run and after it: both together lead to the newest word, and nothing is unread."""
    early = [one for one in folder if one.place[0] <= border]
    first = choose(early, None, ["store"])
    second = choose(folder, first.place, ["store"])
    at_once = choose(folder, None, ["store"])
    assert values([first, second]) == values([at_once])
    read = {one.name for part in (first, second) for one in (*part.full, *part.changes)}
    assert {one.name for one in (*at_once.full, *at_once.changes)} <= read
    assert choose(folder, second.place, ["store"]) == Chosen([], [], second.place)


@given(files, places)
def test_changes_before_a_full_list_are_not_read(folder: list[Seen], since: tuple[int, str] | None):
    """A full list stands for all before it; what is read comes in order, each file once."""
    chosen = choose(folder, since, ["store"])
    full = {one.fields["store"]: one.place for one in chosen.full}
    assert len(full) == len(chosen.full)
    assert all(one.place > full.get(one.fields["store"], (-1, "")) for one in chosen.changes)
    assert [one.place for one in chosen.changes] == sorted(one.place for one in chosen.changes)
    assert since is None or all(one.place > since for one in (*chosen.full, *chosen.changes))


def test_what_follows_a_file_that_is_being_written_waits_for_it():
    """A cursor behind an unfinished file would leave it out for ever."""
    first = [seen(1), seen(2, size=10), seen(3)]
    assert settled(first, [seen(1), seen(2, size=20), seen(3)]) == [seen(1)]
    assert settled(first, [seen(1), seen(3)]) == [seen(1), seen(3)]
    assert settled([], [seen(1)]) == []


def test_a_full_list_that_shrank_is_told():
    """Half an export is more likely than a shop that lost half its goods."""
    folder = [seen(1, full=True, size=1_000), seen(2, full=True, size=400), seen(2, full=True, store="2")]
    chosen = choose(folder, None, ["store"])
    assert "full-1-002 has 400 bytes, full-1-001 before it 1,000" in (
        shrunk(folder, chosen, ["store"], 50) or ""
    )
    assert shrunk(folder, chosen, ["store"], 40) is None


def test_a_name_states_fields():
    """Fields stand between the signs that part names; stars and question marks are any text."""
    pattern = NamePattern("PriceFull{chain}-{store}-{stamp}.xml*")
    assert pattern.read("PriceFull7290027600007-413-202608090300.xml.gz") == {
        "chain": "7290027600007",
        "store": "413",
        "stamp": "202608090300",
    }
    assert pattern.read("Price7290027600007-413-202608090300.xml") is None
    assert NamePattern("stock-??.csv").read("stock-17.csv") == {}


@pytest.mark.parametrize("text", ["", "a/b", "..\\x", "{Store}.csv", "{a}-{a}.csv", "*" * 11])
def test_what_is_no_pattern_is_refused(text: str):
    with pytest.raises(ValueError, match=r"pattern|field"):
        NamePattern(text)


def test_a_place_is_read_back():
    for place in ((1_790_000_000_000_000_000, "Ä-1.csv"), ("202608", "b")):
        assert read_place(write_place(place)) == place
    with pytest.raises(BadInput, match="no place among files"):
        read_place("17")
