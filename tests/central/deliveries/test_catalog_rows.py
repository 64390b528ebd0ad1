"""Rows of the catalog go out as sales do (K8): each change once, the newest word, with the states of every delivery."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central.db import stores
from central.intake.submitted import Submitted
from central.integrations.build import check_names
from central.integrations.catalog_records import record_of
from central.integrations.definition import Definition
from shared.canonical import canonical
from shared.documents import KINDS
from shared.errors import BadInput
from tests.support.centre import count, enrolled
from tests.support.foreign import add_outlet, request
from tests.support.master import CUSTOMER, Master, open_master
from tests.support.power import Power, PowerCut, PoweredDatabase
from tests.support.sales import header, payload
from tests.support.scripted_connector import SYSTEMS, ScriptedConnector

ANNA = {"code": "C1", "name": "Anna"}
BORIS = {"code": "C2", "name": "Boris"}


@pytest.fixture
async def master(database_url: str, tmp_path: Path) -> AsyncIterator[Master]:
    async with open_master(database_url, tmp_path) as master:
        yield master


async def test_all_rows_go_first_and_then_each_change(master: Master):
    """New, changed with the id from over there, deleted with what the row was; the same again is no news."""
    await master.publish("customer", ANNA, BORIS)
    await master.connect(CUSTOMER)
    first = await master.through()
    assert first == [{"code": one["code"], "name": one["name"], "change": "new"} for one in (ANNA, BORIS)]
    await master.publish("customer", ANNA | {"name": "Anne"}, BORIS)
    assert (await master.through())[2:] == [
        {"id": "ERP-1", "code": "C1", "name": "Anne", "change": "changed"}
    ]
    await master.publish("customer", deleted=["C1"])
    assert (await master.through())[3:] == [
        {"id": "ERP-3", "code": "C1", "name": "Anne", "change": "deleted"}
    ]
    await master.publish("customer", ANNA)
    assert (await master.through())[4:] == [{"id": "ERP-4", "code": "C1", "name": "Anna", "change": "new"}]
    assert await master.states() == {"done": 5}
    await master.sound()


async def test_changes_that_were_not_handed_over_count_once(master: Master):
    """While the other system is away a row changes three times: one record of it goes, with the id it had before."""
    await master.connect(CUSTOMER)
    await master.publish("customer", ANNA)
    await master.through()
    for name in ("Anne", "Annie", "Anita"):
        await master.publish("customer", ANNA | {"name": name})
        await master.follow()
    assert (await master.through())[1:] == [
        {"id": "ERP-1", "code": "C1", "name": "Anita", "change": "changed"}
    ]
    assert await master.states() == {"done": 2, "skipped": 2}
    await master.sound()


async def test_what_was_refused_does_not_keep_its_repair(master: Master):
    """The row is parked; HQ corrects it in the catalog, and the newer one goes without anybody's help."""
    await master.connect(
        CUSTOMER | {"fields": {"name": {"value": "{{payload.row.phone}}", "required": True}}}
    )
    await master.publish("customer", ANNA)
    await master.through()
    assert await master.states() == {"parked": 1}
    await master.publish("customer", ANNA | {"phone": "+7 900"})
    assert await master.through() == [{"name": "+7 900"}]
    assert await master.states() == {"parked": 1, "done": 1}


async def test_a_second_integration_gets_all_rows_too(master: Master):
    """Whenever it is connected: what the first one has got long ago is there for it."""
    await master.connect(CUSTOMER)
    await master.publish("customer", ANNA)
    await master.through()
    await master.publish("customer", ANNA | {"name": "Anne"})
    await master.through()
    await master.connect(CUSTOMER, name="crm")
    await master.follow()
    await master.runner.sweep()
    while await master.runner.step(2):
        pass
    assert [one.record for one in SYSTEMS["crm"].deliveries] == [
        {"code": "C1", "name": "Anne", "change": "changed"}
    ]
    assert await master.states(2) == {"done": 1, "skipped": 1}
    await master.sound()


async def test_a_row_stands_in_its_own_scope_unless_another_is_named(master: Master):
    """Prices of every price list go; of products only those of all shops, until a shop's own are asked for."""
    price = {"product": "A", "amount_minor": 100, "currency": "EUR"}
    await master.publish("price", price | {"price_list": "P1"}, price | {"price_list": "P2"})
    await master.publish("product", {"code": "A", "name": "Apple"})
    own = {"store/S1": [_product("A", "Apple of the shop")]}
    await master.centre.publisher.publish(own)
    goods = {
        "name": "goods",
        "entity": "product",
        "target": "orders",
        "fields": {"name": "{{payload.row.name}}"},
    }
    prices = {
        "name": "price",
        "entity": "price",
        "target": "payments",
        "fields": {"list": "{{payload.row.price_list}}"},
    }
    await master.connect(goods, prices)
    assert sorted(map(str, await master.through())) == [
        "{'list': 'P1'}",
        "{'list': 'P2'}",
        "{'name': 'Apple'}",
    ]
    await master.connect(goods | {"scope": "store/S1"}, prices)
    assert (await master.through())[3:] == [{"name": "Apple of the shop"}]
    await master.sound()


