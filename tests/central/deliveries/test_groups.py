"""Documents delivered together (W10): one record for a shop and day, links back, and a correction for what is late."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from central.db.tables import deliveries as deliveries_tables
from central.db.tables.deliveries import deliveries, delivery_groups
from central.deliveries.desk import Correction, Desk
from central.deliveries.group_desk import GroupDesk
from central.deliveries.group_plan import identity
from shared.clock import from_rfc3339
from shared.errors import Conflict, NotFound
from tests.central.deliveries.test_mapped import Mapped
from tests.support.clock import ManualClock
from tests.support.outgoing import Document, add_documents, delivery_states, open_database
from tests.support.scripted_connector import ScriptedConnector, System

DAY: dict[str, Any] = {
    "name": "day",
    "kinds": ["sale", "return"],
    "target": "orders",
    "group": {"by": ["store", "business_date"], "after": "1h"},
    "fields": {
        "number": "{{number}}",
        "total": "{{payload.total_minor}}",
        "receipts": {"each": "members", "fields": {"n": "{{number}}"}},
    },
}
SHIFT = DAY | {"name": "shift", "group": {"by": ["shift"], "close": "shift_close", "after": "10m"}}
NOON_MS = from_rfc3339("2026-11-21T12:00:00Z")
HOUR_S = 3_600
KEY = '{"business_date":"2026-11-21","currency":"EUR","store":"S1"}'


def sale(number: int, total_minor: int = 100, **more: Any) -> Document:
    shift = {"shift": more.pop("shift")} if "shift" in more else {}
    return Document(number, payload={"total_minor": total_minor, "currency": "EUR", **shift}, **more)


class Grouped(Mapped):
    """A centre at noon of the day on which its documents are made."""

    async def step(self) -> None:
        await self.runner.groups.step()
        await self.until_idle()

    async def take(self, *documents: Document) -> None:
        """Documents are applied, and find their group."""
        await add_documents(self.database, documents)
        await self.runner.sweep()
        await self.step()

    async def rows(self, table: Any) -> list[Any]:
        async with self.database.read() as connection:
            return list(await connection.execute(table.select()))

    def after_hours(self, hours: float) -> None:
        self.clock.move(hours * HOUR_S)


@pytest.fixture
async def grouped(database_url: str) -> AsyncIterator[Grouped]:
    clock = ManualClock(NOON_MS)
    database = await open_database(database_url, clock)
    yield Grouped(database, clock)
    await database.close()


def told(system: System) -> list[tuple[str, int, list[str]]]:
    """Number, total and receipts of each record over there."""
    return [
        (one.record["number"], one.record["total"], [each["n"] for each in one.record["receipts"]])
        for one in system.deliveries
        if one.record is not None
    ]


async def test_receipts_of_a_day_become_one_record_an_hour_after_its_end(grouped: Grouped):
    """One record with the sums and the links; each receipt is done and knows what it became over there."""
    await grouped.connect(DAY)
    await grouped.take(
        sale(1, 100),
        sale(2, 250),
        Document(3, kind="return", payload={"total_minor": -50, "currency": "EUR"}),
    )
    grouped.after_hours(12.9)
    await grouped.step()
    assert told(grouped.system) == []
    assert await delivery_states(grouped.database) == {"grouped": 3}
    grouped.after_hours(0.1)
    await grouped.step()
    assert told(grouped.system) == [("2026-11-21-S1-EUR", 300, ["T-1-1", "T-1-2", "T-1-3"])]
    assert await delivery_states(grouped.database) == {"done": 3}
    written = await grouped.rows(deliveries_tables.written)
    assert [(row.doc_no, row.id, row.number) for row in written] == [(n, "ERP-1", "N-1") for n in (1, 2, 3)]
    (key,) = grouped.system.effects
    assert key == f"erp:{identity(KEY, 0)}:day"


async def test_the_day_ends_where_the_document_was_made(grouped: Grouped):
    """24:00 in Vladivostok is at 14:00 UTC of the same date."""
    await grouped.connect(DAY)
    await grouped.take(sale(1, zone="Asia/Vladivostok"))
    grouped.after_hours(2.9)
    await grouped.step()
    assert told(grouped.system) == []
    grouped.after_hours(0.1)
    await grouped.step()
    assert len(told(grouped.system)) == 1


async def test_a_late_sale_makes_a_correction_and_changes_nothing_that_was_sent(grouped: Grouped):
    """What comes after the close goes in corrections of their own; those that come within an hour make one."""
    await grouped.connect(DAY)
    await grouped.take(sale(1, 100))
    grouped.after_hours(14)
    await grouped.step()
    await grouped.take(sale(2, 20))
    grouped.after_hours(0.5)
    await grouped.take(sale(3, 30))
    assert len(told(grouped.system)) == 1
    grouped.after_hours(0.5)
    await grouped.step()
    grouped.after_hours(1)
    await grouped.take(sale(4, 40))
    grouped.after_hours(1)
    await grouped.step()
    assert told(grouped.system) == [
        ("2026-11-21-S1-EUR", 100, ["T-1-1"]),
        ("2026-11-21-S1-EUR-c1", 50, ["T-1-2", "T-1-3"]),
        ("2026-11-21-S1-EUR-c2", 40, ["T-1-4"]),
    ]
    assert len(set(grouped.system.effects)) == 3
    assert await delivery_states(grouped.database) == {"done": 4}


async def test_a_correction_goes_after_the_group_and_knows_its_id(grouped: Grouped):
    """While the group is refused its correction waits; then it names what it corrects."""
    fields = DAY["fields"] | {"corrects": "{{refs_written[0].day.id}}"}
    await grouped.connect(DAY | {"fields": fields})
    grouped.system.script.extend(["cut", "cut"])
    await grouped.take(sale(1))
    grouped.after_hours(13)
    await grouped.step()
    await grouped.take(sale(2))
    grouped.after_hours(1)
    await grouped.step()
    assert await delivery_states(grouped.database) == {"leased": 1, "ready": 1}
    grouped.clock.move(60)
    await grouped.step()
    assert [one.record.get("corrects") for one in grouped.system.deliveries if one.record] == [None, "ERP-1"]


async def test_a_shift_becomes_one_record_once_it_is_closed(grouped: Grouped):
    """Two shifts of a till: the closed one goes ten minutes after its close, the other waits however long."""
    await grouped.connect(SHIFT)
    await grouped.take(sale(1, shift="7"), sale(2, shift="7"), sale(3, shift="8"))
    grouped.after_hours(100)
    await grouped.step()
    assert told(grouped.system) == []
    await grouped.take(Document(4, kind="shift_close", payload={"shift": "7", "total_minor": 0}))
    grouped.clock.move(599)
    await grouped.step()
    assert told(grouped.system) == []
    grouped.clock.move(1)
    await grouped.step()
    assert [receipts for _, _, receipts in told(grouped.system)] == [["T-1-1", "T-1-2"]]
    await grouped.take(sale(5, shift="7"))
    grouped.clock.move(600)
    await grouped.step()
    assert [number for number, _, _ in told(grouped.system)] == ["T-1-7-EUR", "T-1-7-EUR-c1"]


async def test_a_filter_decides_on_each_document_before_it_is_counted(grouped: Grouped):
    """What it leaves out is in no group; what it cannot judge is parked alone, and finds the group when repaired."""
    await grouped.connect(DAY | {"filter": "payload.total_minor > `10` && length(payload.currency) == `3`"})
    odd = Document(3, payload={"total_minor": 70, "currency": 5})
    await grouped.take(sale(1, 5), sale(2, 50), odd)
    assert await delivery_states(grouped.database) == {"skipped": 1, "grouped": 1, "parked": 1}
    grouped.after_hours(13)
    await grouped.step()
    assert told(grouped.system) == [("2026-11-21-S1-EUR", 50, ["T-1-2"])]


async def test_what_was_ready_before_it_was_grouped_goes_with_its_group(grouped: Grouped):
    """The definition changes while documents are ready: none of them goes by itself, none is lost."""
    await grouped.connect(DAY | {"group": None})
    await add_documents(grouped.database, [sale(1, 10), sale(2, 20)])
    await grouped.runner.sweep()
    assert await delivery_states(grouped.database) == {"ready": 2}
    await grouped.state(DAY)
    await grouped.until_idle()
    assert await delivery_states(grouped.database) == {"gathering": 2}
    await grouped.step()
    grouped.after_hours(13)
    await grouped.step()
    assert told(grouped.system) == [("2026-11-21-S1-EUR", 30, ["T-1-1", "T-1-2"])]


async def test_what_gathers_goes_by_itself_once_it_is_not_grouped_any_more(grouped: Grouped):
    """What has a group goes with it at its time; what has none yet goes as the definition says now."""
    single = DAY | {"group": None, "fields": {"number": "{{number}}", "total": "1", "receipts": []}}
    await grouped.connect(DAY)
    await grouped.take(sale(1))
    await add_documents(grouped.database, [sale(2)])
    await grouped.runner.sweep()
    await grouped.state(single)
    await grouped.step()
    assert [one.number for one in grouped.system.deliveries] == ["T-1-2"]
    grouped.after_hours(13)
    await grouped.step()
    assert [one.number for one in grouped.system.deliveries] == ["T-1-2", "2026-11-21-S1-EUR"]
    assert await delivery_states(grouped.database) == {"done": 2}


async def test_two_tills_that_return_each_others_goods_do_not_wait_for_each_other(grouped: Grouped):
    """A group goes behind no other one, or two of them might wait for ever; what is not grouped goes after it."""
    await grouped.connect(
        DAY | {"group": {"by": ["kind", "business_date"]}, "kinds": ["sale", "exchange"]},
        {"name": "back", "kinds": ["return"], "target": "orders", "fields": {"of": "{{refs_written[0].day.id}}"}},
    )  # fmt: skip
    await grouped.take(
        sale(1, refs=[2]),
        Document(2, [3], "exchange", {"total_minor": 1, "currency": "EUR"}),
        sale(3),
        Document(4, [3], "return"),
    )
    assert grouped.system.deliveries == []
    grouped.after_hours(13)
    await grouped.step()
    assert [one.record["of"] for one in grouped.system.deliveries if one.record and "of" in one.record] == [
        "ERP-1"
    ]
    assert await delivery_states(grouped.database) == {"done": 4}


async def test_a_group_that_lost_its_answer_is_found_and_not_sent_again(grouped: Grouped):
    """It may have arrived, and it did: the probe's word is believed, as this centre has sent it."""
    await grouped.connect(DAY)
    grouped.system.script.append("lost")
    await grouped.take(sale(1), sale(2))
    grouped.after_hours(13)
    await grouped.step()
    assert await delivery_states(grouped.database) == {"leased": 1, "grouped": 1}
    grouped.clock.move(60)
    await grouped.step()
    assert grouped.system.sends == 1
    assert await delivery_states(grouped.database) == {"done": 2}
    assert {row.doc_no for row in await grouped.rows(deliveries_tables.written)} == {1, 2}


