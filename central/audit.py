"""Who did what at HQ, and when: one row per act.

Rule: the line is written in the act's own transaction, so that there is never one without the other. Values whose name
says that they are secret are masked before they are written, so the trail can be shown to anybody who may read.
"""

from __future__ import annotations

import re
from typing import Any, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from central.db import admin as rows
from central.db.journal import note
from central.db.transactions import Transaction
from shared.canonical import canonical

DETAIL_MAX_BYTES = 16 << 10
_SECRET = re.compile(r"password|secret|token|passwd|api_?key|credential", re.IGNORECASE)


async def record(
    connection: AsyncConnection, at_ms: int, who: str, what: str, detail: dict[str, Any] | None = None
) -> None:
    """Note an act.

    Args:
        at_ms: the database's clock (`Database.now_ms`), so that the trail of many nodes is in one order.
        who: name of the API key, or `console`/`cli` acts under the name of whoever ran them.
        what: `noun.verb`, e.g. `station.release`.
        detail: JSON values; long ones are cut.
    """
    await rows.insert_audit(connection, at_ms, who, what, _text(detail or {}))


async def record_within(
    transaction: Transaction, at_ms: int, who: str, what: str, detail: dict[str, Any]
) -> None:
    """As `record`, for acts on the bare driver."""
    await note(transaction, at_ms, who, what, _text(detail))


class Note(Protocol):
    """Writes an act's line; whoever performs the act calls it inside its transaction, with what came of it."""

    async def __call__(self, connection: AsyncConnection, **outcome: Any) -> None: ...


async def unnoted(connection: AsyncConnection, **outcome: Any) -> None:
    """Of an act that no person asked for."""


def _text(detail: dict[str, Any]) -> str:
    text = canonical(masked(detail)).decode()
    if len(text) > DETAIL_MAX_BYTES:
        text = canonical({"cut": text[: DETAIL_MAX_BYTES // 4], "bytes": len(text)}).decode()
    return text


def masked(value: Any, name: str = "") -> Any:
    """*value* without what its names say is secret."""
    if isinstance(value, dict):
        return {key: masked(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked(item, name) for item in value]
    return "***" if _SECRET.search(name) and value not in (None, "", False) else value
