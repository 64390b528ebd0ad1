"""Publishing: only real changes are written, all scopes at once, and head, count and digest move with the rows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import select

from central.catalog.publish import IN_A_THREAD_FROM, Complete, Publisher
from central.db.catalog import find_scope, read_page
from central.db.database import Database
from central.db.tables.catalog import publications, scope_rows
from shared.canonical import canonical, parse_object
from shared.catalog.changes import Change
from shared.clock import from_rfc3339
from shared.digest import Digest, row_hash
from shared.errors import BadInput
from tests.support.catalog import gone, open_database, product


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with open_database(database_url) as opened:
        yield opened


async def rows_of(
    database: Database, scope: str
) -> dict[tuple[str, str], tuple[int, bytes | None, bytes | None]]:
    async with database.read() as connection:
        state = await find_scope(connection, scope)
        assert state is not None
        rows = scope_rows.c
        found = await connection.execute(
            select(rows.entity, rows.key, rows.seq, rows.version, rows.payload).where(
                rows.scope_no == state.scope_no
            )
        )
        kept = {(row[0], row[1]): (row[2], row[3], row[4]) for row in found}
        digest = Digest()
        for (entity, key), (_, version, _) in kept.items():
            if version is not None:
                digest = digest.add(row_hash(entity, key, version))
        assert digest == state.digest
        return kept


async def test_rows_get_the_next_seqs_in_key_order(database: Database) -> None:
    """A publication numbers its rows on from the scope's head."""
    publisher = Publisher(database)
    first = await publisher.publish({"base": [product("B"), product("A")]})
    second = await publisher.publish({"base": [product("C")]})
    assert (first["base"].seq_from, first["base"].seq_to, first["base"].written) == (1, 2, 2)
    assert (second["base"].seq_from, second["base"].seq_to) == (3, 3)
    rows = await rows_of(database, "base")
    assert {key: seq for (_, key), (seq, _, _) in rows.items()} == {"A": 1, "B": 2, "C": 3}


async def test_what_did_not_change_is_not_published(database: Database) -> None:
    """The same list again writes nothing and moves no head."""
    publisher = Publisher(database)
    rows = [product("A"), product("B")]
    await publisher.publish({"base": rows})
    heard: list[object] = []
    publisher.listeners.append(heard.append)
    again = await publisher.publish({"base": rows})
    assert again["base"].written == 0
    assert (again["base"].seq_from, again["base"].seq_to) == (3, 2)
    assert heard == []


async def test_a_changed_row_moves_to_a_new_seq(database: Database) -> None:
    """Each key stands once in the log, at its newest seq."""
    publisher = Publisher(database)
    await publisher.publish({"base": [product("A"), product("B")]})
    await publisher.publish({"base": [product("A", "other")]})
    async with database.read() as connection:
        page = await read_page(connection, "base", 0, 10, 1 << 20)
    assert page is not None
    assert [(row.seq, row.key) for row in page.rows] == [(2, "B"), (3, "A")]
    assert page.up_to_date


async def test_a_deletion_is_a_tombstone_and_one_of_nothing_is_no_change(database: Database) -> None:
    """Deleting leaves a row without a version; deleting what is not there writes nothing."""
    publisher = Publisher(database)
    await publisher.publish({"base": [product("A"), product("B")]})
    deleted = await publisher.publish({"base": [gone("A"), gone("never")]})
    assert deleted["base"].written == 1
    rows = await rows_of(database, "base")
    assert rows["product", "A"] == (3, None, None)
    assert ("product", "never") not in rows


async def test_several_scopes_are_published_together_or_not_at_all(database: Database) -> None:
    """A failure in one scope leaves the others as they were."""
    publisher = Publisher(database)
    await publisher.publish({"base": [product("A")], "store/S1": [product("A", "here")]})
    with pytest.raises(BadInput):
        await publisher.publish({"base": [product("A", "new")], "shop/S1": [product("A", "new")]})
    assert parse_object((await rows_of(database, "base"))["product", "A"][2] or b"{}")["name"] == "thing"
    assert len(await rows_of(database, "store/S1")) == 1


async def test_the_listeners_hear_which_scopes_moved(database: Database) -> None:
    """Only scopes in which something changed are told, after the commit."""
    publisher = Publisher(database)
    await publisher.publish({"base": [product("A")]})
    heard: list[list[str]] = []
    publisher.listeners.append(lambda scopes: heard.append(list(scopes)))
    await publisher.publish({"base": [product("A")], "store/S1": [product("A")]})
    assert heard == [["store/S1"]]


async def test_a_publication_is_noted_with_its_time(database: Database) -> None:
    """A rollout counts from the moment of the publication."""
    publisher = Publisher(database)
    await publisher.publish({"base": [product("A"), product("B")]})
    await publisher.publish({"base": [product("A")]})
    async with database.read() as connection:
        noted = (await connection.execute(select(publications.c.seq, publications.c.rows))).all()
    assert [tuple(row) for row in noted] == [(2, 2)]


async def test_a_complete_list_deletes_what_it_does_not_name(database: Database) -> None:
    """Where absence means deletion, rows beyond the list are gone; other entities are not touched."""
    publisher = Publisher(database)
    other = Change("tax_rate", "A", canonical({"code": "A", "name": "VAT", "rate_bp": 2000}))
    await publisher.publish({"base": [product("A"), product("B"), product("C"), other]})
    done = await publisher.publish(
        {"base": [product("A", "new")]}, [Complete("base", "product", {"A", "B"}, absence="delete")]
    )
    assert (done["base"].written, done["base"].absent) == (2, 1)
    rows = await rows_of(database, "base")
    assert {key for (entity, key), (_, version, _) in rows.items() if entity == "product" and version} == {
        "A",
        "B",
    }
    assert rows["tax_rate", "A"][1] is not None


