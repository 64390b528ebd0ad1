"""One try at a batch, as it is told to people: what was asked and answered, how long it took, what came of it.

Invariant: a try at which bytes leave is in the database before they do; its outcome is written in the transaction
that draws the consequence. One without an outcome belongs to a node that is at it, or died of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from central.connectors.base import Exchange
from central.db import attempts as rows
from central.deliveries.masking import masked, secrets_of
from central.integrations.secret_values import resolved
from shared.canonical import canonical
from shared.clock import Clock

EXCHANGES_MAX = 10
"""Kept of one try, the newest."""
ERROR_MAX = 2_000


class Attempt:
    """What is collected while a batch is carried once."""

    def __init__(self, integration_no: int, batch_no: int, clock: Clock, settings: Mapping[str, Any]) -> None:
        self.calls = 0
        self.done = 0
        self._integration_no = integration_no
        self._batch_no = batch_no
        self._clock = clock
        self._settings = settings
        self._began_ms = clock.tick_ms()
        self._exchanges: deque[Exchange] = deque(maxlen=EXCHANGES_MAX)
        self._number: int | None = None

    def tell(self, exchange: Exchange) -> None:
        """For `Batch.tell`."""
        self.calls += 1
        self._exchanges.append(exchange)

    async def begin(self, connection: AsyncConnection, now_ms: int) -> None:
        """In the transaction after which bytes of the batch leave."""
        self._number = await rows.begin(connection, self._values(now_ms, sent=True))

    async def end(
        self, connection: AsyncConnection, now_ms: int, outcome: str, error: str | None = None
    ) -> None:
        """In the transaction that draws the consequence."""
        took_ms = self._clock.tick_ms() - self._began_ms
        result = {
            "took_ms": took_ms,
            "outcome": outcome,
            "done": self.done,
            "error": error[:ERROR_MAX] if error else None,
            "exchanges": self._kept(),
        }
        if self._number is None:
            await rows.begin(connection, self._values(now_ms - took_ms, sent=False) | result)
        else:
            await rows.end(connection, self._number, result)

    def _values(self, at_ms: int, *, sent: bool) -> dict[str, object]:
        return {
            "integration_no": self._integration_no,
            "batch_no": self._batch_no,
            "at_ms": at_ms,
            "took_ms": None,
            "sent": sent,
            "outcome": None,
            "done": 0,
            "error": None,
            "exchanges": self._kept(),
        }

    def _kept(self) -> str:
        if not self._exchanges:
            return "[]"
        secrets = set(secrets_of(resolved(self._settings)))
        texts = [[masked(text, secrets) for text in (one.request, one.answer)] for one in self._exchanges]
        return canonical(texts).decode()
