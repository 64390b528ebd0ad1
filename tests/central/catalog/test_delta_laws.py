"""I14: the changes from a to c are those from a to b and then from b to c, and both are the snapshot at c."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from central.catalog.changes import Pages
from central.catalog.publish import Publisher
from central.catalog.snapshots import Snapshots
from central.db.catalog import find_scope
from central.db.database import Database
from shared.catalog.changes import Change
from tests.support.catalog import Shelf, gone, open_database, product, unpacked
from tests.support.clock import ManualClock

KEYS = [f"P{n}" for n in range(8)]
# A publication: key -> a name, or None to delete.
publications = st.lists(
    st.dictionaries(
        st.sampled_from(KEYS), st.none() | st.sampled_from(["red", "green", "blue"]), min_size=1, max_size=6
    ),
    min_size=1,
    max_size=8,
)


def changes(publication: dict[str, str | None]) -> list[Change]:
    return [gone(key) if name is None else product(key, name) for key, name in publication.items()]


async def catch_up(database: Database, pages: Pages, scope: str, shelf: Shelf) -> None:
    while True:
        async with database.read() as connection:
            state = await find_scope(connection, scope)
        assert state is not None
        page = await pages.page(state, scope, state.gen.hex(), shelf.seq)
        if shelf.apply(unpacked(*page.packed)):
            assert shelf.digest == shelf.told
            return


def test_any_way_to_a_head_ends_in_the_same_rows(tmp_path: Path) -> None:
    """Stations that looked at different heads, in pages of any size, and one that took the snapshot hold the same."""
    numbers = itertools.count()

    with asyncio.Runner() as runner:
        opening = open_database(f"sqlite+aiosqlite:///{tmp_path / 'central.db'}")
        database = runner.run(opening.__aenter__())
        snapshots = Snapshots(database, ManualClock(), tmp_path / "snapshots", "node")

        async def example(published: list[dict[str, str | None]], looks: list[bool], rows_max: int) -> None:
            scope = f"store/S{next(numbers)}"
            pages = Pages(database, rows_max=rows_max)
            often, once, truth = Shelf(), Shelf(), dict[str, str]()
            for publication, look in zip(published, looks, strict=False):
                await Publisher(database).publish({scope: changes(publication)})
                for key, name in publication.items():
                    if name is None:
                        truth.pop(key, None)
                    else:
                        truth[key] = name
                if look:
                    await catch_up(database, pages, scope, often)
            await catch_up(database, pages, scope, often)
            await catch_up(database, pages, scope, once)
            stored = await snapshots.build(scope)
            assert stored is not None
            copied = Shelf()
            copied.load((await snapshots.file(stored.sha256))[1])
            assert often.rows == once.rows == copied.rows
            assert often.seq == once.seq == copied.seq == stored.seq
            assert often.digest == copied.digest == copied.told
            assert {key for _, key in copied.rows} == truth.keys()

        @settings(max_examples=40)
        @given(publications, st.lists(st.booleans(), min_size=8, max_size=8), st.integers(1, 5))
        def law(published: list[dict[str, str | None]], looks: list[bool], rows_max: int) -> None:
            runner.run(example(published, looks, rows_max))

        law()
        runner.run(opening.__aexit__(None, None, None))
