"""The feed: the strongest row for each key, in pages of any size, and never a lost row."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from central.catalog import feed as module
from central.catalog.feed import Feed, read_cursor, write_cursor
from central.catalog.publish import Publisher
from central.db.database import Database
from shared.canonical import canonical, parse_object
from shared.errors import BadInput
from tests.support.catalog import Chain, gone, open_database, product

SHOP = "shop"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with open_database(database_url) as opened:
        chain = Chain(opened)
        await chain.group("G", priority=1, price_list="P2")
        await chain.consumer(SHOP, await chain.store("S1", price_list="P1"), ["G"])
        yield opened


class Consumer:
    """A client that keeps what it got."""

    def __init__(self, feed: Feed, limit: int = 1_000) -> None:
        self.feed = feed
        self.limit = limit
        self.cursor: str | None = "start"
        self.rows: dict[str, str] = {}
        self.resets = 0
        self.items = 0

    async def catch_up(self) -> None:
        more = True
        while more:
            page = parse_object(canonical(await self.feed.page(SHOP, "product", self.cursor, self.limit)))
            if page["reset"]:
                self.rows.clear()
                self.resets += 1
            for item in page["items"]:
                if item["deleted"]:
                    self.rows.pop(item["key"], None)
                else:
                    self.rows[item["key"]] = item["data"]["name"]
            self.items += len(page["items"])
            self.cursor, more = page["cursor"], page["more"]


async def test_the_strongest_scope_wins_and_gives_way_again(database: Database) -> None:
    """A store's own row hides the group's and base's; when it goes the next one shows."""
    publisher, consumer = Publisher(database), Consumer(Feed(database))
    await publisher.publish(
        {
            "base": [product("A", "base")],
            "group/G": [product("A", "group")],
            "store/S1": [product("A", "store")],
            "store/S2": [product("A", "foreign"), product("B", "foreign")],
        }
    )
    await consumer.catch_up()
    assert consumer.rows == {"A": "store"}
    await publisher.publish({"store/S1": [gone("A")]})
    await consumer.catch_up()
    assert consumer.rows == {"A": "group"}
    await publisher.publish({"group/G": [gone("A")], "base": [gone("A")]})
    await consumer.catch_up()
    assert consumer.rows == {}


@pytest.mark.parametrize("limit", [1, 3, 1_000])
async def test_pages_of_any_size_give_the_same_rows(database: Database, limit: int) -> None:
    """Paging over several scopes loses no row and ends."""
    publisher, consumer = Publisher(database), Consumer(Feed(database), limit)
    await publisher.publish(
        {
            "base": [product(f"P{n}", "base") for n in range(7)],
            "store/S1": [product(f"P{n}", "store") for n in range(5, 9)],
            "pricelist/P2": [product("Q", "list")],
        }
    )
    await consumer.catch_up()
    expected = {f"P{n}": "base" for n in range(5)} | {f"P{n}": "store" for n in range(5, 9)} | {"Q": "list"}
    assert consumer.rows == expected
    await publisher.publish({"base": [gone("P0"), gone("P6"), product("P1", "new")]})
    await consumer.catch_up()
    del expected["P0"]
    assert consumer.rows == expected | {"P1": "new"}
    assert consumer.resets == 0


async def test_a_page_is_bounded_by_bytes(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large rows come in more pages, one at least in each."""
    monkeypatch.setattr(module, "PAGE_MAX_BYTES", 300)
    await Publisher(database).publish({"base": [product(f"P{n}", "x" * 200) for n in range(5)]})
    consumer = Consumer(Feed(database))
    page = await consumer.feed.page(SHOP, "product", None, 1_000)
    assert (len(page["items"]), page["more"]) == (1, True)
    await consumer.catch_up()
    assert len(consumer.rows) == 5


async def test_what_was_deleted_before_is_no_news_to_a_new_consumer(database: Database) -> None:
    """A first list holds live rows only."""
    publisher, consumer = Publisher(database), Consumer(Feed(database))
    await publisher.publish({"base": [product("A"), product("B")]})
    await publisher.publish({"base": [gone("A")]})
    await consumer.catch_up()
    assert (consumer.rows, consumer.items) == ({"B": "thing"}, 1)


async def test_a_new_generation_resets(database: Database) -> None:
    """After a restore the consumer is told to forget what it has, and gets the whole list."""
    publisher, consumer = Publisher(database), Consumer(Feed(database))
    await publisher.publish({"base": [product("A")]})
    await consumer.catch_up()
    consumer.rows["ghost"] = "from before the restore"
    await publisher.new_gens()
    await consumer.catch_up()
    assert (consumer.rows, consumer.resets) == ({"A": "thing"}, 1)


async def test_leaving_a_group_resets(database: Database) -> None:
    """Rows of a scope that the consumer no longer reads must go."""
    publisher, consumer = Publisher(database), Consumer(Feed(database))
    await publisher.publish({"base": [product("A")], "group/G": [product("B")]})
    await consumer.catch_up()
    assert set(consumer.rows) == {"A", "B"}
    await Chain(database).set_groups(SHOP, [])
    await consumer.catch_up()
    assert (set(consumer.rows), consumer.resets) == ({"A"}, 1)


@pytest.mark.parametrize("cursor", ["", "%%%", "bm90", "W10", "WyJwcm9kdWN0IiwxXQ", "x" * 1_000])
def test_a_cursor_of_somebody_else_is_refused(cursor: str) -> None:
    """Only what the feed gave is taken as a cursor."""
    with pytest.raises(BadInput, match="cursor"):
        read_cursor(cursor, "product")


def test_a_cursor_is_of_one_entity() -> None:
    """A cursor of products says nothing of prices."""
    cursor = write_cursor("product", {"base": ("00" * 16, 5)})
    assert read_cursor(cursor, "product") == {"base": ("00" * 16, 5)}
    with pytest.raises(BadInput, match='of "product"'):
        read_cursor(cursor, "price")
