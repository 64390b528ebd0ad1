"""From a source's row to a change: checked by its entity, named by its key, sent to its scope."""

from __future__ import annotations

from typing import Any

import pytest

from central.catalog.rows import ROW_MAX_BYTES, read_key, read_row
from shared.canonical import parse_object
from shared.catalog.entities import ENTITIES
from shared.errors import BadInput

PRICE = {"price_list": "RETAIL", "product": "A", "amount_minor": 100, "currency": "EUR"}


def test_a_row_goes_to_its_entitys_scope_unless_one_is_named() -> None:
    """Prices go to their list, balances to their store, products to base; a source may say otherwise."""
    assert read_row("product", {"code": "A", "name": "x"})[0] == "base"
    assert read_row("price", PRICE)[0] == "pricelist/RETAIL"
    assert read_row("balance", {"warehouse": "W", "product": "A", "quantity": 1})[0] == "store/W"
    assert read_row("promotion", {"code": "A", "name": "x"}, "group/G")[0] == "group/G"


def test_the_same_row_in_another_order_has_the_same_payload() -> None:
    """Published is the canonical form of what was understood, so that nothing changes by being written differently."""
    first = read_row("balance", {"warehouse": "W", "product": "A", "quantity": "1.50"})[1]
    second = read_row("balance", {"quantity": "1.5", "product": "A", "warehouse": "W"})[1]
    assert first == second


def test_unknown_fields_are_kept() -> None:
    """A field that we do not know travels to the tills unchanged."""
    _, change = read_row("product", {"code": "A", "name": "x", "colour": {"hex": "#fff"}})
    assert parse_object(change.payload or b"{}")["colour"] == {"hex": "#fff"}


def test_a_customer_has_addresses_contacts_and_fields_of_a_chains_own() -> None:
    """Nested lists and custom fields travel as they were said; nothing is added to them."""
    row = {
        "code": "C1",
        "name": "Romashka",
        "tax_id": "7707083893",
        "tax_branch": "770101001",
        "country": "RU",
        "legal_form": "OOO",
        "addresses": [
            {"kind": "legal", "city": "Moscow", "street": "Tverskaya 1"},
            {"text": "Kazan, Baumana 2"},
        ],
        "contacts": [{"name": "Anna", "role": "accountant", "phone": "+7 900 1", "email": "a@example.org"}],
        "custom": {"loyalty": 3, "vip": True, "tags": ["a", "b"], "credit": "1000.50"},
    }
    _, change = read_row("customer", row)
    assert parse_object(change.payload or b"{}") == row


def test_the_key_is_drawn_from_what_was_understood() -> None:
    """A quantity written in two ways is one key."""
    keys = {read_row("price", PRICE | {"min_quantity": text})[1].key for text in ("2", "2.000", 2)}
    assert keys == {"RETAIL|A|||2|"}


def test_a_deletion_needs_only_the_key() -> None:
    """The other fields may be absent or wrong."""
    scope, change = read_row("product", {"code": "A", "name": 5}, deleted=True)
    assert (scope, change.key, change.payload) == ("base", "A", None)
    with pytest.raises(BadInput, match="key fields code"):
        read_row("product", {"name": "x"}, deleted=True)
    with pytest.raises(BadInput, match="warehouse"):
        read_row("balance", {"product": "A"}, deleted=True)


@pytest.mark.parametrize(
    ("entity", "row", "told"),
    [
        ("nonsense", {}, "no entity"),
        ("product", {"code": "A"}, "name"),
        ("product", {"code": "A\0", "name": "x"}, "NUL"),
        ("price", PRICE | {"amount_minor": 1.5}, "amount_minor"),
        ("price", PRICE | {"valid_from": "2026-01-01"}, "valid_from"),
        ("product", {"code": "A", "name": "x", "more": "y" * ROW_MAX_BYTES}, "bytes"),
        ("product", {"code": "A", "name": "\ud800"}, "name"),
        ("customer", {"code": "A", "name": "x", "country": "Russia"}, "country"),
        ("customer", {"code": "A", "name": "x", "addresses": [{}] * 51}, "addresses"),
        ("customer", {"code": "A", "name": "x", "custom": {"limit": 1.5}}, "limit"),
        ("customer", {"code": "A", "name": "x", "custom": {"limit": 2**60}}, "as text"),
        ("customer", {"code": "A", "name": "x", "custom": {"": "y"}}, "1 to 100"),
        ("customer", {"code": "A", "name": "x", "custom": {"a": ["y"] * 101}}, "more than 100 values"),
        ("product", {"code": "A", "name": "x", "custom": {"a": {"b": 1}}}, "must be text"),
        ("product", {"code": "A", "name": "x", "custom": dict.fromkeys(map(str, range(101)), 1)}, "custom"),
    ],
)
def test_a_bad_row_is_refused_with_its_reason(entity: str, row: dict[str, Any], told: str) -> None:
    """The message names the field or the bound."""
    with pytest.raises(BadInput, match=told):
        read_row(entity, row)


def test_a_scope_that_does_not_exist_in_kind_is_refused() -> None:
    """Only base and the four families are scopes."""
    with pytest.raises(BadInput, match="not a scope"):
        read_row("product", {"code": "A", "name": "x"}, "shop/S1")


def test_a_deletion_means_the_same_key_however_it_is_written() -> None:
    """What is deleted is the row that was published, though its quantity was written with another zero."""
    _, published = read_row("price", PRICE | {"min_quantity": "1.5"})
    _, deleted = read_row("price", PRICE | {"min_quantity": "1.50"}, deleted=True)
    assert deleted.key == published.key
    with pytest.raises(BadInput, match="key fields"):
        read_row("price", {"price_list": "RETAIL"}, deleted=True)


def test_a_bad_row_may_still_tell_its_key() -> None:
    """So that a list with a mistake in a row does not delete the row's product."""
    assert read_key(ENTITIES["price"], PRICE | {"amount_minor": "x"}) == "RETAIL|A||||"
    assert read_key(ENTITIES["product"], {"name": "x"}) is None
    assert read_key(ENTITIES["product"], {"code": ["A"]}) is None
