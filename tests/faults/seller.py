"""A till that never stops selling, and the reckoning afterwards.

What a test believes is only this: a document that was answered "accepted" must be at the centre once and delivered
once, whatever died in between; and both sides' `verify` must be clean.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from types import TracebackType
from typing import Any, Self

from tests.support.chain import Chain, Station

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


class Seller:
    """Sells on one station, one after another, for the length of the block. Every answer is remembered."""

    def __init__(self, station: Station, pause_s: float = 0.01) -> None:
        self.station = station
        self.pause_s = pause_s
        self.accepted: dict[str, str] = {}  # doc_id -> idempotency key
        self.repeated = 0
        self.refused: Counter[int] = Counter()
        self._news = asyncio.Condition()

    async def reached(self, count: int) -> None:
        """Wait until so many documents are accepted."""
        async with self._news:
            await self._news.wait_for(lambda: len(self.accepted) >= count)

    async def sell_one(self) -> None:
        number = next(_numbers)
        key = f"sale-{number}"
        status, answer = await self.station.sell(sale(number, 100 + number % 900), key)
        if status in (200, 201):
            assert answer["doc_id"] not in self.accepted, "two sales got one document id"
            self.accepted[answer["doc_id"]] = key
            self.repeated += status == 200
            async with self._news:
                self._news.notify_all()
        else:
            self.refused[status] += 1

    async def _sell(self) -> None:
        while True:
            await self.sell_one()
            await asyncio.sleep(self.pause_s)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._sell())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The sale under way is finished: its customer stands at the till.
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if self._task.done() and not self._task.cancelled():
            self._task.result()


async def reckon(chain: Chain, *sellers: Seller, deadline_s: float = 60.0) -> None:
    """Wait until all is quiet; then every accepted document is there once, and both sides verify clean."""
    accepted = {doc_id for seller in sellers for doc_id in seller.accepted}
    for station in chain.stations:
        await station.sync()
    await chain.until("the backlog is sent", chain.backlog_is_empty, deadline_s)

    async def delivered() -> bool:
        return accepted <= {line["doc_id"] for line in chain.delivered()}

    await chain.until("everything accepted is delivered", delivered, deadline_s)
    times = Counter(line["doc_id"] for line in chain.delivered())
    doubled = {doc_id: count for doc_id, count in times.items() if count > 1}
    assert not doubled, f"delivered more than once: {doubled}"
    for station in chain.stations:
        assert (await station.verify())["findings"] == []
    report = json.loads(await chain.central("verify", "--json"))
    assert report["findings"] == []
