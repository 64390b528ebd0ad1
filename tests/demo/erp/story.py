"""What the demo with an ERP does, over real processes: Tryton, a centre, three stations.

Each of three days: 1 HQ enters in Tryton what the day's file changes; 2 the centre pulls it, by its cursor, and on the
last day compares all of it; 3 every station's rows are compared with Tryton's, one by one; 4 the tills sell and take
back, while the line between centre and Tryton drops every third answer. At the end all sales are looked for in Tryton.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tests.demo import balance, facts
from tests.demo.erp import exchange
from tests.demo.erp.days import Article, Change, Days, after, difference, shop_of
from tests.demo.erp.office import CURRENCY, UNITS, Office, Sold
from tests.demo.erp.tills import Till
from tests.demo.facts import Tally
from tests.demo.screen import Tell
from tests.support.chain import PRICE_LIST, Chain, ChainFailed, Station
from tests.support.proxy import FaultProxy

PAGE = 500
PULL_S, DELIVERED_S = 300.0, 1_200.0


@dataclass
class DayResult:
    """One line of the table of days."""

    change: Change
    rows: int = 0
    """Products and prices, each, that stand in Tryton afterwards."""
    equal: dict[str, bool] = field(default_factory=dict)
    """station -> all of its rows are Tryton's, and nothing else is there"""
    seen: int = 0
    """Records that the pull read."""
    is_full: bool = False
    entered_s: float = 0.0
    live_s: float = 0.0
    """From the call for the pull until the last station has it."""


@dataclass
class Outcome:
    """All that the end of the demonstration shows."""

    days: list[DayResult]
    balance: balance.Balance
    tally: Tally
    sold: Sold
    dropped: int
    requests: int
    digests_equal: dict[str, bool]
    findings: dict[str, list[Any]]
    figures: dict[str, float]

    @property
    def holds(self) -> bool:
        return (
            all(all(day.equal.values()) for day in self.days)
            and self.balance.holds
            and not self.sold.strangers
            and all(self.digests_equal.values())
            and not any(self.findings.values())
        )


