"""What only the centre can have made: nonces and session tokens, and the codes that enrol a station.

Nonce and token are MACs with a secret that stands in the database, so that any node can check what another gave out
and nobody has to remember them. Times in them are the database's. Codes are kept as their hash only.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from functools import lru_cache

from shared.errors import NotAuthenticated

SECRET_BYTES = 32
CODE_BYTES = 20
"""160 random bits: 32 characters of base32, nothing to confuse and nothing to pad."""

_MAC_BYTES = 16
_NONCE_RANDOM_BYTES = 8
_TIME_BYTES = 8
_NUMBER_BYTES = 8
_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Session:
    """What a token says: proven by its MAC, and still to be checked against the station's row."""

    station_no: int
    code: str
    public_key: bytes
    expires_ms: int


def make_nonce(secret: bytes, now_ms: int) -> str:
    """A nonce that tells when it was made."""
    return _seal(
        secret, b"nonce", now_ms.to_bytes(_TIME_BYTES, "big") + secrets.token_bytes(_NONCE_RANDOM_BYTES)
    )


def nonce_ms(secret: bytes, nonce: str) -> int:
    """When the nonce was made; `NotAuthenticated` if not by us."""
    return int.from_bytes(_open(secret, b"nonce", nonce)[:_TIME_BYTES], "big")


def make_token(secret: bytes, session: Session) -> str:
    numbers = session.station_no.to_bytes(_NUMBER_BYTES, "big") + session.expires_ms.to_bytes(
        _TIME_BYTES, "big"
    )
    return _seal(secret, b"token", numbers + session.public_key + session.code.encode())


@lru_cache(maxsize=20_000)
def read_token(secret: bytes, token: str) -> Session:
    """What the token says; `NotAuthenticated` if it is not ours. Its age is the caller's to judge."""
    content = _open(secret, b"token", token)
    key_at = _NUMBER_BYTES + _TIME_BYTES
    return Session(
        station_no=int.from_bytes(content[:_NUMBER_BYTES], "big"),
        expires_ms=int.from_bytes(content[_NUMBER_BYTES:key_at], "big"),
        public_key=content[key_at : key_at + _KEY_BYTES],
        code=content[key_at + _KEY_BYTES :].decode(),
    )


def draw_code() -> str:
    """A fresh enrolment code."""
    return base64.b32encode(secrets.token_bytes(CODE_BYTES)).decode()


def code_hash(code: str) -> bytes:
    """The form in which a code is kept; hyphens, spaces and case are the typist's."""
    return hashlib.sha256(code.replace("-", "").replace(" ", "").upper().encode()).digest()


def _mac(secret: bytes, purpose: bytes, content: bytes) -> bytes:
    return hmac.digest(secret, purpose + b":" + content, "sha256")[:_MAC_BYTES]


def _seal(secret: bytes, purpose: bytes, content: bytes) -> str:
    return base64.urlsafe_b64encode(_mac(secret, purpose, content) + content).decode().rstrip("=")


def _open(secret: bytes, purpose: bytes, text: str) -> bytes:
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raw = b""
    mac, content = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
    if not content or not hmac.compare_digest(mac, _mac(secret, purpose, content)):
        raise NotAuthenticated(
            f"the {purpose.decode()} was not made by this centre", hint="open a new session"
        )
    return content
