"""Sales into a real Tryton, through a network that loses answers: each of them once, booked, to the cent."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from central.connectors.base import (
    Batch,
    Delivery,
    Exchange,
    NoAnswer,
    TargetAway,
    TargetDenies,
    tell_nobody,
)
from central.connectors.tryton.connector import TrytonConnector
from central.connectors.tryton.rpc import TRIES
from central.connectors.tryton.selling import reference
from tests.central.connectors.tryton.conftest import Connect
from tests.support.proxy import FaultProxy
from tests.support.tryton import TrytonServer
from tests.support.tryton_process import PASSWORD
from tests.support.tryton_shop import Goods, add_goods, sales

pytestmark = pytest.mark.erp


async def unknown(batch_ids: Collection[str]) -> set[str]:
    return set(batch_ids)


@pytest.fixture
async def milk(server: TrytonServer) -> str:
    code = f"P{uuid4().hex[:10]}"
    await add_goods(server, [Goods(code, "Milk", Decimal("12.00"))])
    return code


def delivery(product: str, quantity: int = 1, **changes: Any) -> Delivery:
    doc_id = str(uuid4())
    amount = Decimal("12.00") * quantity
    record = {
        "point": "S1",
        "date": "2026-11-22",
        "lines": [{"product": product, "quantity": quantity, "amount": amount, "tax": amount / 6}],
        "payments": [{"method": "Cash", "amount": amount}],
    }
    kind = "sale" if quantity > 0 else "sale_cancellation"
    return Delivery(
        f"erp:{doc_id}:sale",
        "sale",
        doc_id,
        kind,
        "T-1-1",
        "T-1",
        "S1",
        b"{}",
        b"{}",
        "sale",
        record | changes,
    )


def batch(*deliveries: Delivery, tell: Any = tell_nobody) -> Batch:
    return Batch(f"erp-{uuid4().hex}", deliveries, tell)


async def held(server: TrytonServer, *deliveries: Delivery) -> list[tuple[str, Decimal]]:
    """State and total of each sale that Tryton holds for these, doubles included."""
    references = {reference(one) for one in deliveries}
    return [(row["state"], row["total"]) for row in await sales(server) if references & set(row["notes"])]


async def test_a_sale_and_its_cancellation_are_booked(server: TrytonServer, connect: Connect, milk: str):
    """A cancellation is a sale with minus signs; both are posted, with their moves, under their numbers."""
    sale, back = delivery(milk, 2), delivery(milk, -2)
    told: list[Exchange] = []
    answer = await connect().deliver(batch(sale, back, tell=told.append))
    assert answer.rejected == {}
    assert (answer.written[sale.key].number or "").isdigit()
    assert await held(server, sale, back) == [("posted", Decimal("24.00")), ("posted", Decimal("-24.00"))]
    (product,) = await server.call("model.product.product.search", [["code", "=", milk]], 0, None, None)
    moves = await server.call(
        "model.stock.move.search_read", [["product", "=", product]], 0, None, None, ["quantity", "state"]
    )
    assert [(move["quantity"], move["state"]) for move in moves] == [(2, "done"), (2, "done")]
    assert told
    assert not any(PASSWORD in one.request for one in told)


async def test_the_probe_finds_what_took_effect(connect: Connect, milk: str):
    """With the id that Tryton gave it, in the process that sent it and in the next one."""
    one = delivery(milk)
    assert await connect().probe(batch(one), unknown) == {}
    answer = await connect().deliver(batch(one))
    assert await connect().probe(batch(one, delivery(milk)), unknown) == answer.written


STEPS = ["sale.point.sale.create", "ir.note.create", "sale.point.sale.process", "sale.point.sale.post"]


@pytest.mark.parametrize("lost", STEPS)
async def test_a_step_that_lost_its_answer_is_asked_again_at_once(
    server: TrytonServer, connect: Connect, milk: str, lost: str
):
    """Twice is no more than once for each of them, so a broken connection costs no rest."""
    one, other = delivery(milk), delivery(milk, -1)
    async with FaultProxy(server.url) as proxy:
        steps = _Losing(connect(url=proxy.url), proxy, f"model.{lost}", times=1)
        answer = await steps.deliver(batch(one, other))
        assert proxy.counters.reached["drop_answer"] == 1
    assert answer.written.keys() == {one.key, other.key}
    booked = [sale for sale in await held(server, one, other) if sale[0] != "open"]
    assert booked == [("posted", Decimal("12.00")), ("posted", Decimal("-12.00"))]


@pytest.mark.parametrize("lost", STEPS)
async def test_a_lost_answer_makes_no_second_sale(
    server: TrytonServer, connect: Connect, milk: str, lost: str
):
    """Whichever of the four steps lost every answer of a try, the next try goes on from there."""
    one = delivery(milk)
    async with FaultProxy(server.url) as proxy:
        connector = connect(url=proxy.url)
        await connector.check()
        steps = _Losing(connector, proxy, f"model.{lost}")
        with pytest.raises(NoAnswer):
            await steps.deliver(batch(one))
        assert proxy.counters.reached["drop_answer"] == TRIES
        found = await connector.probe(batch(one), unknown)
        assert (set(found) == {one.key}) is lost.endswith("post")
        if not found:
            await connector.deliver(batch(one))
    assert await held(server, one) == [("posted", Decimal("12.00"))]


class _Losing:
    """A connector whose answers to one method are dropped behind the commit, all of one try or the first few."""

    def __init__(
        self, connector: TrytonConnector, proxy: FaultProxy, method: str, times: int = TRIES
    ) -> None:
        self._connector = connector
        self._proxy = proxy
        self._method = method
        self._left = times

    async def deliver(self, batch: Batch) -> Any:
        from central.connectors.tryton import rpc

        dumps = rpc.values.dumps

        def watched(value: Any) -> bytes:
            if value["method"] == self._method and self._left:
                self._left -= 1
                self._proxy.mode("drop_answer", times=1)
            return dumps(value)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rpc.values, "dumps", watched)
            return await self._connector.deliver(batch)


async def test_every_third_answer_lost_and_each_sale_once(server: TrytonServer, connect: Connect, milk: str):
    """Sixty sales and cancellations in batches, sent as the centre sends: probe, send what is missing, again."""
    wanted = [delivery(milk, 1 if number % 3 else -1) for number in range(60)]
    async with FaultProxy(server.url) as proxy:
        connector = connect(url=proxy.url)
        proxy.mode("drop_answer", every=3)
        for start in range(0, len(wanted), 10):
            members = wanted[start : start + 10]
            for _ in range(20):
                with contextlib.suppress(NoAnswer, TargetAway):
                    found = await connector.probe(batch(*members), unknown)
                    left = [one for one in members if one.key not in found]
                    if not left:
                        break
                    await connector.deliver(batch(*left))
            else:
                pytest.fail("twenty attempts did not bring ten sales through")
        assert proxy.counters.reached["drop_answer"] > 20
    assert await held(server, *wanted) == [
        ("posted", Decimal(12 if number % 3 else -12)) for number in range(60)
    ]


async def test_one_bad_sale_of_a_batch_is_refused_and_the_others_are_booked(
    server: TrytonServer, connect: Connect, milk: str
):
    """What is not known in Tryton, and what Tryton itself refuses, is told by delivery, in words."""
    good, strange = delivery(milk), delivery("no-such-code")
    unpaid = delivery(milk, payments=[{"method": "Cash", "amount": "1.00"}])
    answer = await connect().deliver(batch(good, strange, unpaid))
    assert answer.rejected.keys() == {strange.key, unpaid.key}
    assert answer.rejected[strange.key].reason == 'Tryton has no product with the code "no-such-code"'
    assert await held(server, good) == [("posted", Decimal("12.00"))]


async def test_a_repaired_sale_goes_on_with_its_new_lines(server: TrytonServer, connect: Connect, milk: str):
    """What was refused half-way stands open in Tryton; the repaired one replaces its lines, not the sale."""
    first = delivery(milk, payments=[{"method": "Cash", "amount": "1.00"}])
    await connect().deliver(batch(first))
    record = {**(first.record or {}), "payments": [{"method": "Card", "amount": "12.00"}]}
    answer = await connect().deliver(batch(first._replace(record=record)))
    assert answer.rejected == {}
    assert await held(server, first) == [("posted", Decimal("12.00"))]


async def test_who_may_not_sell_parks_nobody(server: TrytonServer, connect: Connect, milk: str):
    """Tryton says it with 200 and a sentence; it is a missing right and no fault of the sale."""
    with pytest.raises(TargetDenies):
        await connect(user="nobody").deliver(batch(delivery(milk)))


async def test_a_wrong_password_denies_and_a_stopped_server_is_away(connect: Connect, milk: str):
    """Neither uses up a try of the sale."""
    with pytest.raises(TargetDenies, match="does not let"):
        await connect(password="wrong").deliver(batch(delivery(milk)))
    with pytest.raises(TargetDenies, match="no database"):
        await connect(database="elsewhere").deliver(batch(delivery(milk)))
    with pytest.raises(TargetAway, match="not reached"):
        await connect(url="http://127.0.0.1:9").deliver(batch(delivery(milk)))


async def test_a_session_that_ended_is_renewed_unseen(server: TrytonServer, connect: Connect, milk: str):
    """Tryton forgets sessions; the call is repeated after a new sign-in, for nothing of it was done."""
    connector = connect()
    await connector.probe(batch(delivery(milk)), unknown)
    with server.sql() as database:
        database.execute("DELETE FROM ir_session")
    one = delivery(milk)
    assert (await connector.deliver(batch(one))).rejected == {}
    assert await held(server, one) == [("posted", Decimal("12.00"))]


@pytest.mark.parametrize(
    ("mode", "options", "error"),
    [
        ("status", {"code": 503, "retry_after": 7}, TargetAway),
        ("status", {"code": 429, "retry_after": 7}, TargetAway),
        ("status", {"code": 403}, TargetDenies),
        ("html200", {}, NoAnswer),
        ("login302", {}, NoAnswer),
    ],
)
async def test_what_is_no_answer_of_tryton_is_told_apart(
    server: TrytonServer,
    connect: Connect,
    milk: str,
    mode: str,
    options: dict[str, Any],
    error: type[Exception],
):
    """Busy: later. Kept out: a person. A page of somebody else's after a change: it may have arrived."""
    async with FaultProxy(server.url) as proxy:
        connector = connect(url=proxy.url)
        tryton = connector._tryton()
        async with tryton:
            await tryton.call("model.product.uom.search", [], 0, 1, None)
            proxy.mode(mode, **options)
            with pytest.raises(error) as caught:
                await tryton.call("model.party.party.create", [{"name": "x"}])
    if error is TargetAway:
        assert caught.value.extra["retry_after_s"] == 7


