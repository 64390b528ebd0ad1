"""What the tills of the demo hand in: sales of what stands on the shelf, returns, and cancellations of whole sales.

Prices are asked of the station, as POS software does it. The draw of lots is seeded: same shelf, same baskets.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from tests.demo.facts import Tally
from tests.support.chain import ChainFailed, Station

LINES_MAX = 3
"""Tryton books a tenth of a second at each."""
RETURN_EVERY, CANCEL_EVERY = 5, 12
"""Each so many documents one is a return of a line, or a cancellation of a sale."""
CASH_SHARE = 0.4
TAX_BP = 2_000


class Till:
    """One station's cashier."""

    def __init__(self, station: Station, tally: Tally, currency: str) -> None:
        self._station = station
        self._tally = tally
        self._currency = currency
        self._rng = random.Random(station.code)
        self._count = 0
        self._open: list[tuple[str, dict[str, Any]]] = []
        """Sales of which nothing has come back, with what was handed in."""

    async def serve(self, codes: Sequence[str]) -> None:
        """One more customer."""
        self._count += 1
        if self._count % CANCEL_EVERY == 0 and self._open:
            doc_id, payload = self._take_open()
            await self._hand_in("sale_cancellation", {**_turned(payload), "cancels": doc_id})
        elif self._count % RETURN_EVERY == 0 and self._open:
            doc_id, payload = self._take_open()
            one_line = _receipt(payload["lines"][:1], "CASH", self._currency)
            await self._hand_in("return", {**_turned(one_line), "returns": doc_id})
        else:
            chosen = self._rng.sample(codes, self._rng.randint(1, min(LINES_MAX, len(codes))))
            lines = [await self._line(number, code) for number, code in enumerate(chosen, 1)]
            kind = "CASH" if self._rng.random() < CASH_SHARE else "CARD"
            payload = _receipt(lines, kind, self._currency)
            doc_id = await self._hand_in("sale", payload)
            if kind == "CASH":  # what comes back is paid back in cash
                self._open.append((doc_id, payload))

    def _take_open(self) -> tuple[str, dict[str, Any]]:
        return self._open.pop(self._rng.randrange(len(self._open)))

    async def _line(self, number: int, code: str) -> dict[str, Any]:
        found = await self._station.get(f"/v1/products/{code}")
        product, price = found["product"], found["price"]["amount_minor"]
        weighed = product["unit"] == "kg"
        quantity = (
            Decimal(self._rng.randint(50, 2_500)) / 1_000 if weighed else Decimal(self._rng.randint(1, 4))
        )
        amount = int((quantity * price).quantize(Decimal(1), ROUND_HALF_UP))
        tax = round(Decimal(amount) * TAX_BP / (10_000 + TAX_BP))
        return {
            "n": number,
            "product": code,
            "name": product["name"],
            "unit": product["unit"],
            "quantity": f"{quantity.normalize():f}",
            "price_minor": price,
            "amount_minor": amount,
            "taxes": [{"code": "VAT", "rate_bp": TAX_BP, "amount_minor": tax}],
        }

    async def _hand_in(self, kind: str, payload: dict[str, Any]) -> str:
        key = f"{self._station.code}-{self._count}"
        status, answer = await self._station.sell({"kind": kind, "payload": payload}, key)
        if status not in (200, 201):
            raise ChainFailed(f"{self._station.code} refused {kind} {key}: {status} {answer}")
        self._tally.repeated += status == 200
        self._tally.note(self._station.code, answer, payload["payments"])
        return str(answer["doc_id"])


def _receipt(lines: Sequence[dict[str, Any]], kind: str, currency: str) -> dict[str, Any]:
    total = sum(line["amount_minor"] for line in lines)
    return {
        "currency": currency,
        "lines": list(lines),
        "payments": [{"n": 1, "type": kind, "amount_minor": total}],
        "total_minor": total,
        "tax_minor": sum(tax["amount_minor"] for line in lines for tax in line["taxes"]),
    }


def _turned(payload: dict[str, Any]) -> dict[str, Any]:
    """The same with the sign turned: goods and money go the other way."""
    lines = [
        {
            **line,
            "quantity": f"-{line['quantity']}",
            "amount_minor": -line["amount_minor"],
            "taxes": [{**tax, "amount_minor": -tax["amount_minor"]} for tax in line["taxes"]],
        }
        for line in payload["lines"]
    ]
    return _receipt(lines, payload["payments"][0]["type"], payload["currency"])
