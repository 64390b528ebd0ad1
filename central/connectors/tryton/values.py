"""Tryton's JSON: numbers that stay exact, and dates and decimals as objects with a `__class__`."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

_CLASS = "__class__"


def dumps(value: Any) -> bytes:
    return json.dumps(value, default=_encode, separators=(",", ":"), ensure_ascii=False).encode()


def loads(body: bytes) -> Any:
    """Read an answer; every number that is no integer becomes a Decimal."""
    return json.loads(body, object_hook=_decode, parse_float=Decimal)


def _encode(value: object) -> dict[str, Any]:
    match value:
        case Decimal():
            return {_CLASS: "Decimal", "decimal": str(value)}
        case datetime():
            time = {name: getattr(value, name) for name in ("hour", "minute", "second", "microsecond")}
            return {_CLASS: "datetime", "year": value.year, "month": value.month, "day": value.day, **time}
        case date():
            return {_CLASS: "date", "year": value.year, "month": value.month, "day": value.day}
    raise TypeError(f"{type(value).__name__} has no form in Tryton's JSON")


def _decode(found: dict[str, Any]) -> Any:
    match found.get(_CLASS):
        case "Decimal":
            return Decimal(found["decimal"])
        case "datetime":
            # Tryton's times bear no zone; they are UTC.
            return datetime(**{name: found[name] for name in _TIME}, tzinfo=UTC)
        case "date":
            return date(found["year"], found["month"], found["day"])
        case "timedelta":
            return timedelta(seconds=float(found["seconds"]))
    return found


_TIME = ("year", "month", "day", "hour", "minute", "second", "microsecond")
