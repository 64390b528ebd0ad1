"""What happens in a shop, as documents. `KINDS` lists every kind with its payload model and schema version.

The envelope carries any kind; a kind or schema that a centre does not know yet waits there and is applied after
its upgrade. To add a kind: a model in the module of its family, a line here, and its rows in `central/intake/rows.py`.
"""

from __future__ import annotations

from pydantic import BaseModel

from shared.documents.cash import CashMovement
from shared.documents.customers import CustomerChange
from shared.documents.receipts import Exchange, ExchangeCancellation, Return, Sale, SaleCancellation
from shared.documents.shifts import ShiftClose, ShiftOpen

SCHEMA = 1
"""The schema version that this build writes; every older one is read for ever."""

KINDS: dict[str, type[BaseModel]] = {
    "sale": Sale,
    "sale_cancellation": SaleCancellation,
    "return": Return,
    "exchange": Exchange,
    "exchange_cancellation": ExchangeCancellation,
    "shift_open": ShiftOpen,
    "shift_close": ShiftClose,
    "cash_in": CashMovement,
    "cash_out": CashMovement,
    "customer_change": CustomerChange,
}

RECEIPT_KINDS = ("sale", "sale_cancellation", "return", "exchange", "exchange_cancellation")
