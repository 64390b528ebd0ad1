"""Mapped deliveries: what a record is made of, what waits for what, what is split; nothing delays its neighbours."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central.codes import Match, note
from central.connectors.base import Delivery
from central.db import integrations as table
from central.db.database import Database
from central.db.tables import deliveries as deliveries_tables
from central.db.tables.deliveries import delivery_records
from central.deliveries.run import DeliveryRunner
from central.integrations.definition import Deliver
from central.integrations.registry import Integrations
from central.integrations.ways import read_back, written_down
from tests.support.clock import ManualClock
from tests.support.outgoing import Document, add_documents, delivery_states, open_database
from tests.support.scripted_connector import SCRIPTED, SYSTEMS, System

ORDER: dict[str, Any] = {"name": "order", "kinds": ["sale"], "target": "orders"}


class Mapped:
    """One centre with one integration whose `[[deliver]]` a test states."""

    def __init__(self, database: Database, clock: ManualClock) -> None:
        self.database = database
        self.clock = clock
        self.integrations = Integrations(database, clock, SCRIPTED)
        self.system = SYSTEMS["erp"] = System()
        self.runner = DeliveryRunner(database, self.integrations, clock, node="a", rng=random.Random(1))

    async def learn(self, kind: str, ours: str, theirs: str) -> None:
        async with self.database.write() as connection:
            await note(self.database, connection, "erp", [Match(kind, ours, theirs)], by="test")

    async def connect(self, *delivers: dict[str, Any]) -> None:
        self.one = await self.integrations.create(
            "erp", "scripted", {"account": "erp"}, ["sale", "return"], from_ms=0
        )
        await self.state(*delivers)

    async def state(self, *delivers: dict[str, Any]) -> None:
        """Put another version of the definition in place."""
        one = await self.integrations.get("erp")
        stated = [Deliver.model_validate(each) for each in delivers]
        definition = one.definition.model_copy(update={"deliver": stated})
        async with self.database.write() as connection:
            await table.change(
                connection, 1, definition=definition.model_dump_json(), version=one.version + 1
            )
        await self.integrations.load()

    async def sell(self, *documents: Document) -> None:
        await add_documents(self.database, documents)
        await self.runner.sweep()
        await self.until_idle()

    async def until_idle(self) -> None:
        while await self.runner.step(1):
            pass

    def records(self) -> list[Any]:
        return [one.record for one in self.sent()]

    def sent(self) -> list[Delivery]:
        return self.system.deliveries


@pytest.fixture
async def mapped(database_url: str) -> AsyncIterator[Mapped]:
    clock = ManualClock()
    database = await open_database(database_url, clock)
    yield Mapped(database, clock)
    await database.close()


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.text()
    | st.integers(-(2**60), 2**60)
    | st.decimals(allow_nan=False, allow_infinity=False, places=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.lists(st.dictionaries(st.text(), json_values, max_size=4), max_size=4))
def test_a_kept_record_is_the_one_that_was_made(records: list[dict[str, Any]]):
    """Written down and read back, a record is equal and every number keeps its type: no kopeck is rounded."""
    found = read_back(written_down(records))
    assert found == records
    assert written_down(found) == written_down(records)


async def test_a_record_is_what_the_mapping_makes_of_the_document(mapped: Mapped):
    """Fields of header and payload, and the target's name, reach the connector; amounts are exact."""
    fields = {
        "number": "{{number}}",
        "shop": "{{store}}",
        "total": "{{payload.total_minor | from_minor('EUR')}}",
        "lines": {"each": "payload.lines", "fields": {"item": "{{product}}"}},
    }
    await mapped.connect({**ORDER, "fields": fields | {"total": "{{payload.x_total}}"}})
    payload = {"x_total": 12.5, "lines": [{"product": "4711"}, {"product": "4712"}]}
    await mapped.sell(Document(1, payload=payload))
    assert mapped.records() == [
        {
            "number": "T-1-1",
            "shop": "S1",
            "total": Decimal("12.5"),
            "lines": [{"item": "4711"}, {"item": "4712"}],
        }
    ]
    assert mapped.sent()[0].target == "orders"
    assert await delivery_states(mapped.database) == {"done": 1}
    async with mapped.database.read() as connection:
        assert (await connection.execute(delivery_records.select())).all() == []


async def test_a_record_stays_as_it_was_sent_first(mapped: Mapped):
    """Between a lost request and its repeat the definition changes: the repeat is the same, the next is new."""
    await mapped.connect({**ORDER, "fields": {"text": "old"}})
    mapped.system.script.append("cut")
    await mapped.sell(Document(1))
    await mapped.state({**ORDER, "fields": {"text": "new"}})
    mapped.clock.move(60)
    await mapped.sell(Document(2))
    assert [(one.number, one.record) for one in mapped.sent()] == [
        ("T-1-1", {"text": "old"}),
        ("T-1-2", {"text": "new"}),
    ]