async def test_a_group_that_this_centre_never_sent_is_a_persons(grouped: Grouped):
    """Restored from a backup, it makes the group of other documents: neither believed nor sent, until somebody says."""
    await grouped.connect(DAY)
    await grouped.take(sale(1), sale(2))
    grouped.system.effects.append(f"erp:{identity(KEY, 0)}:day")
    grouped.after_hours(13)
    await grouped.step()
    assert grouped.system.sends == 0
    assert await delivery_states(grouped.database) == {"parked": 1, "grouped": 1}
    (batch,) = [one for one in await grouped.integrations.batches("erp") if one["state"] == "parked"]
    assert "never sent" in batch["error"]


async def test_a_group_that_is_there_is_accepted_and_not_sent_again(grouped: Grouped):
    """Somebody has compared it: it is found, done, and its documents know what they became."""
    await grouped.connect(DAY)
    await grouped.take(sale(1), sale(2))
    grouped.system.effects.append(f"erp:{identity(KEY, 0)}:day")
    grouped.after_hours(13)
    await grouped.step()
    desk = GroupDesk(grouped.database, grouped.integrations)
    (group,) = await desk.list("erp", open_only=True, after=0, limit=10)
    assert (group.state, group.name, group.documents) == ("parked", "2026-11-21-S1-EUR", 2)
    assert "never sent" in group.waits_for
    assert [row.number for row in await desk.documents(group.group_no, 0, 10)] == ["T-1-1", "T-1-2"]
    await desk.accept(group.group_no, who="jo")
    await grouped.until_idle()
    assert grouped.system.sends == 0
    assert await delivery_states(grouped.database) == {"done": 2}
    assert {row.doc_no for row in await grouped.rows(deliveries_tables.written)} == {1, 2}
    with pytest.raises(Conflict, match="not parked"):
        await desk.accept(group.group_no, who="jo")


