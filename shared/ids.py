"""Identifiers: documents (UUIDv7), epochs (128 random bits), and the reference printed on a receipt."""

from __future__ import annotations

import base64
import re
import uuid

from shared.errors import BadInput

EPOCH_BYTES = 16
CODE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$"
"""Codes of stores, groups and stations: they stand in file names, URLs and printed numbers."""

_CODE = re.compile(CODE_PATTERN)


def uuid7(now_ms: int, random_80: bytes) -> uuid.UUID:
    """A UUIDv7 (RFC 9562) from a time and ten random bytes."""
    if len(random_80) != 10:
        raise ValueError("uuid7 takes ten random bytes")
    value = (now_ms & (2**48 - 1)) << 80 | int.from_bytes(random_80, "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return uuid.UUID(int=value)


def parse_doc_id(text: str) -> uuid.UUID:
    """A document id in its one spelling (lower-case, hyphens).

    Raises:
        BadInput: anything else; one document must never have two spellings.
    """
    try:
        value = uuid.UUID(text)
    except (ValueError, AttributeError, TypeError):
        raise BadInput(
            f'doc_id "{text}" is not a UUID', hint="a document's number is another thing; lists show both"
        ) from None
    if str(value) != text:
        raise BadInput(f'doc_id "{text}" must be written as "{value}"')
    return value


def parse_epoch(text: str) -> bytes:
    """The 16 bytes of an epoch written as 32 hex digits."""
    try:
        epoch = bytes.fromhex(text)
    except (ValueError, TypeError):
        raise BadInput(f'epoch "{text}" is not hexadecimal') from None
    if len(epoch) != EPOCH_BYTES:
        raise BadInput(f'epoch "{text}" must have 32 hexadecimal digits')
    return epoch


def reference(epoch: bytes, seq: int) -> str:
    """The reference printed on a receipt: the first 50 bits of the epoch (base32) and the seq. It never repeats."""
    return f"{base64.b32encode(epoch[:7])[:10].decode()}-{seq}"


def check_code(text: str, what: str) -> str:
    """Return *text* if it may serve as the code of a store, group or station.

    Raises:
        BadInput: it is empty, longer than 40, or has other characters than letters, digits, dot, hyphen, underscore.
    """
    if not _CODE.match(text):
        raise BadInput(
            f'{what} "{text}" must be 1 to 40 letters, digits, ".", "_" or "-", and start with a letter or digit'
        )
    return text
