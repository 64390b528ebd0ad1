"""Pulls: what the other system has is in the catalog, once, and nothing else has changed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from central.mapping.lookups import LookUp
from shared.canonical import canonical
from shared.catalog.changes import Change
from shared.errors import BadInput, NotFound
from tests.central.integrations.conftest import Centre

APPLE = {"id": 1, "code": "A", "name": "Apple"}
BREAD = {"id": 2, "code": "B", "name": "Bread"}
CORN = {"id": 3, "code": "C", "name": "Corn"}


async def test_the_first_run_is_full_and_later_ones_go_on(any_centre: Centre):
    """B2, B4: all comes once; then what changed, from the source's cursor."""
    centre = any_centre
    centre.shop.put("products", APPLE, BREAD)
    await centre.connect({})
    await centre.until_idle()
    assert await centre.catalog() == {
        "base A": {"code": "A", "name": "Apple"},
        "base B": {"code": "B", "name": "Bread"},
    }
    centre.shop.put("products", BREAD | {"name": "Brown bread"})
    report = await centre.later()
    assert [read.since for read in centre.shop.reads] == [None, "2"]
    assert (report["full"], report["records"], report["updated"], report["changed"]) == (False, 1, 1, 1)
    assert (await centre.catalog())["base B"]["name"] == "Brown bread"


async def test_nothing_runs_before_its_time(centre: Centre):
    """The schedule is kept; a look in between reads nothing."""
    await centre.connect({})
    assert await centre.until_idle() == 1
    centre.clock.move(60)
    assert await centre.until_idle() == 0


async def test_a_full_comparison_finds_what_a_cursor_missed(centre: Centre):
    """A record that was committed late behind the cursor comes with the daily comparison; same rows cost nothing."""
    centre.shop.put("products", APPLE, BREAD)
    await centre.connect({})
    await centre.until_idle()
    centre.shop.put("products", CORN, number=0)
    assert (await centre.later())["records"] == 0
    report = await centre.later(24 * 60)
    assert (report["full"], report["new"], report["unchanged"], report["changed"]) == (True, 1, 2, 1)


async def test_an_overlap_reads_again_and_changes_nothing(centre: Centre):
    """A cursor by time is read from before it: what was committed late is there, the rest is unchanged."""
    centre.shop.put("clocked", APPLE, BREAD)
    await centre.connect({"source": "clocked", "overlap": "10m"})
    await centre.until_idle()
    centre.shop.put("clocked", CORN, number=1)
    report = await centre.later()
    assert (report["records"], report["unchanged"], report["new"]) == (3, 2, 1)


async def test_a_cursor_never_covers_what_was_not_published(centre: Centre):
    """A run that breaks after its first page goes on from there, and nothing is missing."""
    await centre.connect({"page": 1})
    await centre.until_idle()
    centre.shop.put("products", APPLE, BREAD, CORN)
    centre.shop.script.extend(["ok", "away"])
    report = await centre.later()
    assert report["result"] == "failed"
    assert list(await centre.catalog()) == ["base A"]
    report = await centre.later(1)
    assert [read.since for read in centre.shop.reads[-2:]] == ["0", "1"]
    assert (report["result"], len(await centre.catalog())) == ("taken", 3)


@pytest.mark.parametrize("fault", ["away", "denied", "crash"])
async def test_a_fault_over_there_is_told_and_tried_again(centre: Centre, fault: str):
    """Whatever it is, the run ends with its reason, rests, and the next one succeeds."""
    centre.shop.put("products", APPLE)
    centre.shop.script.append(fault)
    await centre.connect({})
    assert await centre.until_idle() == 1
    assert (await centre.report())["result"] == "failed"
    assert (await centre.report())["what"]
    assert (await centre.later(16))["result"] == "taken"


