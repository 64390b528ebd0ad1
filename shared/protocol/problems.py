"""RFC 9457 problem documents: the one form in which any door of ours refuses.

`type` is stable and resolvable in the docs (docs/reference/errors.md has a heading for each name).
"""

from __future__ import annotations

from typing import Any

import pydantic

from shared.canonical import canonical
from shared.errors import BadInput, CounterflowError

CONTENT_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:counterflow:problem:"


def problem(error: CounterflowError, request_id: str = "") -> dict[str, Any]:
    """The problem document of an error: type, title, status, detail, and `hint` where there is something to do."""
    body: dict[str, Any] = {
        "type": TYPE_PREFIX + error.name,
        "title": error.name.replace("-", " "),
        "status": error.status,
        "detail": error.what,
        "retryable": error.retryable,
        **error.extra,
    }
    if error.hint:
        body["hint"] = error.hint
    if request_id:
        body["request_id"] = request_id
    return body


def problem_bytes(error: CounterflowError, request_id: str = "") -> bytes:
    return canonical(problem(error, request_id))


def name_of(body: dict[str, Any]) -> str:
    """The stable name in a problem document, or an empty string."""
    return str(body.get("type", "")).removeprefix(TYPE_PREFIX)


def from_validation(error: pydantic.ValidationError, where: str) -> BadInput:
    """A `BadInput` that names every wrong field (the first five) by its path."""
    faults = [
        {
            "field": ".".join(str(part) for part in fault["loc"]) or "(whole)",
            "why": fault["msg"].removeprefix("Value error, "),
        }
        for fault in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    listed = "; ".join(f"{fault['field']}: {fault['why']}" for fault in faults[:5])
    more = f" (and {len(faults) - 5} more)" if len(faults) > 5 else ""
    return BadInput(f"{where}: {listed}{more}", code="invalid-fields", fields=faults[:50])
