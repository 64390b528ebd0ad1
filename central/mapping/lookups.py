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
    "country",
    "legal_form",
    "industry",
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


def unknown(one: LookUp) -> str:
    """Why a record cannot be mapped when a code has no counterpart.

    It is the reason under which all that miss the same code are parked together, so nothing of the record is in it.
    """
    whose = f" of outlet {one.outlet}" if one.outlet else ""
    code = one.code if len(one.code) <= 80 else one.code[:80] + "…"
    return f"unknown {one.kind} {code}{whose} in {f'system {one.system}' if one.system else 'the cross-reference'}"