async def test_a_party_is_found_made_once_and_taken_back(connect: Connect):
    """By its tax identifier; what Tryton will not give up is told."""
    connector = connect()
    number = f"47{uuid4().int % 10**8:08d}"
    assert await connector.find("party", "tax_id", [number]) == {number: []}
    made = await connector.create("party", {"name": "Nova", "tax_id": number, "email": "n@example.org"})
    assert made.number is not None
    assert await connector.find("party", "tax_id", [number, "-"]) == {number: [made.id], "-": []}
    assert await connector.undo("party", [made.id]) == {}
    assert await connector.find("party", "tax_id", [number]) == {number: []}
    kept = await connector.undo("party", ["1"])
    assert kept.keys() == {"1"}


async def test_a_bad_tax_identifier_is_refused_in_tryton_s_words(connect: Connect):
    """A person can act on it."""
    with pytest.raises(Exception, match="BE0000000000"):
        await connect().create("party", {"name": "x", "tax_id": "BE0000000000", "tax_id_type": "eu_vat"})


async def test_a_draft_that_never_got_its_note_is_removed_after_a_while(
    server: TrytonServer, connect: Connect, milk: str
):
    """The process died between draft and note. A younger one, and what bears a note, stay: they may be under way."""
    (product,) = await server.call("model.product.product.search", [["code", "=", milk]], 0, None, None)
    line = {
        "product": product,
        "quantity": 1.0,
        "unit_gross_price": Decimal(12),
        "unit_list_price": Decimal(10),
    }
    draft = {"point": 1, "company": 1, "date": date(2026, 11, 22), "lines": [["create", [line]]]}
    create = "model.sale.point.sale.create"
    old, noted, young = await server.call(create, [draft] * 3, user="exchange")
    note = {"resource": f"sale.point.sale,{noted}", "message": "somebody's"}
    await server.call("model.ir.note.create", [note], user="exchange")
    with server.sql() as database:
        database.execute(
            "UPDATE sale_point_sale SET create_date = datetime(create_date, '-11 minutes') WHERE id IN (?, ?)",
            (old, noted),
        )
    await connect().deliver(batch(delivery(milk)))
    there = {row["id"] for row in await sales(server)}
    assert {old, noted, young} & there == {noted, young}


async def test_a_sale_may_stay_done_until_somebody_posts_it(
    server: TrytonServer, connect: Connect, milk: str
):
    """With `post` off the books are Tryton's people's; the sale is there, once, all the same."""
    one = delivery(milk)
    connector = connect(post=False)
    await connector.deliver(batch(one))
    assert set(await connector.probe(batch(one), unknown)) == {one.key}
    assert await held(server, one) == [("done", Decimal("12.00"))]
