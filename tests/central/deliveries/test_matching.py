"""What a delivery lacks is looked for by the integration's `[[match]]`: found, made once, or put before HQ."""

from __future__ import annotations

import asyncio
import pkgutil
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from central.catalog.publish import Publisher
from central.codes import look_up
from central.codes.acts import CodeActs
from central.codes.cross_reference import Match
from central.codes.desk import PartyDesk
from central.db import leases, pulls
from central.db import parties as party_rows
from central.db.database import Database
from central.db.delivery_desk import parked_groups
from central.db.tables.codes import code_tries
from central.deliveries.matching import UNCLEAR_S, Matches
from central.deliveries.run import DeliveryRunner
from central.integrations.definition import read_definition
from central.integrations.registry import Integrations
from central.integrations.undo import undo_created
from central.mapping.lookups import LookUp
from shared.canonical import canonical
from shared.catalog.changes import Change
from shared.errors import Conflict
from tests.support.clock import ManualClock
from tests.support.directory_connector import DIRECTORY, Directory
from tests.support.outgoing import Document, add_documents, delivery_states, open_database
from tests.support.scripted_connector import SYSTEMS

INN, OTHER_INN, A, B = "7707083893", "500100732259", "770101001", "770201001"
ORDER: dict[str, Any] = {
    "name": "order",
    "kinds": ["sale"],
    "target": "orders",
    "fields": {"number": "{{number}}", "party": {"ref": "party", "value": "{{payload.customer}}"}},
}
PARTY: dict[str, Any] = {
    "kind": "party",
    "entity": "customer",
    "target": "parties",
    "tax_id": "inn",
    "branch": "kpp",
    "create": True,
    "fields": {"inn": "{{tax_id}}", "kpp": "{{tax_branch}}", "name": "{{name}}"},
}
FORM: dict[str, Any] = {
    "kind": "legal_form",
    "entity": "dictionary",
    "target": "forms",
    "field": "name",
    "create": True,
    "fields": {"name": "{{name}}"},
}


async def _granted(*_: Any) -> bool:
    return True


class Shop:
    """One centre, or some nodes of it, with one integration that matches."""

    def __init__(self, database: Database, clock: ManualClock) -> None:
        self.database = database
        self.clock = clock
        self.integrations = Integrations(database, clock, DIRECTORY)
        self.system = Directory()
        SYSTEMS["erp"] = self.system
        self.runner = DeliveryRunner(database, self.integrations, clock, node="a", rng=random.Random(1))
        self.matches = self.node("a")

    def node(self, name: str) -> Matches:
        return Matches(
            self.database,
            self.integrations,
            self.clock,
            self.runner.budgets,
            node=name,
            wake=self.runner.waits,
            found=self.runner.wake,
            rng=random.Random(1),
        )

    async def connect(self, *matching: dict[str, Any], **more: Any) -> None:
        written = {"name": "erp", "connector": "directory", "settings": {"account": "erp"}}
        stated = {"deliver": [ORDER], "match": list(matching), **more}
        await self.integrations.define(read_definition(written | stated), from_ms=0)

    async def put(self, entity: str, key: str, scope: str = "base", **row: Any) -> None:
        change = Change(entity, key, canonical(row))
        await Publisher(self.database).publish({scope: [change]})

    async def customer(self, code: str, tax_id: str = INN, **row: Any) -> None:
        told = {"code": code, "name": f"Customer {code}", "tax_id": tax_id, "country": "RU", **row}
        await self.put("customer", code, **told)

    async def sell(self, *customers: str) -> None:
        count = sum((await delivery_states(self.database)).values())
        documents = [
            Document(number, payload={"customer": code, "total_minor": 1})
            for number, code in enumerate(customers, count + 1)
        ]
        await add_documents(self.database, documents)
        await self.runner.sweep()
        await self.carry()

    async def carry(self) -> None:
        while await self.runner.step(1):
            pass

    async def look(self) -> None:
        """Match what is due, and carry what became ready."""
        await self.integrations.load()
        (one,) = await self.integrations.list()
        await self.matches.step(one)
        await self.carry()

    def sent(self) -> list[Any]:
        return [(one.number, (one.record or {}).get("party")) for one in self.system.deliveries]

    async def states(self) -> dict[str, int]:
        return await delivery_states(self.database)

    async def unclear(self) -> list[Any]:
        async with self.database.read() as connection:
            found = await party_rows.list_unclear(connection, after=0, limit=9, system=None, open_only=True)
        return [(row.party, row.why) for row in found]

    async def why(self) -> dict[str, str]:
        async with self.database.read() as connection:
            found = await connection.execute(code_tries.select())
        return {row.code: row.why for row in found}

    async def decide(self, party: str, word: Any, chosen: str | None = None) -> int:
        return await PartyDesk(self.database).decide("erp", party, word, chosen, who="boss")


