"""No card number is ever written (I23): what a cashier types or a terminal returns is masked before the seal.

Everything is free text unless its field is known to carry another kind of number: those are left alone, since a
barcode or a fiscal key that happens to pass the cards' check must stay what it is.
"""

from __future__ import annotations

from typing import Any

from shared.codes import mask_card_numbers
from shared.errors import BadInput

NOT_TEXT = frozenset(
    {
        *("barcode", "barcodes", "product", "variant", "pack", "unit", "group", "serials", "marks", "lots"),
        *(
            "doc_id",
            "cancels",
            "returns",
            "origin",
            "fiscal",
            "currency",
            "price_list",
            "promotion",
            "version",
        ),
        *("seller", "cashier", "customer", "shift", "terminal", "type", "condition", "code", "codes", "key"),
        *("n", "quantity", "base_version", "opened_at", "closed_at"),
        *("tax_id", "tax_branch", "account", "counter_account", "bank", "bank_number"),
        *("warehouse", "to_warehouse", "organisation", "supplier_number", "based_on", "source_id"),
    }
)
"""Fields, with all inside them, that carry identifiers of the catalog, the scanner, the fiscal device or the books."""

# A quick look at the whole, many times as fast as a pattern: most documents hold no run of digits that long.
_ALL_DIGITS_ALIKE = bytes.maketrans(b"123456789", b"000000000")
_SHORTEST_CARD = b"0" * 14


def may_hold_card_number(raw: bytes) -> bool:
    """Whether canonical bytes hold digits that could be a card number, in whatever field."""
    return _SHORTEST_CARD in raw.translate(_ALL_DIGITS_ALIKE, b" -")


def masked(value: Any) -> Any:
    """A JSON value with the card numbers in its free text replaced by their last four digits."""
    if isinstance(value, str):
        return mask_card_numbers(value)
    if isinstance(value, dict):
        return {key: part if _is_number_of_its_own(key) else masked(part) for key, part in value.items()}
    if isinstance(value, list):
        return [masked(part) for part in value]
    if isinstance(value, int) and not isinstance(value, bool):
        # A card number sent as a JSON number; the text form of any other integer is the integer itself.
        text = mask_card_numbers(str(value))
        return value if text == str(value) else text
    return value


def _is_number_of_its_own(field: str) -> bool:
    return field in NOT_TEXT or field.endswith(("_minor", "_ms", "_bp"))


def without_cards(error: BadInput) -> BadInput:
    """The same complaint about fields: a wrong value stands in it, so a card number could too."""
    faults = [
        {name: mask_card_numbers(text) for name, text in fault.items()} for fault in error.extra["fields"]
    ]
    return BadInput(mask_card_numbers(error.what), code=error.name, fields=faults)
