"""Signing: what the station's library signs, the centre's library verifies, from any thread."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.signing import SEED_BYTES, Signer, new_seed


@given(st.binary(min_size=SEED_BYTES, max_size=SEED_BYTES), st.binary(max_size=500))
def test_both_sides_libraries_give_the_same_bytes(seed: bytes, message: bytes) -> None:
    """Public key and signature are a matter of the seed, not of the library."""
    ours, theirs = Signer(seed), Ed25519PrivateKey.from_private_bytes(seed)
    assert ours.public_key == theirs.public_key().public_bytes_raw()
    assert ours.sign(message) == theirs.sign(message)
    Ed25519PublicKey.from_public_bytes(ours.public_key).verify(ours.sign(message), message)


def test_a_key_of_another_length_is_refused() -> None:
    """A cut key file is told as what it is."""
    with pytest.raises(ValueError, match="32 bytes"):
        Signer(b"short")
    assert len(new_seed()) == SEED_BYTES


def test_threads_share_a_key() -> None:
    """A push is sealed in a thread while the loop signs a session."""
    key = Signer(b"\x07" * SEED_BYTES)
    messages = [b"%d" % n for n in range(2_000)]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(key.sign, messages)) == [key.sign(message) for message in messages]