async def test_an_entity_has_its_own_rule_for_absence(database: Database) -> None:
    """A product that is in no list stays; a balance is zero; a price is gone."""
    publisher = Publisher(database)
    balance = Change("balance", "W|P||", canonical({"warehouse": "W", "product": "P", "quantity": "5"}))
    price = Change(
        "price",
        "L|P|||",
        canonical({"price_list": "L", "product": "P", "amount_minor": 1, "currency": "EUR"}),
    )
    await publisher.publish({"base": [product("A"), balance, price]})
    ended = [Complete("base", entity, set()) for entity in ("product", "balance", "price")]
    await publisher.publish({}, ended)
    rows = await rows_of(database, "base")
    assert rows["product", "A"][1] is not None
    assert parse_object(rows["balance", "W|P||"][2] or b"{}")["quantity"] == "0"
    assert rows["price", "L|P|||"][1] is None
    again = await publisher.publish({}, ended)
    assert again["base"].written == 0


async def test_an_absent_promotion_has_ended_and_stays_ended(database: Database) -> None:
    """It gets an end now, once; one that had ended before is left alone."""
    publisher = Publisher(database)
    running = Change("promotion", "P1", canonical({"code": "P1", "name": "x"}))
    over = Change(
        "promotion", "P2", canonical({"code": "P2", "name": "x", "valid_until": "2020-01-01T00:00:00Z"})
    )
    await publisher.publish({"base": [running, over]})
    ended = await publisher.publish({}, [Complete("base", "promotion", set())])
    assert ended["base"].written == 1
    until = parse_object((await rows_of(database, "base"))["promotion", "P1"][2] or b"{}")["valid_until"]
    assert from_rfc3339(until) > from_rfc3339("2020-01-02T00:00:00Z")
    assert (await publisher.publish({}, [Complete("base", "promotion", set())]))["base"].written == 0


async def test_a_new_gen_is_another_one_and_moves_the_head(database: Database) -> None:
    """After a restore every scope is of another generation, rows and digest as before."""
    publisher = Publisher(database)
    await publisher.publish({"base": [product("A")], "store/S1": [product("A")]})
    async with database.read() as connection:
        before = await find_scope(connection, "base")
    await publisher.new_gens()
    async with database.read() as connection:
        after = await find_scope(connection, "base")
        page = await read_page(connection, "base", 0, 10, 1 << 20)
    assert before is not None
    assert after is not None
    assert page is not None
    assert after.gen != before.gen
    assert (after.head, after.digest) == (before.head + 1, before.digest)
    assert page.up_to_date


async def test_a_page_ends_at_a_bound_of_rows_and_of_bytes(database: Database) -> None:
    """No page is larger than its bounds, one row is always taken, and the last page says so."""
    await Publisher(database).publish({"base": [product(f"{n:03}", "x" * 100) for n in range(10)]})

    async def page_of(after: int, rows_max: int, bytes_max: int) -> tuple[list[int], bool]:
        async with database.read() as connection:
            page = await read_page(connection, "base", after, rows_max, bytes_max)
        assert page is not None
        return [row.seq for row in page.rows], page.up_to_date

    assert await page_of(0, 4, 1 << 20) == ([1, 2, 3, 4], False)
    assert await page_of(6, 4, 1 << 20) == ([7, 8, 9, 10], True)
    assert await page_of(5, 4, 1 << 20) == ([6, 7, 8, 9], False)
    assert await page_of(0, 10, 300) == ([1, 2], False)
    assert await page_of(0, 10, 1) == ([1], False)
    assert await page_of(9, 10, 1) == ([10], True)
    assert await page_of(10, 10, 1) == ([], True)


async def test_a_large_list_counts_what_was_published_while_it_was_compared(database: Database) -> None:
    """What a long comparison found out is thrown away when somebody else came first."""

    class Overtaken(Publisher):
        async def _prepare(self, *given: Any) -> Any:
            plans = await super()._prepare(*given)
            await Publisher(database).publish(
                {"base": [product("P00000", "theirs"), product("other", "theirs")]}
            )
            return plans

    rows = [product(f"P{n:05}", "ours") for n in range(IN_A_THREAD_FROM)]
    publisher = Overtaken(database)
    first = await publisher.publish({"base": rows})
    assert (first["base"].seq_from, first["base"].written) == (3, len(rows))
    again = await publisher.publish(
        {"base": rows}, [Complete("base", "product", {row.key for row in rows}, "delete")]
    )
    assert (again["base"].written, again["base"].absent) == (2, 1)
    kept = await rows_of(database, "base")
    assert {row for row, (_, version, _) in kept.items() if version is not None} == {
        ("product", row.key) for row in rows
    }


async def test_a_row_that_is_named_is_never_absent(database: Database) -> None:
    """A list that names a row keeps it, also where its keys forgot it."""
    done = await Publisher(database).publish(
        {"base": [product("A")]}, [Complete("base", "product", set(), "delete")]
    )
    assert done["base"].written == 1
    again = await Publisher(database).publish(
        {"base": [product("A")]}, [Complete("base", "product", set(), "delete")]
    )
    assert again["base"].written == 0
