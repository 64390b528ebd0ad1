"""Stored bytes read by hand: whatever is in them, a check must not fall over it."""

from __future__ import annotations

from typing import Any

import orjson

DOC_ID_BYTES = 16


def raw(stored: bytes | str) -> bytes:
    """The bytes of a column that should hold bytes; a hand edit on SQLite may have left text there."""
    return stored.encode() if isinstance(stored, str) else bytes(stored)


def as_object(stored: bytes) -> dict[str, Any]:
    """A JSON object, or an empty one where there is none."""
    try:
        value = orjson.loads(stored)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def doc_id_of(header: dict[str, Any]) -> bytes | None:
    """The doc_id of a header, None where nobody can read it."""
    try:
        doc_id = bytes.fromhex(header["doc_id"].replace("-", ""))
    except (KeyError, AttributeError, ValueError):
        return None
    return doc_id if len(doc_id) == DOC_ID_BYTES else None