@pytest.fixture
async def shop(database_url: str) -> AsyncIterator[Shop]:
    clock = ManualClock()
    database = await open_database(database_url, clock)
    yield Shop(database, clock)
    await database.close()


async def test_a_party_is_found_by_its_tax_id_and_the_sale_goes(shop: Shop):
    """The customer of a sale has no code over there; his INN and KPP tell which record he is."""
    shop.system.put("parties", inn=INN, kpp=B)
    record = shop.system.put("parties", inn=INN, kpp=A)
    await shop.connect(PARTY)
    await shop.customer("C1", tax_branch=A)
    await shop.sell("C1", "C1")
    assert await shop.states() == {"waiting": 2}
    assert shop.runner.waits.is_set()
    await shop.look()
    assert shop.sent() == [("T-1-1", record), ("T-1-2", record)]
    assert len(shop.system.all("parties")) == 2
    assert await shop.why() == {}


async def test_a_party_that_is_not_there_is_made_once(shop: Shop):
    """From the catalog's row, by the mapping; later sales use what was made, and it can be taken back."""
    await shop.connect(PARTY)
    await shop.customer("C1")
    await shop.sell("C1")
    await shop.look()
    await shop.sell("C1")
    assert shop.system.all("parties") == [{"inn": INN, "name": "Customer C1"}]
    assert shop.sent() == [("T-1-1", "1"), ("T-1-2", "1")]
    (one,) = await shop.integrations.list()
    report = await undo_created(shop.database, one, shop.integrations.connector(one), 0)
    assert (report["undone"], report["left"], shop.system.all("parties")) == (1, 0, [])
    await shop.sell("C1")
    assert await shop.states() == {"done": 2, "waiting": 1}


async def test_a_record_is_made_of_all_that_the_catalog_knows(shop: Shop):
    """Addresses and a chain's own fields too."""
    fields = PARTY["fields"] | {"city": "{{addresses[0].city}}", "form": "{{custom.form}}"}
    await shop.connect({**PARTY, "fields": fields})
    await shop.customer("C1", addresses=[{"city": "Kazan"}], custom={"form": "shop"})
    await shop.sell("C1")
    await shop.look()
    (made,) = shop.system.all("parties")
    assert (made["city"], made["form"]) == ("Kazan", "shop")


@pytest.mark.parametrize("alone", [True, False])
async def test_nodes_at_once_make_one(shop: Shop, monkeypatch: pytest.MonkeyPatch, *, alone: bool):
    """All see the same wait. One looks, and where leases ran out and all do, the others are told to come again."""
    if not alone:
        monkeypatch.setattr(leases, "take", _granted)
    await shop.connect(PARTY, FORM)
    for code in ("C1", "C2", "C3"):
        await shop.customer(
            code, tax_id=OTHER_INN if code == "C3" else INN, tax_branch=A if code == "C2" else ""
        )
    await shop.sell("C1", "C2", "C3")
    (one,) = await shop.integrations.list()
    for _ in range(3):
        await asyncio.gather(*(shop.node(name).step(one) for name in "abcd"))
        shop.clock.move(60)
    made = [record["inn"] for record in shop.system.all("parties")]
    assert (made.count(INN), made.count(OTHER_INN)) == (1, 1)