async def test_a_person_closes_a_group_that_waits_too_long(grouped: Grouped):
    """A till broke down and its shift is never closed; what was sold is sent all the same."""
    await grouped.connect(SHIFT)
    await grouped.take(sale(1, shift="7"), sale(2))
    grouped.after_hours(1_000)
    await grouped.step()
    desk = GroupDesk(grouped.database, grouped.integrations)
    found = {one.waits_for: one for one in await desk.list(None, open_only=True, after=0, limit=10)}
    shift = found.pop("the close of shift 7 of T-1")
    assert list(found) == ["somebody to close it: its documents of T-1 name no shift"]
    await desk.close(shift.group_no, who="jo")
    await grouped.until_idle()
    assert told(grouped.system) == [("T-1-7-EUR", 100, ["T-1-1"])]
    assert {row.by for row in await grouped.rows(delivery_groups)} == {"jo", None}
    with pytest.raises(Conflict, match="closed already"):
        await desk.close(shift.group_no, who="jo")
    with pytest.raises(NotFound, match="no group 99"):
        await desk.close(99, who="jo")


async def test_a_document_tells_which_group_it_is_in(grouped: Grouped):
    """Its history is that of the group; sent again, it goes with its group; what gathers is not counted as left."""
    await grouped.connect(DAY | {"fields": {"n": {"value": "{{payload.x_till}}", "required": True}}})
    await grouped.take(sale(1), sale(2))
    desk = Desk(grouped.database, grouped.integrations)
    found = await desk.outlook("erp")
    assert (found.left, found.gathering) == (0, 2)
    grouped.after_hours(13)
    await grouped.step()
    assert await delivery_states(grouped.database) == {"parked": 1, "grouped": 1}
    assert await desk.send_again("erp", doc_nos=[2], correction=Correction(record={"n": "7"}), who="jo") == 1
    await grouped.until_idle()
    assert grouped.records() == [{"n": "7"}]
    tried, written, groups = await desk.history([2])
    assert [row.outcome for row in tried] == ["rejected", "again", "ok"]
    assert [row.id for row in written] == ["ERP-1"]
    assert [(row.state, row.size) for row in groups] == [("done", 2)]


