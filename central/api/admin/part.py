"""What every chapter of the admin API stands on: the centre's parts, the caller's name, paging."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from central import audit
from central.api.http import KEY, query_int
from central.centre import Centre
from shared.clock import rfc3339
from shared.errors import BadInput

PAGE_ROWS = 200
PAGE_ROWS_MAX = 2_000
PAGING = {"after": "cursor: `next` of the page before", "limit": f"rows of a page, at most {PAGE_ROWS_MAX}"}


class Part:
    """A chapter of the admin API."""

    def __init__(self, centre: Centre) -> None:
        self.centre = centre

    def note(self, request: web.Request, what: str, detail: dict[str, Any]) -> audit.Note:
        """The audit trail's line for an act whose own transaction lies in another part of the centre."""
        database, name = self.centre.database, who(request)

        async def write(connection: AsyncConnection, **outcome: Any) -> None:
            at_ms = await database.now_ms(connection)
            await audit.record(connection, at_ms, name, what, {**detail, **outcome})

        return write


def who(request: web.Request) -> str:
    """Whose API key it is: the name that stands in the audit trail."""
    return request[KEY].who


def page_of(request: web.Request) -> int:
    return query_int(request, "limit", PAGE_ROWS, 1, PAGE_ROWS_MAX)


def after_number(request: web.Request) -> int | None:
    """The cursor of a list that is ordered by number."""
    return query_int(request, "after", 0, 0, 2**63 - 1) if "after" in request.query else None


def choice(request: web.Request, name: str, allowed: tuple[str, ...]) -> str | None:
    """A query parameter that must be one of a few words."""
    value = request.query.get(name)
    if value is not None and value not in allowed:
        raise BadInput(
            f'query parameter {name}="{value}" is not known', hint=f"use one of: {', '.join(allowed)}"
        )
    return value


def time_or_none(ms: int | None) -> str | None:
    return None if ms is None else rfc3339(ms)


def next_of(items: Sequence[Any], limit: int, field: str = "doc_no") -> str | None:
    """The cursor of the next page: there is one only after a full page."""
    return str(getattr(items[-1], field)) if len(items) == limit else None
