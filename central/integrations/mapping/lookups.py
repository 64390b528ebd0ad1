"""What a mapping asks of the cross-reference: one question per code, gathered for a whole page before it is applied.

So `Mapping_.apply` stays pure: whoever applies it gathers the questions, asks the database once, hands in the answers.
"""

from __future__ import annotations

from typing import NamedTuple

KINDS = (
    "item",
    "variant",
    "group",
    "warehouse",
    "store",
    "station",
    "party",
    "organisation",
    "seller",
    "unit",
    "currency",
    "tax",
    "payment_type",
    "price_list",
    "reason",
)
"""What has codes in many systems."""


class LookUp(NamedTuple):
    """A code whose counterpart is wanted.

    Which way follows from the flow: a pull knows the code of `system` and wants ours, a delivery knows ours and wants
    that of `system`. `outlet` is set for codes that hold in one outlet only.
    """

    kind: str
    system: str
    code: str
    outlet: str = ""