@pytest.mark.parametrize("step", ["lost", "cut"])
async def test_a_lost_answer_makes_no_second_party(shop: Shop, step: str):
    """It is looked for again once nothing can be under way; made or not, there is one in the end, and it is ours."""
    await shop.connect(PARTY)
    await shop.customer("C1")
    shop.system.directory.append(step)
    await shop.sell("C1")
    for _ in range(8):
        await shop.look()
        shop.clock.move(15)
    assert len(shop.system.all("parties")) == 1
    assert shop.sent() == [("T-1-1", "1")]
    async with shop.database.read() as connection:
        assert [row.id for row in await pulls.created(connection, 1, 0)] == ["1"]


@pytest.mark.parametrize(
    "step",
    [
        "central.db.parties.claim",
        "central.db.parties.begin",
        "tests.support.directory_connector.DirectoryConnector.create",
        "central.db.parties.there",
        "central.db.pulls.note_created",
        "central.codes.desk.note",
        "central.db.delivery_records.wake",
    ],
)
@pytest.mark.parametrize("is_done", [False, True])
async def test_a_death_between_two_steps_makes_no_second_party(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, step: str, *, is_done: bool
):
    """Before or after any of them; the next node goes on from what the database says and the system has."""
    await shop.connect(PARTY)
    await shop.customer("C1")
    await shop.sell("C1")
    real = pkgutil.resolve_name(step)

    async def dies(*given: Any, **named: Any) -> None:
        if is_done:
            await real(*given, **named)
        raise asyncio.CancelledError

    with monkeypatch.context() as patched:
        patched.setattr(step, dies)
        with pytest.raises(asyncio.CancelledError):
            await shop.look()
    shop.matches = shop.node("a")
    for _ in range(8):
        await shop.look()
        shop.clock.move(15)
    assert len(shop.system.all("parties")) == 1
    assert shop.sent() == [("T-1-1", "1")]


async def test_what_is_in_doubt_waits_for_hq(shop: Shop):
    """No tax id, a wrong one, one that two bear: nothing is guessed and nothing made; each is listed with its why."""
    shop.system.put("parties", inn=INN)
    shop.system.put("parties", inn=INN)
    await shop.connect(PARTY)
    for code, tax_id in (("C1", INN), ("C2", ""), ("C3", "7707083890"), ("C4", OTHER_INN)):
        await shop.customer(code, tax_id)
    await shop.sell("C1", "C2", "C3", "C4")
    await shop.look()
    told = dict(await shop.unclear())
    assert {code: why.split(":")[0] for code, why in told.items()} == {
        "C1": f"2 records bear {INN}",
        "C2": "it has no tax id",
        "C3": '"7707083890" is no tax id of RU',
    }
    assert await shop.states() == {"waiting": 3, "done": 1}
    assert len(shop.system.all("parties")) == 3
    searches = shop.system.searches
    await shop.look()
    assert shop.system.searches == searches


async def test_hq_says_which_record_it_is(shop: Shop):
    """The deliveries go in the same breath, without another look."""
    shop.system.put("parties", inn=INN)
    second = shop.system.put("parties", inn=INN)
    await shop.connect(PARTY)
    await shop.customer("C1")
    await shop.sell("C1", "C1")
    await shop.look()
    assert await shop.decide("C1", "use", second) == 2
    assert await shop.states() == {"ready": 2}
    await shop.carry()
    assert [party for _, party in shop.sent()] == [second, second]


async def test_hq_lets_it_be_made(shop: Shop):
    """At once, though it was not due yet."""
    shop.system.put("parties", inn=INN)
    shop.system.put("parties", inn=INN)
    await shop.connect(PARTY)
    await shop.customer("C1")
    await shop.sell("C1")
    await shop.look()
    assert await shop.decide("C1", "create") == 1
    await shop.look()
    assert shop.sent() == [("T-1-1", "3")]


