"""A till that never stops selling, and the reckoning afterwards.

What a test believes is only this: a document that was answered "accepted" must be at the centre once and delivered
once, whatever died in between, and nothing else; the catalogs agree; both sides' `verify` is clean.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections import Counter
from types import TracebackType
from typing import Any, Self

from tests.support.chain import Chain, Station

ASK_AGAIN_S = 2.0
_numbers = itertools.count(1)


def sale(number: int, amount_minor: int = 100) -> dict[str, Any]:
    """A small sale as POS software hands it in."""
    line = {
        "n": 1,
        "product": f"A{number % 50}",
        "quantity": "1",
        "price_minor": amount_minor,
        "amount_minor": amount_minor,
    }
    payment = {"n": 1, "type": ("CASH", "CARD")[number % 2], "amount_minor": amount_minor}
    return {
        "kind": "sale",
        "payload": {"currency": "EUR", "lines": [line], "payments": [payment], "total_minor": amount_minor},
    }


def large_sale(number: int) -> dict[str, Any]:
    """Nearly as large as a document may be, and nothing that could be made smaller."""
    document = sale(number)
    document["payload"]["picture"] = secrets.token_hex(400_000)
    return document


class Seller:
    """Sells on one station, one after another, for the length of the block."""

    def __init__(self, station: Station, pause_s: float = 0.02) -> None:
        self.station = station
        self.pause_s = pause_s
        self.accepted: list[str] = []
        self.refused: Counter[int] = Counter()
        self._closing = False
        self._news = asyncio.Event()

    async def sold(self, more: int) -> None:
        """Wait until so many more are accepted."""
        wanted = len(self.accepted) + more
        while len(self.accepted) < wanted:
            self._news.clear()
            news = asyncio.ensure_future(self._news.wait())
            await asyncio.wait([news, self._task], return_when=asyncio.FIRST_COMPLETED)
            news.cancel()
            if self._task.done():
                self._task.result()

    async def sell_one(self) -> None:
        number = next(_numbers)
        status, answer = await self.station.sell(sale(number, 100 + number % 900), f"sale-{number}")
        if status in (200, 201):
            self.accepted.append(answer["doc_id"])
            self._news.set()
        else:
            self.refused[status] += 1

    async def _sell(self) -> None:
        while not self._closing:
            await self.sell_one()
            await asyncio.sleep(self.pause_s)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._sell())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        if error is not None:
            self._task.cancel()
        # The sale under way is finished: its customer stands at the till.
        await asyncio.wait([self._task])
        if error is None:
            self._task.result()


async def sell(station: Station, count: int) -> None:
    """Sell so many, each accepted at the first attempt."""
    seller = Seller(station)
    for _ in range(count):
        await seller.sell_one()
    assert not seller.refused


async def sent(chain: Chain) -> None:
    """Wait until no station has anything left to send."""
    asked = 0.0

    async def empty() -> bool:
        nonlocal asked
        if time.monotonic() - asked > ASK_AGAIN_S:
            asked = time.monotonic()
            for station in chain.stations:
                await station.sync()  # ends the pause after the failures that the test brought about
        return await chain.backlog_is_empty()

    await chain.until("the backlog is sent", empty)


async def reckon(chain: Chain) -> None:
    """Wait until all is quiet, and compare what every till of the chain was ever told with what went out."""
    await sent(chain)
    expected = chain.accepted() - chain.kept_back

    async def delivered() -> bool:
        return expected <= {line["doc_id"] for line in chain.delivered()}

    await chain.until("everything accepted is delivered", delivered)
    times = Counter(line["doc_id"] for line in chain.delivered())
    doubled = {doc_id: count for doc_id, count in times.items() if count > 1}
    assert not doubled, f"delivered more than once: {doubled}"
    assert times.keys() == expected, f"delivered, and no till knows of it: {times.keys() - expected}"
    await chain.until("every station has the catalog of HQ", chain.catalogs_agree)
    for station in chain.stations:
        assert await station.findings() == []
    assert (await chain.admin("GET", "/verify"))["findings"] == []