async def test_a_group_that_waits_for_a_code_goes_once_it_is_known(grouped: Grouped):
    await grouped.connect(
        DAY | {"fields": DAY["fields"] | {"shop": {"ref": "store", "value": "{{store}}", "required": True}}}
    )
    await grouped.take(sale(1), sale(2))
    grouped.after_hours(13)
    await grouped.step()
    assert await delivery_states(grouped.database) == {"waiting": 1, "grouped": 1}
    await grouped.learn("store", "S1", "9")
    await grouped.runner.sweep()
    await grouped.until_idle()
    assert len(told(grouped.system)) == 1
    assert await delivery_states(grouped.database) == {"done": 2}


async def test_what_is_switched_off_is_brought_to_its_end(grouped: Grouped):
    """No new document gets it; those that had begun find their group, and it is sent."""
    await grouped.connect(DAY)
    await add_documents(grouped.database, [sale(1)])
    await grouped.runner.sweep()
    await grouped.state(DAY | {"enabled": False})
    await grouped.take(sale(2))
    grouped.after_hours(13)
    await grouped.step()
    assert told(grouped.system) == [("2026-11-21-S1-EUR", 100, ["T-1-1"])]
    assert await delivery_states(grouped.database) == {"done": 1}


async def test_a_newer_version_of_a_document_is_not_added_to_the_older_one(grouped: Grouped):
    """A source has handed it in again: counted twice it would be doubled, so somebody looks at it."""
    await grouped.connect(DAY)
    await grouped.take(
        sale(1, 100), Document(2, [1], payload={"total_minor": 120, "currency": "EUR"}, replaces=1)
    )
    assert await delivery_states(grouped.database) == {"grouped": 1, "parked": 1}
    (group,) = await Desk(grouped.database, grouped.integrations).groups()
    assert "newer version" in group.reason


