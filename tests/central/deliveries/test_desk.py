"""Deliveries that cannot go: seen by root cause, corrected and sent together; and when the rest is through."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central.deliveries.desk import Correction, Desk
from central.deliveries.outlook import outlook
from central.mapping.lookups import LookUp
from shared.errors import BadInput
from tests.central.deliveries.test_mapped import ORDER, Mapped, mapped
from tests.support.outgoing import Document, add_documents, delivery_states, doc_id_of

__all__ = ["mapped"]


async def refused(mapped: Mapped, *documents: Document) -> Desk:
    """An integration that parked all of these, each refused five times by the other system."""
    await mapped.connect({**ORDER, "fields": {"n": "{{number}}", "tax": "{{payload.x_tax}}"}})
    mapped.system.script.extend([{one.number for one in documents}] * 5)
    await mapped.sell(*documents)
    for _ in range(8):
        mapped.clock.move(700)
        await mapped.until_idle()
    assert await delivery_states(mapped.database) == {"parked": len(documents)}
    return Desk(mapped.database, mapped.integrations)


async def test_what_is_parked_is_one_line_for_each_cause(mapped: Mapped):
    """By integration and reason, with how many, from how many stations, since when; also what waits for a code."""
    desk = await refused(mapped, Document(1), Document(2))
    await mapped.state(
        {**ORDER, "fields": {"item": {"ref": "item", "value": "{{payload.x_item}}", "required": True}}}
    )
    await mapped.sell(Document(3, payload={"x_item": "b"}))
    assert [(one.integration, one.reason, one.deliveries, one.waits_for) for one in await desk.groups()] == [
        ("erp", "unknown item 7", 2, None),
        ("erp", "unknown item b in system erp", 1, LookUp("item", "erp", "b")),
    ]


async def test_many_are_corrected_and_sent_together(mapped: Mapped):
    """What they share is put into each of their records; the correction is what goes out, at every attempt."""
    desk = await refused(mapped, *(Document(n, payload={"x_tax": 20}) for n in range(1, 4)))
    mapped.system.script.append("cut")
    assert (
        await desk.send_again("erp", reason="unknown item 7", correction=Correction({"tax": 22}), who="hq")
        == 3
    )
    await mapped.until_idle()
    mapped.clock.move(60)
    await mapped.until_idle()
    assert mapped.records() == [{"n": f"T-1-{n}", "tax": 22} for n in range(1, 4)]
    assert await delivery_states(mapped.database) == {"done": 3}
    assert await mapped.integrations.batches("erp", open_only=True) == []


async def test_one_is_sent_with_another_record(mapped: Mapped):
    """A whole record replaces that of one document, and is refused for several."""
    desk = await refused(mapped, Document(1), Document(2))
    with pytest.raises(BadInput, match="more were chosen"):
        await desk.send_again("erp", correction=Correction(record={"n": "x"}), who="hq")
    assert await delivery_states(mapped.database) == {"parked": 2}
    assert await desk.send_again("erp", doc_nos=[2], correction=Correction(record={"n": "x"}), who="hq") == 1
    await mapped.until_idle()
    assert mapped.records() == [{"n": "x"}]
    assert await delivery_states(mapped.database) == {"done": 1, "parked": 1}


async def test_a_correction_that_changes_nothing_is_refused(mapped: Mapped):
    """Else it would be said to be sent again corrected, and be refused for the same reason."""
    lines = {"each": "payload.x_lines", "fields": {"product": "{{product}}"}}
    await mapped.connect({**ORDER, "fields": {"lines": lines}})
    mapped.system.script.extend([{1}] * 5)
    await mapped.sell(Document(1, payload={"x_lines": [{"product": "ZZZ"}, {"product": "A1"}]}))
    for _ in range(8):
        mapped.clock.move(700)
        await mapped.until_idle()
    desk = Desk(mapped.database, mapped.integrations)
    for path, value in (("lines[7].product", "A2"), ("lines[0].product", "ZZZ")):
        with pytest.raises(BadInput, match="nothing there would be another"):
            await desk.send_again("erp", correction=Correction({path: value}), who="hq")
    assert await delivery_states(mapped.database) == {"parked": 1}
    await desk.send_again("erp", correction=Correction({"lines[0].product": "A2"}), who="hq")
    await mapped.until_idle()
    assert mapped.records() == [{"lines": [{"product": "A2"}, {"product": "A1"}]}]


async def test_what_is_not_corrected_is_mapped_anew(mapped: Mapped):
    """The definition was repaired: the records are made by it, not sent as they were."""
    desk = await refused(mapped, Document(1))
    await mapped.state({**ORDER, "fields": {"text": "repaired"}})
    await desk.send_again("erp", who="hq")
    await mapped.until_idle()
    assert mapped.records() == [{"text": "repaired"}]


async def test_a_delivery_without_a_record_cannot_be_corrected_by_path(mapped: Mapped):
    """What could not be mapped has no record: it is told so, and nothing moves."""
    await mapped.connect({**ORDER, "fields": {"n": {"value": "{{payload.x_till}}", "required": True}}})
    await mapped.sell(Document(1))
    desk = Desk(mapped.database, mapped.integrations)
    with pytest.raises(BadInput, match="never mapped"):
        await desk.send_again("erp", correction=Correction({"n": 1}), who="hq")
    assert await delivery_states(mapped.database) == {"parked": 1}
    await desk.send_again("erp", correction=Correction(record={"n": 1}), who="hq")
    await mapped.until_idle()
    assert mapped.records() == [{"n": 1}]


async def test_the_history_goes_over_all_batches_of_a_delivery(mapped: Mapped):
    """Five refusals, who sent it again and how, and the answer that it was taken: one story, oldest first."""
    desk = await refused(mapped, Document(1))
    await desk.send_again("erp", correction=Correction({"tax": 22}), who="anna")
    await mapped.until_idle()
    tried, written, _ = await desk.history([1])
    assert [row.outcome for row in tried] == ["rejected"] * 5 + ["again", "ok"]
    assert tried[5].error == "sent again by anna with tax = 22"
    assert [(row.effect, row.id) for row in written] == [("order", "ERP-1")]
    assert doc_id_of(1) in mapped.sent()[0].key


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.none() | st.integers(0, 10**6), st.integers(0, 10**7))
def test_an_outlook_never_lies_in_the_past(
    left: int, done: int, first_ms: int | None, paused_ms: int
) -> None:
    """Nobody can tell without a rate; else it lies behind now and behind the pause, the later the more is left."""
    now_ms = 10**6
    found = outlook(now_ms, left, done, first_ms, paused_ms)
    if left == 0 or done == 0 or first_ms is None:
        assert found.through_ms is None
    else:
        assert found.through_ms is not None
        assert found.through_ms >= max(now_ms, paused_ms)
        more = outlook(now_ms, left * 2, done, first_ms, paused_ms).through_ms
        assert more is not None
        assert more >= found.through_ms


async def test_the_outlook_follows_what_the_attempts_got_done(mapped: Mapped):
    """Ten done in a minute and five left, of which nobody moves one meanwhile: half a minute."""
    desk: Any = Desk(mapped.database, mapped.integrations)
    await mapped.connect({**ORDER, "fields": {"n": "{{number}}"}})
    await mapped.sell(*(Document(n) for n in range(1, 11)))
    mapped.clock.move(60)
    await add_documents(mapped.database, [Document(n) for n in range(11, 16)])
    await mapped.runner.sweep()
    found = await desk.outlook("erp")
    assert (found.left, found.per_minute) == (5, 10.0)
    assert found.through_ms == mapped.clock.now_ms() + 30_000
