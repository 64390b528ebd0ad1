"""One byte form for every value that is hashed: JSON, UTF-8, sorted keys, no white space.

A document is put into this form once, where it is made, and travels as these exact bytes from then on; nobody
re-serialises it to check a hash. No line feed can occur in it, so documents are framed by lines on the wire.
"""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

from shared.errors import BadInput


def canonical(value: Any) -> bytes:
    """Return the canonical bytes of a JSON value.

    Raises:
        BadInput: the value holds what JSON has no form for (NaN, a lone surrogate, an integer above 64 bits).
    """
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except (TypeError, ValueError) as error:
        raise BadInput(f"the value has no canonical form: {error}") from error


def parse(raw: bytes | bytearray | memoryview | str, where: str = "body") -> Any:
    """Parse JSON of any form.

    Raises:
        BadInput: not JSON, not UTF-8, nested too deep; the message names *where*.
    """
    try:
        return orjson.loads(raw)
    except ValueError as error:
        raise BadInput(f"{where} is not valid JSON: {error}", code="malformed-json") from error


def parse_object(raw: bytes | bytearray | memoryview | str, where: str = "body") -> dict[str, Any]:
    """Parse a JSON object; anything else raises `BadInput`."""
    value = parse(raw, where)
    if not isinstance(value, dict):
        raise BadInput(
            f"{where} must be a JSON object, it is a {type(value).__name__}", code="malformed-json"
        )
    return value


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def version_of(payload: bytes) -> bytes:
    """The version of a catalog row: the first 16 bytes of SHA-256 of its payload as published."""
    return hashlib.sha256(payload).digest()[:16]