async def test_what_a_filter_leaves_out_has_no_effect(mapped: Mapped):
    """A filter takes documents out of the batch, also where they go as sealed; they count as settled."""
    await mapped.connect(
        {**ORDER, "filter": "payload.total_minor > `100`", "fields": {"n": "{{number}}"}},
        {"name": "document", "kinds": ["sale"], "filter": "payload.total_minor < `100`"},
    )
    await mapped.sell(Document(1, payload={"total_minor": 5}), Document(2, payload={"total_minor": 500}))
    assert sorted((one.effect, one.number) for one in mapped.sent()) == [
        ("document", "T-1-1"),
        ("order", "T-1-2"),
    ]
    assert await delivery_states(mapped.database) == {"done": 2, "skipped": 2}


async def test_what_cannot_be_mapped_is_parked_at_once_by_reason(mapped: Mapped):
    """Trying again would not help: no send, no attempt; the others of the batch go."""
    await mapped.connect({**ORDER, "fields": {"n": {"value": "{{payload.x_till}}", "required": True}}})
    await mapped.sell(Document(1), Document(2, payload={"x_till": "7"}), Document(3))
    assert mapped.records() == [{"n": "7"}]
    assert await delivery_states(mapped.database) == {"done": 1, "parked": 2}
    (parked,) = [one for one in await mapped.integrations.batches("erp") if one["state"] == "parked"]
    assert parked["count"] == 2
    assert "n:" in parked["error"]


async def test_what_lacks_a_code_waits_for_it_and_delays_nobody(mapped: Mapped):
    """Unknown over there: it waits; once the code is known it goes, without anybody sending it again."""
    await mapped.connect(
        {**ORDER, "fields": {"item": {"ref": "item", "value": "{{payload.x_product}}", "required": True}}}
    )
    await mapped.learn("item", "a", "1")
    await mapped.sell(Document(1, payload={"x_product": "b"}), Document(2, payload={"x_product": "a"}))
    assert mapped.records() == [{"item": "1"}]
    assert await delivery_states(mapped.database) == {"done": 1, "waiting": 1}
    await mapped.learn("item", "b", "2")
    await mapped.runner.sweep()
    await mapped.until_idle()
    assert mapped.records() == [{"item": "1"}, {"item": "2"}]


async def test_what_needs_another_effect_goes_after_its_write_back(mapped: Mapped):
    """A payment goes after its order and bears the order's id over there; so does a return, its sale's."""
    await mapped.connect(
        {"name": "a_payment", "kinds": ["sale"], "target": "payments", "needs": ["order"],
         "fields": {"order": "{{written.order.id}}"}},
        {**ORDER, "fields": {"n": "{{number}}"}},
        {"name": "back", "kinds": ["return"], "target": "orders",
         "fields": {"of": "{{refs_written[0].order.id}}"}},
    )  # fmt: skip
    mapped.system.script.append("lost")
    await mapped.sell(Document(1), Document(2, refs=[1], kind="return"))
    mapped.clock.move(60)
    await mapped.until_idle()
    assert [(one.effect, one.record) for one in mapped.sent()] == [
        ("order", {"n": "T-1-1"}),
        ("a_payment", {"order": "ERP-1"}),
        ("back", {"of": "ERP-1"}),
    ]


async def test_a_document_is_split_into_records_with_keys_of_their_own(mapped: Mapped):
    """One refund in two tenders: two records; one is refused, the other stays done, and is not sent again."""
    await mapped.connect(
        {**ORDER, "split": "payload.payments", "fields": {"type": "{{part.type}}", "n": "{{part_number}}"}}
    )
    mapped.system.script.append("half")
    await mapped.sell(Document(1, payload={"payments": [{"type": "CASH"}, {"type": "CARD"}]}))
    assert await delivery_states(mapped.database) == {"leased": 1}
    mapped.clock.move(60)
    await mapped.until_idle()
    assert await delivery_states(mapped.database) == {"done": 1}
    assert mapped.records() == [{"type": "CASH", "n": 1}, {"type": "CARD", "n": 2}]
    async with mapped.database.read() as connection:
        rows = await connection.execute(deliveries_tables.written.select().order_by("part"))
        assert [(row.part, row.id) for row in rows] == [(0, "ERP-1"), (1, "ERP-2")]


async def test_an_order_waits_for_its_customer_and_goes_after_the_write_back(mapped: Mapped):
    """A new customer's code over there is what the other system's answer calls it; that wakes the order at once."""
    await mapped.connect(
        {**ORDER, "fields": {"party": {"ref": "party", "value": "{{payload.customer}}", "required": True}}},
        {
            "name": "party",
            "kinds": ["customer_change"],
            "target": "parties",
            "fields": {"key": "{{payload.key}}"},
        },
    )
    await mapped.sell(Document(1, payload={"customer": "C-1"}))
    assert await delivery_states(mapped.database) == {"waiting": 1}
    await mapped.sell(Document(2, kind="customer_change", payload={"key": "C-1"}))
    assert mapped.records() == [{"key": "C-1"}, {"party": "ERP-1"}]
