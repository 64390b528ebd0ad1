"""What is kept of requests and answers: readable, bounded, and without secrets."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central.deliveries.masking import MASK, TEXT_MAX, masked, secrets_of

SECRET = "s3cret-Pa55"


@pytest.mark.parametrize(
    "text",
    [
        f"POST /jsonrpc\nAuthorization: Session {SECRET}\n\n{{}}",
        f"Cookie: session_id={SECRET}; path=/",
        f'{{"password": "{SECRET}", "name": "x"}}',
        f'{{"client_secret":"{SECRET}"}}',
        f"grant_type=password&password={SECRET}&user=a",
        f"GET /items?api_key={SECRET}&page=2",
        f"<Login><Password>{SECRET}</Password></Login>",
        f"https://user:{SECRET}@erp.example/x",
    ],
)
def test_a_secret_is_known_by_its_name(text: str):
    """Headers, JSON, forms, addresses and XML: what a name calls secret is not kept, the rest is."""
    shown = masked(text)
    assert SECRET not in shown
    assert MASK in shown


def test_a_secret_is_known_by_its_value():
    """The settings' own secrets are hidden wherever they stand, also quoted for an address and in Base64."""
    secrets = set(secrets_of({"url": "https://erp", "auth": {"password": SECRET}}))
    assert secrets == {SECRET}
    basic = base64.b64encode(SECRET.encode()).decode()
    shown = masked(f"<a>{SECRET}</a> {basic} at https://erp", secrets)
    assert shown == f"<a>{MASK}</a> {MASK} at https://erp"


def test_card_numbers_are_not_kept_and_other_numbers_are():
    """I23: what passes the check digit of card numbers is hidden; a barcode or a document number is not."""
    assert masked("pan 4111 1111 1111 1111, ean 4006381333932") == "pan ****1111, ean 4006381333932"


@given(st.text(alphabet="abc \n", max_size=200), st.integers(1, 60_000))
def test_what_is_kept_is_bounded_and_holds_no_secret(before: str, length: int):
    """For a secret at any place of a text of any length, cut or not."""
    shown = masked(f"{before}{'x' * length}{SECRET}{'y' * length}", [SECRET])
    assert len(shown) <= TEXT_MAX + 40
    assert SECRET[:6] not in shown
