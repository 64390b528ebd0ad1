"""Cash put into or taken out of the drawer outside a sale, always with a financial reason from the catalog."""

from __future__ import annotations

from pydantic import Field

from shared.documents.fields import Code, CurrencyCode, Minor, Record, Text


class CashMovement(Record):
    """`cash_in` has a positive amount, `cash_out` a negative one."""

    currency: CurrencyCode
    amount_minor: Minor
    reason: Code = Field(description="a financial reason of the catalog")
    type: Code = Field("CASH", description="payment type whose drawer it is")
    shift: Code | None = None
    cashier: Code | None = None
    comment: Text = ""