def _product(code: str, name: str) -> Any:
    from central.catalog.rows import read_row

    return read_row("product", {"code": code, "name": name}, "store/S1", deleted=False)[1]


async def test_a_scope_that_begins_anew_says_nothing_twice(master: Master):
    """After a restore scopes get new generations: rows that stayed are no news, those that are gone are told."""
    await master.connect(CUSTOMER)
    await master.publish("customer", ANNA, BORIS)
    await master.through()
    await master.centre.publisher.new_gens()
    assert len(await master.through()) == 2
    await master.publish("customer", deleted=["C2"])
    await master.centre.publisher.new_gens()
    assert (await master.through())[2:] == [
        {"id": "ERP-2", "code": "C2", "name": "Boris", "change": "deleted"}
    ]


async def test_more_rows_than_one_transaction_takes(master: Master, monkeypatch: pytest.MonkeyPatch):
    """Page by page, and what is gone too."""
    monkeypatch.setattr("central.integrations.catalog_records.TAKEN_TOGETHER_MAX", 3)
    await master.connect(CUSTOMER)
    many = [{"code": f"C{n}", "name": f"Customer {n}"} for n in range(10)]
    await master.publish("customer", *many)
    assert len(await master.through()) == 10
    await master.publish("customer", deleted=[one["code"] for one in many[:8]])
    await master.centre.publisher.new_gens()
    assert [one["change"] for one in (await master.through())[10:]] == ["deleted"] * 8
    assert await master.states() == {"done": 18}
    await master.sound()


async def test_two_nodes_and_a_death_say_each_change_once(master: Master, monkeypatch: pytest.MonkeyPatch):
    """The documents are there and the position is not: whoever goes on finds nothing new in them."""
    await master.connect(CUSTOMER)
    await master.publish("customer", ANNA)

    def dies(_name: str) -> None:
        raise ConnectionError("the power is out")

    with monkeypatch.context() as patch:
        patch.setattr("central.integrations.catalog_records.reach", dies)
        with pytest.raises(ConnectionError):
            await master.follow()
    master.clock.move(120)
    other = Master(master.centre, master.clock, node="b")
    await other.integrations.load()
    await other.follow()
    await master.follow()
    assert await count(master.centre, "documents") == 1
    assert len(await master.through()) == 1


async def test_a_row_that_has_arrived_wakes_what_waited_for_its_code(master: Master):
    """An order waits for its customer; the export of the customer answers with the code that the order needs."""
    order = {
        "name": "order",
        "kinds": ["sale"],
        "target": "orders",
        "fields": {"party": {"ref": "party", "value": "{{payload.x_customer}}", "required": True}},
    }
    await master.connect(CUSTOMER | {"codes": "party"}, order)
    station = await enrolled(master.centre)
    sold = canonical(header(1)), canonical(payload(x_customer="C1"))
    await station.push(master.centre, [sold])
    assert await master.through() == []
    assert await master.states() == {"waiting": 1}
    await master.publish("customer", ANNA)
    assert (await master.through())[1:] == [{"party": "ERP-1"}]
    await master.sound()


async def test_a_power_cut_between_any_two_commits_neither_loses_nor_doubles(master: Master):
    """Cut after the n-th commit, for every n; another process goes on: each change is said once and arrives once."""
    await master.connect(CUSTOMER)
    database, centre = master.centre.database, master.centre
    assert isinstance(database, PoweredDatabase)
    cuts, is_out = 0, True
    while is_out:
        await master.publish("customer", ANNA | {"name": f"Anna {cuts}"}, {"code": f"D{cuts}", "name": "D"})
        database.power = Power(cuts)
        life = Master(centre, master.clock)
        await life.integrations.load()
        try:
            await life.through()
            is_out = False
        except PowerCut:
            cuts += 1
        finally:
            database.power = None
        master.clock.move(120)
        next_life = Master(centre, master.clock)
        await next_life.integrations.load()
        records = await next_life.through()
        assert [one["name"] for one in records if one["code"] == "C1"][-1] == f"Anna {cuts - is_out}"
        assert (
            len(records) == len({(one["code"], one["name"]) for one in records}) == 2 * (cuts + (not is_out))
        )
        assert await count(centre, "documents") == len(records)
    assert cuts > 10
    await master.sound()


