"""Stored bytes as the API tells them; damaged ones are told as nothing."""

from __future__ import annotations

from typing import Any

import orjson


def as_object(raw: bytes | None) -> dict[str, Any] | None:
    """What stored bytes say, or None where they are not a JSON object (damaged on the station's disk)."""
    try:
        value = orjson.loads(raw or b"")
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def as_text(value: object) -> str | None:
    """A text, None where it is something else."""
    return value if isinstance(value, str) else None


def as_uuid(raw: bytes | None) -> str | None:
    """A doc_id in its one spelling."""
    if raw is None:
        return None
    text = bytes(raw).hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}" if len(text) == 32 else text