async def test_only_owned_fields_are_written(centre: Centre):
    """B8: what the source does not own keeps what the catalog has, and an empty value clears nothing."""
    centre.shop.put("products", APPLE)
    await centre.connect({"fields": {"code": "{{ code }}", "name": "{{ name }}", "group": "{{ shop }}"}})
    mine = {"code": "A", "name": "Mine", "group": "fruit", "min_age": 18}
    await centre.publisher.publish({"base": [Change("product", "A", canonical(mine))]})
    await centre.until_idle()
    assert (await centre.catalog())["base A"] == {
        "code": "A",
        "name": "Apple",
        "group": "fruit",
        "min_age": 18,
    }


async def test_a_customer_comes_with_addresses_and_fields_of_a_chains_own(centre: Centre):
    """Nested lists are mapped element by element; a custom field of another source stays as it was."""
    row = {"code": "C1", "name": "Old", "custom": {"rating": 5, "vip": False, "note": "x"}}
    await centre.publisher.publish({"base": [Change("customer", "C1", canonical(row))]})
    places = [{"town": "Kazan", "main": True}, {"town": "Omsk", "main": False}]
    record = {"id": 1, "code": "C1", "name": "Romashka", "places": places, "vip": True, "note": ""}
    centre.shop.put("people", record)
    fields = {
        "code": "{{code}}",
        "name": "{{name}}",
        "addresses": {
            "each": "places",
            "fields": {"city": "{{town}}", "kind": {"value": "legal", "when": "main"}},
        },
        "custom": {"vip": "{{vip}}", "note": "{{note}}"},
    }
    people = {"source": "people", "entity": "customer", "fields": fields}
    await centre.connect(people)
    await centre.until_idle()
    wanted = {
        "code": "C1",
        "name": "Romashka",
        "addresses": [{"city": "Kazan", "kind": "legal"}, {"city": "Omsk"}],
        "custom": {"rating": 5, "vip": True, "note": "x"},
    }
    assert (await centre.catalog())["base C1"] == wanted
    await centre.connect(people | {"empty_clears": True})
    await centre.later()
    assert (await centre.catalog())["base C1"]["custom"] == {"rating": 5, "vip": True}


async def test_an_empty_value_clears_where_that_is_meant(centre: Centre):
    """With empty_clears a field that is empty over there becomes empty here."""
    fields = {"code": "{{ code }}", "name": "{{ name }}", "short_name": "{{ shop }}"}
    centre.shop.put("products", APPLE | {"shop": "A."})
    await centre.connect({"fields": fields, "empty_clears": True})
    await centre.until_idle()
    centre.shop.put("products", APPLE | {"shop": None})
    await centre.later()
    assert (await centre.catalog())["base A"] == {"code": "A", "name": "Apple"}


async def test_a_wrong_record_is_named_and_the_rest_is_taken(centre: Centre):
    """Each with its id and reason; its neighbours are in the catalog."""
    centre.shop.put("products", APPLE, {"id": 9, "code": "N", "name": ""}, CORN)
    await centre.connect({})
    await centre.until_idle()
    report = await centre.report()
    assert (report["taken"], report["rejected"]) == (2, 1)
    assert (report["errors"][0]["id"], report["errors"][0]["key"]) == ("9", "N")
    assert "name" in report["errors"][0]["why"]


async def test_two_records_that_make_one_row_are_told(centre: Centre):
    """They do not overwrite each other at every run: the first one is taken, the second one named."""
    centre.shop.put("products", APPLE, APPLE | {"id": 7, "name": "Other apple"})
    await centre.connect({})
    await centre.until_idle()
    report = await centre.report()
    assert (await centre.catalog())["base A"]["name"] == "Apple"
    assert "record 1 makes the same row" in report["errors"][0]["why"]


async def test_filters_statuses_and_records_without_a_code(centre: Centre):
    """S5 and filters: what is not wanted is counted and left out."""
    centre.shop.put("products", APPLE, BREAD | {"shop": "far"}, CORN | {"code": ""})
    await centre.connect({"filter": "shop != 'far'"})
    await centre.until_idle()
    report = await centre.report()
    assert (report["filtered"], report["without_code"], report["taken"]) == (1, 1, 1)


