"""Sign as the station: Ed25519 by PyNaCl.

`cryptography`, which the centre verifies with, would do it too, but brings an OpenSSL of its own: 8 MB in a process
that rests for months on a till, against 1 MB for libsodium. Both give the same bytes: an Ed25519 signature holds no
randomness (RFC 8032).
"""

from __future__ import annotations

import secrets

from nacl.signing import SigningKey

SEED_BYTES = 32


class Signer:
    """A key that signs; several threads may use it at once."""

    def __init__(self, seed: bytes) -> None:
        """Raise `ValueError` unless *seed* has `SEED_BYTES`."""
        if len(seed) != SEED_BYTES:
            raise ValueError(f"an Ed25519 key has {SEED_BYTES} bytes, not {len(seed)}")
        self._key = SigningKey(seed)

    @property
    def public_key(self) -> bytes:
        return bytes(self._key.verify_key)

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message).signature


def new_seed() -> bytes:
    """A fresh private key: for Ed25519 any 32 random bytes are one."""
    return secrets.token_bytes(SEED_BYTES)
