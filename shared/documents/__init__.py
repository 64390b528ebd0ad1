"""What happens in a shop, as documents. `KINDS` lists every kind with its payload model and schema version.

The envelope carries any kind; a kind or schema that a centre does not know yet waits there and is applied after
its upgrade. To add a kind: a model in the module of its family, a line here, and its rows in `central/intake/rows.py`.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from shared.documents.cash import CashMovement
from shared.documents.customers import CustomerChange
from shared.documents.orders import Order, OrderReturn, Purchase, SupplierReturn
from shared.documents.payments import BankDocument, CashDocument, CustomerPayment
from shared.documents.receipts import Exchange, ExchangeCancellation, Return, Sale, SaleCancellation
from shared.documents.shifts import ShiftClose, ShiftOpen
from shared.documents.stock import GoodsReceipt, Stocktake, Transfer, WriteOff

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
    "order": Order,
    "order_return": OrderReturn,
    "purchase": Purchase,
    "supplier_return": SupplierReturn,
    "goods_receipt": GoodsReceipt,
    "transfer": Transfer,
    "stocktake": Stocktake,
    "write_off": WriteOff,
    "customer_payment": CustomerPayment,
    "cash_document": CashDocument,
    "bank_document": BankDocument,
}

RECEIPT_KINDS = ("sale", "sale_cancellation", "return", "exchange", "exchange_cancellation")
GOODS_KINDS = (
    "order",
    "order_return",
    "purchase",
    "supplier_return",
    "goods_receipt",
    "transfer",
    "stocktake",
    "write_off",
)
MONEY_KINDS = ("customer_payment", "cash_document", "bank_document")
PAPER_KINDS = GOODS_KINDS + MONEY_KINDS
"""Orders, stock and money documents: with a status, parties, warehouses and links, and without a receipt."""

_REFERENCES = ("cancels", "returns")


def references_of(payload: dict[str, Any]) -> list[str]:
    """The doc_ids that a payload names and that must be applied before it, each once."""
    found = [payload[field] for field in _REFERENCES if payload.get(field)]
    if links := payload.get("based_on"):
        found += [link["doc_id"] for link in links if link.get("doc_id")]
    return list(dict.fromkeys(found)) if len(found) > 1 else found
