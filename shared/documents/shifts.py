"""A cashier's shift. The close carries what the till expects, so that HQ can compare without asking."""

from __future__ import annotations

from pydantic import Field

from shared.documents.fields import Code, CurrencyCode, Minor, Record, Text, Time


class ShiftOpen(Record):
    shift: Code
    cashier: Code
    currency: CurrencyCode
    opened_at: Time
    float_minor: Minor = Field(0, description="cash in the drawer at the start")
    comment: Text = ""


class ShiftTotal(Record):
    """What one payment type came to in the shift."""

    type: Code
    count: int = Field(ge=0)
    amount_minor: Minor
    counted_minor: Minor | None = Field(None, description="what was really counted in the drawer")


class ShiftClose(Record):
    shift: Code
    cashier: Code
    currency: CurrencyCode
    closed_at: Time
    receipts: int = Field(ge=0)
    totals: list[ShiftTotal] = Field(max_length=100)
    comment: Text = ""
