"""Documents of a system without an agent, handed in by hand."""

from __future__ import annotations

from typing import Any

from central.centre import Centre
from central.db import registry
from central.intake.duplicates import Policy
from central.intake.submitted import Request, Submitted
from tests.support.papers import order

SOURCE = "WEB"
OUTLET = "S1"


async def add_outlet(centre: Centre, code: str = OUTLET) -> None:
    async with centre.database.write() as connection:
        await registry.add_store(connection, code=code, name=code, zone="Asia/Yekaterinburg", currency="EUR")


def submitted(number: str = "17", status: str = "new", **changes: Any) -> dict[str, Any]:
    """An order as the API takes it."""
    return {
        "kind": "order",
        "number": number,
        "time": "2026-11-21T20:00:00Z",
        "payload": order(status),
        **changes,
    }


def request(
    number: str = "17",
    status: str = "new",
    *,
    key: str | None = None,
    duplicate: str = "error",
    key_fields: tuple[str, ...] = (),
    outlet: str = OUTLET,
    **changes: Any,
) -> Request:
    policy = Policy.model_validate({"duplicate": duplicate, "key": list(key_fields)})
    said = Submitted.model_validate(submitted(number, status, **changes))
    return Request(SOURCE, outlet, said, key, policy)
