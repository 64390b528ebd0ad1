"""Sign as the station, with the OpenSSL that Python itself runs on.

The `cryptography` library brings a second OpenSSL: 8 MB in a process that rests for months, where one signature per
push is all that is asked. Python's own has Ed25519 behind functions that are stable since 1.1.1; they are called here
and must first give RFC 8032's test vector. Where they are not to be found (a Python with OpenSSL built in, Windows)
`cryptography` signs. Both ways give the same bytes: Ed25519 has no randomness in a signature.
"""

from __future__ import annotations

import ctypes
import functools
import secrets
import weakref
from typing import Protocol

SEED_BYTES = 32
SIGNATURE_BYTES = 64

_EVP_PKEY_ED25519 = 1087
# RFC 8032, 7.1, test 1: secret key, and the signature of the empty message.
_VECTOR_SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
_VECTOR_SIGNATURE = bytes.fromhex(
    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
)


class Signer(Protocol):
    """A key that signs; it may be used by several threads at once."""

    @property
    def public_key(self) -> bytes: ...

    def sign(self, message: bytes) -> bytes: ...


def new_seed() -> bytes:
    """A fresh private key: for Ed25519 any 32 random bytes are one."""
    return secrets.token_bytes(SEED_BYTES)


def signer(seed: bytes) -> Signer:
    """The key of *seed*, by whichever library is there."""
    library = _python_openssl()
    return OpenSslSigner(library, seed) if library is not None else CryptographySigner(seed)


class OpenSslSigner:
    """Ed25519 by the functions of libcrypto."""

    def __init__(self, library: ctypes.CDLL, seed: bytes) -> None:
        self._library = library
        self._key = library.EVP_PKEY_new_raw_private_key(_EVP_PKEY_ED25519, None, seed, SEED_BYTES)
        if not self._key:
            raise ValueError("OpenSSL does not take this as an Ed25519 key")
        weakref.finalize(self, library.EVP_PKEY_free, self._key)

    @property
    def public_key(self) -> bytes:
        out, size = ctypes.create_string_buffer(SEED_BYTES), ctypes.c_size_t(SEED_BYTES)
        if self._library.EVP_PKEY_get_raw_public_key(self._key, out, ctypes.byref(size)) != 1:
            raise ValueError("OpenSSL does not tell the public key")
        return out.raw

    def sign(self, message: bytes) -> bytes:
        # A context of its own for each signature, so that threads do not meet in one.
        context = self._library.EVP_MD_CTX_new()
        try:
            out, size = ctypes.create_string_buffer(SIGNATURE_BYTES), ctypes.c_size_t(SIGNATURE_BYTES)
            begun = self._library.EVP_DigestSignInit(context, None, None, None, self._key) == 1
            if (
                not begun
                or self._library.EVP_DigestSign(context, out, ctypes.byref(size), message, len(message)) != 1
            ):
                raise ValueError("OpenSSL did not sign")
            return out.raw
        finally:
            self._library.EVP_MD_CTX_free(context)


class CryptographySigner:
    """Ed25519 by the `cryptography` library."""

    def __init__(self, seed: bytes) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        self._key = Ed25519PrivateKey.from_private_bytes(seed)

    @property
    def public_key(self) -> bytes:
        return self._key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)


@functools.cache
def _python_openssl() -> ctypes.CDLL | None:
    """The libcrypto that this Python has loaded already, or None where it cannot be used."""
    try:
        import _ssl

        # Looking a name up in a library also looks in those that it needs; so it is the same libcrypto for sure.
        library = ctypes.CDLL(_ssl.__file__)
        _declare(library)
        if OpenSslSigner(library, _VECTOR_SEED).sign(b"") != _VECTOR_SIGNATURE:
            return None
    except (ImportError, AttributeError, OSError, ValueError):
        return None
    return library


def _declare(library: ctypes.CDLL) -> None:
    """Tell ctypes the signatures of OpenSSL's manual (EVP_PKEY_new(3), EVP_DigestSignInit(3))."""
    pointer, size, size_out = ctypes.c_void_p, ctypes.c_size_t, ctypes.POINTER(ctypes.c_size_t)
    for name, result, arguments in (
        ("EVP_PKEY_new_raw_private_key", pointer, (ctypes.c_int, pointer, ctypes.c_char_p, size)),
        ("EVP_PKEY_get_raw_public_key", ctypes.c_int, (pointer, ctypes.c_char_p, size_out)),
        ("EVP_PKEY_free", None, (pointer,)),
        ("EVP_MD_CTX_new", pointer, ()),
        ("EVP_MD_CTX_free", None, (pointer,)),
        ("EVP_DigestSignInit", ctypes.c_int, (pointer, pointer, pointer, pointer, pointer)),
        ("EVP_DigestSign", ctypes.c_int, (pointer, ctypes.c_char_p, size_out, ctypes.c_char_p, size)),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
