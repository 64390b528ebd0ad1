"""Orders: what customers order of us and bring back of it, what we order of suppliers and send back.

An order that changes (another status, other lines) is sent again as a whole: a new document that is based on the
one before; nothing that was sealed is changed.
"""

from __future__ import annotations

from pydantic import Field

from shared.documents.fields import BusinessDate, Code, DocId, Minor, Text, Time
from shared.documents.papers import GoodsPaper, Party, ReturnedGoods


class Order(GoodsPaper):
    """A customer's order. `status` is needed: which ones are exported is said by the integration."""

    status: Code = Field(description="e.g. new, confirmed, assembled, delivered, cancelled")
    customer: Code | None = None
    party: Party | None = Field(None, description="the customer, where there is no code or more is known")
    warehouse: Code | None = None
    price_list: Code | None = None
    channel: Code | None = Field(None, description="shop, web, phone, a marketplace")
    due: BusinessDate | None = None
    deliver_from: Time | None = None
    deliver_to: Time | None = None
    delivery: Code | None = Field(None, description="courier, pickup and the like")
    address: Text = ""
    paid_minor: Minor = Field(0, description="paid in advance; the payments are documents of their own")


class OrderReturn(ReturnedGoods):
    """Goods of an order that the customer brings or sends back."""

    returns: DocId | None = Field(None, description="the order, where it is ours")
    customer: Code | None = None
    party: Party | None = None
    warehouse: Code | None = None
    reason: Text = ""


class Purchase(GoodsPaper):
    """An order to a supplier."""

    supplier: Party
    warehouse: Code | None = None
    due: BusinessDate | None = None


class SupplierReturn(ReturnedGoods):
    """Goods that go back to a supplier."""

    supplier: Party
    warehouse: Code
    returns: DocId | None = Field(None, description="the goods receipt, where it is ours")
    reason: Text = ""
