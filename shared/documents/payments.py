"""Money outside receipts: a customer pays for an order or a debt, cash and bank documents of the books.

None of them adds to the day totals of receipts; a payment inside a sale stays a part of that sale.
"""

from __future__ import annotations

from pydantic import Field

from shared.documents.fields import BusinessDate, Code, CurrencyCode, Minor, Text
from shared.documents.papers import Paper, Party


class MoneyPaper(Paper):
    """Positive: money that we get; negative: money that we pay."""

    currency: CurrencyCode
    amount_minor: Minor
    party: Party | None = None
    purpose: Text = ""


class CustomerPayment(MoneyPaper):
    """A customer pays for an order, in advance or on account; negative: paid back."""

    type: Code = Field(description="payment type of the catalog")
    customer: Code | None = None
    reference: Code | None = Field(None, description="of the terminal or bank; never a card number")
    shift: Code | None = None
    cashier: Code | None = None


class CashDocument(MoneyPaper):
    """A cash order of the books (the drawer's own movements are `cash_in` and `cash_out`)."""

    account: Code = Field(description="the cash desk")
    reason: Code | None = Field(None, description="a financial reason of the catalog")


class BankDocument(MoneyPaper):
    """A movement on a bank account of ours."""

    account: Code = Field(description="ours")
    counter_account: Code | None = None
    bank: Code | None = None
    bank_number: Code | None = Field(None, description="of the bank's own document")
    booked: BusinessDate | None = None
    reason: Code | None = Field(None, description="a financial reason of the catalog")
