"""Bodies of lines: one line of JSON that describes, then the exact bytes that are described.

A push is an envelope line, then a header line and a payload line for each document. A page of changes is an
envelope line that lists `rows`, then one payload line for each row (an empty line for a tombstone). Canonical bytes
hold no line feed, so nothing is escaped and nothing is parsed that need not be.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from typing import Any

from shared.canonical import canonical, parse_object
from shared.errors import BadInput


def join(envelope: dict[str, Any], lines: Iterable[bytes]) -> bytes:
    """The body of an envelope and its lines."""
    return b"\n".join([canonical(envelope), *lines])


def split(body: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """The inverse of `join`.

    Raises:
        BadInput: the first line is not a JSON object.
    """
    first, *lines = body.split(b"\n")
    return parse_object(first, "the first line"), lines


def pairs(lines: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    """Header and payload of each document.

    Raises:
        BadInput: an odd number of lines.
    """
    if len(lines) % 2:
        raise BadInput(
            f"{len(lines)} lines follow the first one; every document has two", code="malformed-body"
        )
    return list(zip(lines[::2], lines[1::2], strict=True))


def armour(raw: bytes) -> bytes:
    """Bytes of a damaged document, which may hold anything, as one line."""
    return base64.b64encode(raw)


def unarmour(line: bytes) -> bytes:
    """The inverse of `armour`."""
    try:
        return base64.b64decode(line, validate=True)
    except ValueError as error:
        raise BadInput(f"a damaged document's line is not base64: {error}", code="malformed-body") from None
