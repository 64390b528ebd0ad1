"""What only the centre can have made, and what it makes of what others made."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central.registry import secrets
from shared.errors import NotAuthenticated

SECRET = b"\x07" * secrets.SECRET_BYTES
SESSION = secrets.Session(station_no=7, code="T-1", public_key=b"\x01" * 32, expires_ms=1_790_000_000_000)


def test_token_says_what_was_put_in() -> None:
    """A token carries the session through any node that knows the secret."""
    assert secrets.read_token(SECRET, secrets.make_token(SECRET, SESSION)) == SESSION


def test_nonce_tells_its_time_and_never_repeats() -> None:
    """Two nonces of one millisecond differ, and both tell it."""
    first, second = secrets.make_nonce(SECRET, 123), secrets.make_nonce(SECRET, 123)
    assert first != second
    assert secrets.nonce_ms(SECRET, first) == secrets.nonce_ms(SECRET, second) == 123


@given(st.text(max_size=200))
def test_anything_else_is_refused(text: str) -> None:
    """What we did not make is refused, whatever it is."""
    with pytest.raises(NotAuthenticated):
        secrets.read_token(SECRET, text)
    with pytest.raises(NotAuthenticated):
        secrets.nonce_ms(SECRET, text)


def test_nonce_is_no_token_and_another_centre_is_not_ours() -> None:
    """A MAC is good for its purpose and its secret only."""
    token = secrets.make_token(SECRET, SESSION)
    with pytest.raises(NotAuthenticated):
        secrets.nonce_ms(SECRET, token)
    with pytest.raises(NotAuthenticated):
        secrets.read_token(b"\x08" * secrets.SECRET_BYTES, token)


def test_changed_token_is_refused() -> None:
    """No character of a token can be changed."""
    token = secrets.make_token(SECRET, SESSION)
    for at in range(len(token) - 1):  # the last one carries bits that are padding
        changed = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        with pytest.raises(NotAuthenticated):
            secrets.read_token(SECRET, changed)


def test_code_is_the_same_however_it_is_typed() -> None:
    """Hyphens, spaces and case do not matter; every code is new."""
    code = secrets.draw_code()
    assert secrets.code_hash(code) == secrets.code_hash(f"{code[:8]}-{code[8:]} ".lower())
    assert secrets.draw_code() != code