async def test_hq_leaves_it_out_and_thinks_again(shop: Shop):
    """Who needs it is parked under a reason of its own, those that come later too; another word sends them again."""
    shop.system.put("parties", inn=INN)
    shop.system.put("parties", inn=INN)
    await shop.connect(PARTY)
    await shop.customer("C1")
    await shop.sell("C1")
    await shop.look()
    assert await shop.decide("C1", "ignore") == 1
    await shop.look()
    await shop.sell("C1")
    await shop.look()
    assert await shop.states() == {"parked": 2}
    async with shop.database.read() as connection:
        reasons = {row.reason for row in await parked_groups(connection)}
    assert reasons == {"party C1 is not for erp: HQ decided so"}
    assert await shop.decide("C1", "use", "1") == 2
    await shop.carry()
    assert shop.sent() == [("T-1-1", "1"), ("T-1-2", "1")]


async def test_a_record_of_another_party_is_not_given_away(shop: Shop):
    """Two of our customers with one INN: the second is unclear; HQ may merge them, not take the first one's record."""
    await shop.connect(PARTY)
    await shop.customer("C1")
    await shop.customer("C2")
    await shop.sell("C1", "C2")
    await shop.look()
    assert await shop.unclear() == [("C2", "the record 1 is our C1 already")]
    with pytest.raises(Conflict, match="our C1 already"):
        await shop.decide("C2", "use", "1")
    await CodeActs(shop.database).merge("party", "C2", "C1", who="boss")
    assert await shop.unclear() == []
    await shop.carry()
    assert shop.sent() == [("T-1-1", "1"), ("T-1-2", "1")]
    assert len(shop.system.all("parties")) == 1


async def test_a_code_that_hq_sets_wakes_at_once(shop: Shop):
    """Without a sweep, and what was unclear is so no more."""
    await shop.connect(PARTY)
    await shop.customer("C1", "")
    await shop.sell("C1")
    await shop.look()
    await CodeActs(shop.database).set("erp", Match("party", "C1", "77"), who="boss")
    await shop.carry()
    assert shop.sent() == [("T-1-1", "77")]
    assert await shop.unclear() == []


async def test_a_party_needs_its_legal_form_first(shop: Shop):
    """What the record needs is matched before it: the form is made, then the party with its id."""
    fields = PARTY["fields"] | {"form": {"ref": "legal_form", "value": "{{legal_form}}"}}
    await shop.connect({**PARTY, "fields": fields}, FORM)
    await shop.put("dictionary", "legal_form|OOO", dictionary="legal_form", code="OOO", name="Limited")
    await shop.customer("C1", legal_form="OOO")
    await shop.customer("C2", OTHER_INN, legal_form="AO")
    await shop.sell("C1", "C2")
    await shop.look()
    assert shop.system.all("forms") == [{"name": "Limited"}]
    assert shop.system.all("parties") == [{"inn": INN, "name": "Customer C1", "form": "1"}]
    assert "there is no dictionary AO in the catalog" in (await shop.why())["C2"]
    await shop.put("dictionary", "legal_form|AO", dictionary="legal_form", code="AO", name="Joint stock")
    shop.clock.move(600)
    await shop.look()
    assert [number for number, _ in shop.sent()] == ["T-1-1", "T-1-2"]
    (one,) = await shop.integrations.list()
    await undo_created(shop.database, one, shop.integrations.connector(one), 0)
    async with shop.database.read() as connection:
        asked = {LookUp("legal_form", "erp", "OOO"), LookUp("party", "erp", "C1")}
        assert await look_up(connection, asked) == {}