async def test_a_lost_answer_doubles_no_row(master: Master):
    """The other system is asked before it is sent again, as with any document."""
    await master.connect(CUSTOMER)
    await master.publish("customer", ANNA)
    master.system.script.append("lost")
    await master.through()
    master.clock.move(60)
    assert len(await master.through()) == 1
    await master.publish("customer", ANNA | {"name": "Anne"})
    assert (await master.through())[1]["id"] == "ERP-1"


async def test_only_the_centre_says_what_is_in_its_catalog(master: Master):
    """A till that hands in what looks like a row is not believed: it is parked, and nothing goes out."""
    await master.connect(CUSTOMER)
    station = await enrolled(master.centre)
    row = {
        "entity": "customer",
        "scope": "base",
        "key": "C1",
        "change": "new",
        "row": {"code": "C1", "name": "X"},
    }
    await station.push(master.centre, [(canonical(header(1, kind="customer_record")), canonical(row))])
    assert await master.through() == []
    assert await master.states() == {"parked": 1}


async def test_the_centres_desk_is_no_shop(master: Master):
    """Nobody meets it in the list of stores, and its documents bear no store."""
    await master.connect(CUSTOMER)
    await master.publish("customer", ANNA)
    await master.through()
    async with master.centre.database.read() as connection:
        assert await stores.list_stores(connection) == []
        assert await stores.store_by_code(connection, "@") is None
    (sent,) = master.system.deliveries
    assert (sent.kind, sent.number, sent.station) == ("customer_record", "C1", "@catalog")


@pytest.mark.parametrize(
    ("deliver", "told"),
    [
        ({"fields": {"a": "{{payload.row.nmae}}"}}, 'did you mean "name"'),
        ({"fields": {"a": {"each": "payload.row.contacts", "value": "{{phnoe}}"}}}, 'did you mean "phone"'),
        ({"split": "payload.row.contcts"}, 'did you mean "contacts"'),
    ],
)
def test_a_mapping_is_checked_against_the_entity(deliver: dict[str, Any], told: str):
    written = {"name": "erp", "connector": "scripted", "deliver": [CUSTOMER | deliver]}
    with pytest.raises(BadInput, match=told):
        check_names(ScriptedConnector, Definition.model_validate(written))


@pytest.mark.parametrize(
    ("deliver", "told"),
    [
        ({"entity": "custmer"}, "no entity of the catalog"),
        ({"kinds": ["sale"]}, "either the kinds of documents or an entity"),
        ({"entity": None}, "either the kinds of documents or an entity"),
        ({"entity": None, "kinds": ["sale"], "scope": "base"}, "scope and codes belong to an entity"),
        ({"statuses": ["new"]}, "have no status"),
        ({"codes": "party", "split": "payload.row.contacts"}, "leave codes or split out"),
        ({"kinds": ["customer_record"], "entity": None}, "no kind of document"),
    ],
)
def test_what_a_deliver_names_fits_together(deliver: dict[str, Any], told: str):
    with pytest.raises(ValueError, match=told):
        Definition.model_validate({"name": "erp", "connector": "scripted", "deliver": [CUSTOMER | deliver]})


rows_seen = st.none() | st.sampled_from([{"code": "C1", "name": name} for name in "AB"])


@given(st.lists(rows_seen, max_size=12))
def test_what_is_said_of_a_row_leads_to_what_it_is(looks: list[dict[str, Any] | None]):
    """Whatever is seen at each look: the newest word agrees with it, and nothing is said that was said before."""
    said: list[dict[str, Any]] = []
    for row in looks:
        before = said[-1] if said else None
        record = record_of("customer", "base", "C1", row, before, is_named=False)
        if record is not None:
            said.append(record.model_dump())
            assert before is None or (before["change"] == "deleted") == (record.change == "new")
        newest = said[-1] if said else None
        there = newest["row"] if newest and newest["change"] != "deleted" else None
        assert there == row
        assert record_of("customer", "base", "C1", row, newest, is_named=False) is None


async def test_no_other_door_takes_rows(master: Master):
    """Neither a posted document nor a till's own door knows these kinds."""
    await add_outlet(master.centre)
    posted = request("C1")._replace(submitted=Submitted(kind="customer_record", number="C1", payload={}))
    with pytest.raises(BadInput, match="is not known here"):
        await master.centre.foreign.take(posted)
    assert "customer_record" not in KINDS