async def test_a_document_that_cannot_be_read_keeps_nobody_from_the_group(grouped: Grouped):
    """Whatever it holds: it is parked with its reason, its neighbours find their group."""
    await grouped.connect(DAY)
    await grouped.take(sale(1), Document(2, payload=["no object"]), sale(3))
    assert await delivery_states(grouped.database) == {"grouped": 2, "parked": 1}


async def test_large_groups_make_small_batches(grouped: Grouped, monkeypatch: pytest.MonkeyPatch):
    """A group is as large as its documents together, whatever the size of the one that carries it."""
    monkeypatch.setattr(ScriptedConnector, "batch_bytes", 2_000)
    await grouped.connect(DAY | {"group": {"by": ["business_date"], "after": "1h"}})
    await grouped.take(*(sale(n, business_date=f"2026-11-{10 + n % 2}") for n in range(1, 13)))
    grouped.after_hours(2)
    await grouped.step()
    assert grouped.system.sends == 2


async def test_a_group_of_parts_is_done_with_its_last_part(grouped: Grouped):
    """Split and grouped: a record for each way to pay, each receipt linked to all of them."""
    await grouped.connect(
        DAY
        | {"split": "payload.payments", "fields": {"type": "{{part.type}}", "sum": "{{part.amount_minor}}"}}
    )
    grouped.system.script.append("half")
    pay = [{"type": "CASH", "amount_minor": 60}, {"type": "CARD", "amount_minor": 40}]
    payload = {"total_minor": 100, "currency": "EUR", "payments": pay}
    await grouped.take(Document(1, payload=payload), Document(2, payload=payload))
    grouped.after_hours(13)
    await grouped.step()
    grouped.clock.move(60)
    await grouped.step()
    assert sorted(
        (one.record["type"], one.record["sum"]) for one in grouped.system.deliveries if one.record
    ) == [
        ("CARD", 80),
        ("CASH", 120),
    ]
    written = await grouped.rows(deliveries_tables.written)
    assert {(row.doc_no, row.part) for row in written} == {(1, 0), (1, 1), (2, 0), (2, 1)}


@pytest.mark.parametrize(("when", "minutes"), [({"every": "15m"}, 15), ({"cron": "*/30 * * * *"}, 30)])
async def test_what_has_a_schedule_is_sent_once_its_time_has_come(
    grouped: Grouped, when: dict[str, str], minutes: int
):
    """S6: at an interval or at times. What came in after the tick waits for the next one."""
    await grouped.connect(
        {"name": "order", "kinds": ["sale"], "target": "orders", "fields": {"n": "{{number}}"}, **when}
    )
    grouped.clock.move(60)
    await add_documents(grouped.database, [sale(1)], received_ms=grouped.clock.now_ms())
    await grouped.runner.sweep()
    await grouped.step()
    assert await delivery_states(grouped.database) == {"gathering": 1}
    grouped.clock.move(minutes * 60 - 60)
    await add_documents(grouped.database, [sale(2)], received_ms=grouped.clock.now_ms() + 1)
    await grouped.runner.sweep()
    await grouped.step()
    assert grouped.records() == [{"n": "T-1-1"}]
    grouped.clock.move(minutes * 60)
    await grouped.step()
    assert grouped.records() == [{"n": "T-1-1"}, {"n": "T-1-2"}]


async def test_what_waits_for_its_schedule_can_be_sent_now(grouped: Grouped):
    """M18: somebody wants it now."""
    await grouped.connect({"name": "order", "kinds": ["sale"], "cron": "0 3 * * *"})
    await add_documents(grouped.database, [sale(1)], received_ms=NOON_MS)
    await grouped.runner.sweep()
    await grouped.step()
    assert grouped.system.deliveries == []
    await grouped.runner.resume(grouped.integrations.enabled()[0])
    await grouped.until_idle()
    assert [one.number for one in grouped.system.deliveries] == ["T-1-1"]
    assert [row.state for row in await grouped.rows(deliveries)] == ["done"]
