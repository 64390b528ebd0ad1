"""An ERP that answers after twenty seconds, never, or is not there slows no station, and no other system.

Said in counts and states, not in seconds: while nothing gets into the ERP, every sale is accepted, reaches the centre
and the other system there, and a change of HQ's reaches the till.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.demo.erp import exchange
from tests.demo.erp.days import difference, shop_of
from tests.demo.erp.made_up import make_days
from tests.demo.erp.office import CURRENCY, Office
from tests.demo.erp.story import Story
from tests.support.chain import PRICE_LIST, Chain
from tests.support.proxy import FaultProxy
from tests.support.tryton import TrytonServer

PRODUCTS, SALES = 9, 6
SLOW_S = 20.0
TIMEOUT_S = 10
"""Less than the slow answers take: each of them is one that did not come in time."""
DELIVERED_S = 180.0


def nobody(_what: str, _done: int, _of: int) -> None:
    """Nobody looks on."""


async def test_a_slow_or_absent_erp_slows_no_station(tmp_path: Path, tryton_template: Path):
    """Slow, silent, away; and once it is well again, each sale is in it once."""
    async with (
        TrytonServer(tmp_path / "tryton", tryton_template) as tryton,
        FaultProxy(tryton.url) as line,
        Chain(tmp_path / "chain", currency=CURRENCY["code"]) as chain,
    ):
        office = Office(tryton, nobody)
        days = make_days(PRODUCTS)
        story = Story(chain, office, line, days, nobody, documents=0, drop_every=2)
        await office.open_books()
        stated = exchange.definition(line.url, timeout_s=TIMEOUT_S)
        await chain.admin("PUT", "/integrations", {"definition": stated})
        first = difference({}, days.days[0], shop_of(days))
        story.shelf = {one.code: one for one in first.new}
        await story.morning(1, first)
        codes = sorted(story.shelf)
        station, till = chain.stations[0], story.tills[0]

        async def in_tryton() -> int:
            rows = (await chain.admin("GET", "/integrations"))["items"]
            return next(row["deliveries"].get("done", 0) for row in rows if row["name"] == exchange.NAME)

        for round_no, (mode, options) in enumerate(
            [("delay", {"seconds": SLOW_S}), ("hang", {}), ("cut", {})], 1
        ):
            before = line.counters.reached.get(mode, 0)
            line.mode(mode, **options)
            # Reading is stuck as well as writing.
            await chain.admin("POST", f"/integrations/{exchange.NAME}/pull", {"full": True})
            for _ in range(SALES):
                await till.serve(codes)
            price = f"#counterflow entity=price mode=changes scope=pricelist/{PRICE_LIST}\n"
            price += "price_list,product,amount_minor,currency\n"
            price += f"{PRICE_LIST},{codes[0]},{round_no},{CURRENCY['code']}\n"
            chain.drop_file(f"price-{mode}.csv", price)

            async def uploaded(sold: int = round_no * SALES) -> bool:
                return await chain.backlog_is_empty() and len(chain.delivered()) == sold

            async def on_the_till(amount: int = round_no) -> bool:
                row = await station.get(f"/v1/products/{codes[0]}")
                return bool(row["price"]["amount_minor"] == amount)

            async def met(before: int = before, mode: str = mode) -> bool:
                return line.counters.reached.get(mode, 0) > before

            await chain.until("every sale is at the centre and in the other system", uploaded)
            await chain.until("HQ's price is on the till", on_the_till)
            await chain.until(f"the ERP was met as it is ({mode})", met)
            assert await in_tryton() == 0, f"{mode}: it was not slow enough to prove anything"
        assert len(station.accepted) == 3 * SALES == len(story.tally.doc_ids)

        line.mode("pass")
        await chain.admin("POST", f"/integrations/{exchange.NAME}/run")

        async def all_in_tryton() -> bool:
            return await in_tryton() == 3 * SALES

        await chain.until("all is in Tryton", all_in_tryton, deadline_s=DELIVERED_S)
        sold = await office.sold(dict.fromkeys(station.accepted, station.code))
    assert sold.times == Counter(station.accepted.keys())
    assert sold.totals == story.tally.totals