async def test_a_reference_value_is_used_or_told_not_made_unasked(shop: Shop):
    """`create` is off by default: what the system lacks is told, and looked for again."""
    currency = {"kind": "currency", "target": "currencies", "field": "code"}
    order = {**ORDER, "fields": {"party": {"ref": "currency", "value": "{{payload.customer}}"}}}
    await shop.connect(currency, deliver=[order])
    shop.system.put("currencies", code="EUR")
    shop.system.put("currencies", code="USD")
    shop.system.put("currencies", code="USD")
    await shop.sell("EUR", "USD", "UZS")
    await shop.look()
    assert [party for _, party in shop.sent()] == ["1"]
    why = await shop.why()
    assert "2 records of currencies" in why["USD"]
    assert 'no currencies whose code is "UZS"' in why["UZS"]
    shop.system.put("currencies", code="UZS")
    shop.clock.move(600)
    await shop.look()
    assert [party for _, party in shop.sent()] == ["1", "4"]


async def test_a_system_that_is_away_is_left_alone(shop: Shop):
    """It is told why; sales that need no search go on meanwhile, and afterwards all do."""
    await shop.connect(PARTY)
    await shop.customer("C1")
    shop.system.is_deaf = True
    await shop.sell("C1")
    await shop.look()
    assert (await shop.why())["C1"] == "the directory does not answer"
    await CodeActs(shop.database).set("erp", Match("party", "C2", "X2"), who="boss")
    await shop.sell("C2")
    assert shop.sent() == [("T-1-2", "X2")]
    searches = shop.system.searches
    await shop.look()
    assert shop.system.searches == searches
    shop.system.is_deaf = False
    shop.clock.move(60)
    await shop.look()
    assert shop.sent() == [("T-1-2", "X2"), ("T-1-1", "1")]
    assert await shop.why() == {}


@pytest.mark.parametrize(("step", "rest_s"), [("away", 20), ("denied", 300), ("refused", 0)])
async def test_a_refused_making_leaves_nothing_behind(shop: Shop, step: str, rest_s: int):
    """Nothing was made, so somebody else may try at once; the rest is as long as the failure says, or HQ ends it."""
    await shop.connect(PARTY)
    await shop.customer("C1")
    shop.system.directory.append(step)
    await shop.sell("C1")
    await shop.look()
    told = {"away": "busy", "denied": "no rights", "refused": "the city is missing"}[step]
    assert told in (await shop.why())["C1"]
    searches = shop.system.searches
    shop.clock.move(max(0, rest_s - 1))
    await shop.look()
    assert shop.system.searches == searches
    await CodeActs(shop.database).search_now("erp", who="boss")
    shop.matches.look_now()
    await shop.look()
    assert shop.sent() == [("T-1-1", "1")]


async def test_what_is_put_in_order_over_there_is_found_later(shop: Shop):
    """An unclear party is looked for again after a long while, without a word of HQ."""
    shop.system.put("parties", inn=INN)
    double = shop.system.put("parties", inn=INN)
    await shop.connect(PARTY)
    await shop.customer("C1")
    await shop.sell("C1")
    await shop.look()
    del shop.system.records["parties"][double]
    shop.clock.move(UNCLEAR_S)
    await shop.look()
    assert shop.sent() == [("T-1-1", "1")]
    assert await shop.unclear() == []


async def test_matching_shares_the_credentials_budget(shop: Shop):
    """Three searches and a making are four calls: the next look waits until the bucket has some again."""
    budget = {"credential": "erp", "calls": 5, "per_s": 50, "leave": 0}
    await shop.connect(PARTY, budget=budget)
    await shop.customer("C1")
    await shop.customer("C2", OTHER_INN)
    await shop.sell("C1", "C2")
    for _ in range(20):
        await shop.look()
        shop.clock.move(10)
    assert len(shop.sent()) == 2
    assert shop.clock.now_ms() > 0


async def test_everything_that_waits_is_gone_through(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    """However many codes nobody knows: those behind them are woken too."""
    monkeypatch.setattr("central.db.delivery_records.LOOK_UPS", 2)
    await shop.connect()
    codes = [f"C{number}" for number in range(7)]
    await shop.sell(*codes)
    for code in ("C0", "C4", "C6"):
        await CodeActs(shop.database).set("erp", Match("party", code, f"X{code}"), who="boss")
    await shop.carry()
    assert sorted(party for _, party in shop.sent()) == ["XC0", "XC4", "XC6"]