async def test_records_without_a_code_go_under_their_id(centre: Centre):
    """S5, switched on."""
    centre.shop.put("products", CORN | {"code": None})
    await centre.connect({"without_code": True})
    await centre.until_idle()
    assert list(await centre.catalog()) == ["base 3"]


async def test_local_codes_are_an_outlets(centre: Centre):
    """S1: a local code is looked up for its outlet; one that nobody knows is told."""
    centre.codes[LookUp("item", "erp", "A", "S1")] = "4711"
    centre.shop.put("products", APPLE, BREAD)
    await centre.connect({"codes": "local", "outlet": "S1"})
    await centre.until_idle()
    assert list(await centre.catalog()) == ["base 4711"]
    assert (await centre.report())["errors"][0]["id"] == "2"
    assert centre.missed == {LookUp("item", "erp", "B", "S1")}
    assert centre.learned == {("erp", "item", "4711", "1")}


PRICE = {
    "price_list": "{{ list }}",
    "product": "{{ product }}",
    "amount_minor": "{{ amount }}",
    "currency": "EUR",
}


def price(number: int, price_list: str, product: str, amount: int = 100) -> dict[str, Any]:
    return {"id": number, "list": price_list, "product": product, "amount": amount}


async def test_absence_follows_the_entitys_rule_and_only_where_something_came(centre: Centre):
    """A price that is missing ends; a shop that drops out of the day's answer keeps all it had."""
    centre.shop.put("prices", price(1, "P", "A"), price(2, "P", "B"), price(3, "Q", "A"))
    await centre.connect({"source": "prices", "entity": "price", "fields": PRICE, "full_every": "15m"})
    await centre.until_idle()
    del centre.shop.records["prices"]["2"], centre.shop.records["prices"]["3"]
    report = await centre.later()
    assert (report["absent"], report["changed"]) == (1, 1)
    assert [key.split("|")[0:2] for key in await centre.catalog()] == [
        ["pricelist/P P", "A"],
        ["pricelist/Q Q", "A"],
    ]


async def test_nothing_is_absent_while_a_record_cannot_be_read(centre: Centre):
    """A record without any key may be the one that seems to be missing."""
    centre.shop.put("prices", price(1, "P", "A"), price(2, "P", "B"))
    await centre.connect({"source": "prices", "entity": "price", "fields": PRICE, "full_every": "15m"})
    await centre.until_idle()
    del centre.shop.records["prices"]["2"]
    centre.shop.put("prices", {"id": 9, "list": "P", "product": "", "amount": 5})
    centre.shop.put("prices", {"id": 10, "product": "X", "amount": 5})
    assert (await centre.later())["absent"] == 0


async def test_a_deleted_record_is_treated_by_the_rule(centre: Centre):
    """What the source says is gone is deleted, zeroed or kept, as absence means for its entity."""
    centre.shop.put("prices", price(1, "P", "A"), price(2, "P", "B"))
    await centre.connect({"source": "prices", "entity": "price", "fields": PRICE})
    await centre.until_idle()
    centre.shop.remove("prices", "1")
    report = await centre.later()
    assert (report["deleted"], len(await centre.catalog())) == (1, 1)


async def test_a_changed_mapping_makes_all_anew(centre: Centre):
    """W9: with another mapping the next run is full; with another schedule it is not."""
    centre.shop.put("products", APPLE)
    await centre.connect({})
    await centre.until_idle()
    await centre.connect({"every": "20m"})
    assert (await centre.later(20))["full"] is False
    await centre.connect({"fields": {"code": "{{ code }}", "name": "{{ name | upper }}"}})
    assert (await centre.later())["full"] is True
    assert (await centre.catalog())["base A"]["name"] == "APPLE"


