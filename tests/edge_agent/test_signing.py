"""Signing: both libraries give the same bytes, from any thread, and the choice between them cannot be seen."""

from __future__ import annotations

import threading

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from edge_agent import signing

SEEDS = st.binary(min_size=32, max_size=32)


@given(SEEDS, st.binary(max_size=500))
def test_both_ways_give_the_same_bytes(seed: bytes, message: bytes) -> None:
    """Public key and signature are a matter of the seed, not of the library; the centre verifies them."""
    ours, theirs = signing.signer(seed), signing.CryptographySigner(seed)
    assert ours.public_key == theirs.public_key
    assert ours.sign(message) == theirs.sign(message)
    Ed25519PublicKey.from_public_bytes(ours.public_key).verify(ours.sign(message), message)


def test_where_openssl_is_not_to_be_found_cryptography_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python with OpenSSL built in signs all the same."""
    monkeypatch.setattr(signing, "_python_openssl", lambda: None)
    assert isinstance(signing.signer(bytes(32)), signing.CryptographySigner)


def test_a_library_that_signs_wrongly_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 8032's vector is asked before anything is signed with it."""
    monkeypatch.setattr(signing, "_VECTOR_SIGNATURE", bytes(64))
    assert signing._python_openssl.__wrapped__() is None


def test_threads_share_a_key() -> None:
    """A push is sealed in a thread while the loop signs a session."""
    key = signing.signer(b"\x07" * 32)
    expected = {n: signing.CryptographySigner(b"\x07" * 32).sign(b"%d" % n) for n in range(8)}
    wrong: list[int] = []

    def work(n: int) -> None:
        wrong.extend(n for _ in range(300) if key.sign(b"%d" % n) != expected[n])

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