class Story:
    """One run of the demonstration.

    Args:
        office: at a Tryton that has nothing of the demo's yet.
        line: between the centre and that Tryton.
        documents: how many are handed in over all days and stations.
        drop_every: each so many answers one is lost while the tills sell.
    """

    def __init__(
        self,
        chain: Chain,
        office: Office,
        line: FaultProxy,
        days: Days,
        tell: Tell,
        *,
        documents: int,
        drop_every: int,
    ) -> None:
        self.chain, self.office, self.line, self.days, self.tell = chain, office, line, days, tell
        self.documents, self.drop_every = documents, drop_every
        self.tally = Tally()
        self.tills = [Till(station, self.tally, CURRENCY["code"]) for station in chain.stations]
        self.figures: dict[str, float] = {}
        self.shelf: dict[str, Article] = {}
        self.stations: dict[str, str] = {}
        self.handed_in = 0

    async def run(self) -> Outcome:
        await self.office.open_books()
        await self.connect()
        shops = shop_of(self.days)
        results = []
        for number, day in enumerate(self.days.days, 1):
            change = difference(self.shelf, day, shops)
            self.shelf = after(self.shelf, change)
            results.append(await self.morning(number, change))
            await self.trade(number)
        start = time.monotonic()
        await self.chain.until("the backlog is sent", self.chain.backlog_is_empty)
        await self.chain.until("all is in Tryton", self.all_delivered, deadline_s=DELIVERED_S)
        self.figures["after_last_sale_s"] = time.monotonic() - start
        self.line.mode("pass")
        return await self.compare(results)

    async def connect(self) -> None:
        """State the integration; its check has to find nothing wrong."""
        stated = {"definition": exchange.definition(self.line.url)}
        await self.chain.admin("PUT", "/integrations", stated)
        found = (await self.chain.admin("POST", f"/integrations/{exchange.NAME}/check"))["items"]
        wrong = [f"{one['what']}: {one['detail']}" for one in found if not one["ok"]]
        if wrong:
            raise ChainFailed(f"Tryton is not as the integration needs it: {'; '.join(wrong)}")

    # ---- a day ----

    async def morning(self, number: int, change: Change) -> DayResult:
        """Goods and prices: entered, pulled, compared row for row."""
        result = DayResult(change, is_full=number in (1, len(self.days.days)))
        start = time.monotonic()
        await self.office.enter(change, number)
        result.entered_s = time.monotonic() - start
        start = time.monotonic()
        self.line.mode("pass")
        result.seen = await self.pull(number, is_full=result.is_full)
        await self.chain.until("every station has HQ's catalog", self.digests_fit, deadline_s=PULL_S)
        result.live_s = time.monotonic() - start
        in_tryton = await self.office.shelf()
        if in_tryton != self.shelf:
            raise ChainFailed(f"day {number} was not entered in Tryton as it is in the file")
        result.rows = len(in_tryton)
        for station in self.chain.stations:
            result.equal[station.code] = await rows_of(station) == rows_expected(in_tryton)
        return result

    async def pull(self, number: int, *, is_full: bool) -> int:
        """Have both pulls run, and return how many records they read."""
        before = {run["run"] for run in await self.runs()}
        # What the first run has not covered yet is asked for again: a run may be under way already.
        await self.chain.admin("POST", f"/integrations/{exchange.NAME}/pull", {"full": is_full})
        new: list[dict[str, Any]] = []

        async def done() -> bool:
            new[:] = [run for run in await self.runs() if run["run"] not in before]
            taken = {run["pull"] for run in new if run["result"] == "taken"}
            self.tell(f"day {number}: pulled from Tryton", len(taken), 2)
            return len(taken) == 2 and all(run["result"] for run in new)

        await self.chain.until("Tryton was read", done, deadline_s=PULL_S)
        rejected = [run["report"]["errors"] for run in new if (run["report"] or {}).get("rejected")]
        if rejected:
            raise ChainFailed(f"records were rejected: {rejected[0][:3]}")
        return sum(run["report"]["records"] for run in new if run["result"] == "taken")

    async def runs(self) -> list[dict[str, Any]]:
        found = await self.chain.admin("GET", f"/integrations/{exchange.NAME}/runs")
        return list(found["items"])

    async def digests_fit(self) -> bool:
        return all((await facts.digests_equal(self.chain)).values())

    async def trade(self, number: int) -> None:
        """The tills sell, all at once, while answers get lost on the way to Tryton."""
        days = len(self.days.days)
        wanted = self.documents * number // days
        codes = sorted(code for code, one in self.shelf.items() if one.active)
        self.line.mode("drop_answer", every=self.drop_every)

        async def serve(till: Till) -> None:
            while self.handed_in < wanted:
                self.handed_in += 1
                await till.serve(codes)
                self.tell("documents handed in", self.handed_in, self.documents)

        await asyncio.gather(*map(serve, self.tills))

    # ---- the end ----

    async def all_delivered(self) -> bool:
        rows = (await self.chain.admin("GET", "/integrations"))["items"]
        counts: Mapping[str, int] = next(row for row in rows if row["name"] == exchange.NAME)["deliveries"]
        self.tell("documents in Tryton", counts.get("done", 0), self.documents)
        if counts.get("parked"):
            batches = await self.chain.admin("GET", f"/integrations/{exchange.NAME}/batches")
            raise ChainFailed(f"deliveries were parked: {counts}, {batches}")
        return counts.get("done", 0) >= self.documents

    async def compare(self, days: list[DayResult]) -> Outcome:
        stations = {doc_id: station.code for station in self.chain.stations for doc_id in station.accepted}
        sold = await self.office.sold(stations)
        return Outcome(
            days,
            balance.balance(
                self.tally.totals, await facts.stored(self.chain), sold.totals, self.tally.doc_ids, sold.times
            ),
            self.tally,
            sold,
            self.line.counters.reached.get("drop_answer", 0),
            self.line.counters.requests,
            await facts.digests_equal(self.chain),
            await facts.findings(self.chain),
            self.figures,
        )


Rows = dict[str, dict[str, Any]]
"""Entity and key -> row"""


async def rows_of(station: Station) -> Rows:
    """All products and prices that the station's own API shows."""
    found: Rows = {}
    for entity in ("product", "price"):
        after_key: str | None = ""
        while after_key is not None:
            page = await station.get(f"/v1/catalog/{entity}?limit={PAGE}&after={after_key}")
            found |= {f"{entity} {row['key']}": row["data"] for row in page["items"]}
            after_key = page["next"]
    return found


def rows_expected(shelf: Mapping[str, Article]) -> Rows:
    """What a station must have for these goods."""
    rows: Rows = {}
    for code, one in shelf.items():
        rows[f"product {code}"] = {
            "code": code,
            "name": one.name,
            "unit": UNITS[one.weighed],
            "barcodes": [code],
            "active": one.active,
        }
        rows[f"price {PRICE_LIST}|{code}||||"] = {
            "price_list": PRICE_LIST,
            "product": code,
            "amount_minor": int(one.price * Decimal(100)),
            "currency": CURRENCY["code"],
        }
    return rows