async def test_a_switch_stops_the_run_that_is_under_way(centre: Centre):
    """The old version takes no page after the switch; nothing that it took is lost."""
    centre.shop.put("products", APPLE, BREAD)
    await centre.connect({"page": 1})
    node = centre.node()

    def stop(_page: int) -> None:
        one = centre.integrations.by_number(1)
        assert one is not None
        centre.integrations._all[1] = replace(one, version=2)

    centre.shop.script.extend(["ok", stop])
    await node.step(1)
    assert (await centre.report())["result"] == "stopped"


async def test_a_run_that_a_death_ended_is_made_again_at_once(centre: Centre):
    """It is not a schedule later that the next node goes on, and nothing is missing or doubled."""
    centre.shop.put("products", APPLE, BREAD)
    await centre.connect({"page": 1, "every": "24h"})

    def die(_page: int) -> None:
        raise asyncio.CancelledError

    centre.shop.script.extend(["ok", die])
    with pytest.raises(asyncio.CancelledError):
        await centre.node().step(1)
    assert await centre.until_idle() == 1
    assert [run.result for run in await centre.runs()] == ["taken", "stopped"]
    assert len(await centre.catalog()) == 2


async def test_a_list_that_was_taken_starts_the_pulls_that_wait_for_it(centre: Centre):
    """`on = ["file"]`."""
    one = await centre.connect({"every": None, "on": ["file"]}, {"name": "other", "every": None})
    centre.clock.move(1)
    await centre.node().list_taken(one)
    assert await centre.until_idle() == 1
    assert [run.pull for run in await centre.runs()] == ["goods"]


async def test_whoever_asks_is_served_at_once(centre: Centre):
    """S6, S7: a run may be asked for at any time, full or not, pause or none."""
    await centre.connect({"every": None, "full_every": None})
    node = centre.node()
    assert await centre.until_idle(node) == 0
    centre.clock.move(1)
    assert await node.ask("erp") == ["goods"]
    assert await centre.until_idle(node) == 1
    centre.shop.put("products", APPLE)
    centre.clock.move(1)
    await node.ask("erp", "goods", full=True)
    await centre.until_idle(node)
    report = await centre.report()
    assert (report["why"], report["full"], report["new"]) == ("asked", True, 1)
    with pytest.raises(NotFound, match='no pull "nothing"'):
        await node.ask("erp", "nothing")
    await centre.integrations.disable("erp")
    with pytest.raises(BadInput, match="off"):
        await node.ask("erp")


async def test_one_run_per_pull_however_many_nodes(any_centre: Centre):
    """K8: while one node runs a pull, no other does; its load over there is that of one."""
    centre = any_centre
    centre.shop.put("products", APPLE)
    await centre.connect({})
    nodes = [centre.node(name) for name in "abc"]
    if centre.database.is_sqlite:
        nodes = nodes[:1]
    ran = await asyncio.gather(*(node.step(1) for node in nodes))
    assert max(ran) is True
    assert len(centre.shop.reads) == 1


async def test_documents_of_the_other_system_are_taken_by_their_door(centre: Centre):
    """A pull may make documents: each once under its id, statuses chosen (S2)."""
    order = {"id": 1, "status": "done", "total": 5}
    centre.shop.put("orders", order, {"id": 2, "status": "draft", "total": 7})
    pull = {
        "source": "orders",
        "document": "sale",
        "statuses": ["done"],
        "fields": {"total_minor": "{{ total }}"},
    }
    await centre.connect(pull)
    await centre.until_idle()
    assert centre.documents == {"1": {"total_minor": 5}}
    assert (await centre.report())["documents"] == {"accepted": 1}


async def test_every_page_is_counted_against_the_budget(centre: Centre):
    """Reads share the credential's budget with everything else."""
    centre.shop.put("products", APPLE, BREAD)
    await centre.connect({"page": 1})
    await centre.until_idle()
    assert centre.calls == 3
