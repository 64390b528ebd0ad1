"""Who did what at HQ, and when: one row per act.

What the registry and the keys do is written in the act's own transaction; what integrations and repairs do, which
have transactions of their own, right after. Values whose name says that they are secret
are masked before they are written, so the trail can be shown to anybody who may read.
"""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from central.db import admin as rows
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
    text = canonical(masked(detail or {})).decode()
    if len(text) > DETAIL_MAX_BYTES:
        text = canonical({"cut": text[: DETAIL_MAX_BYTES // 4], "bytes": len(text)}).decode()
    await rows.insert_audit(connection, at_ms, who, what, text)


def masked(value: Any, name: str = "") -> Any:
    """*value* without what its names say is secret."""
    if isinstance(value, dict):
        return {key: masked(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked(item, name) for item in value]
    return "***" if _SECRET.search(name) and value not in (None, "", False) else value
