"""The integrations' own rows: which systems are connected, and which files were taken from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from central.db.database import AnyRow, Database
from central.db.tables import imported_files, integrations


async def all_integrations(connection: AsyncConnection) -> Sequence[AnyRow]:
    """Every integration's row, oldest first."""
    return (await connection.execute(select(integrations).order_by(integrations.c.integration_no))).all()


async def add(
    connection: AsyncConnection,
    name: str,
    connector: str,
    settings: str,
    kinds: str,
    enabled: bool,
    from_ms: int,
) -> int:
    """Store a new integration and return its number."""
    result = await connection.execute(
        integrations.insert()
        .values(
            name=name,
            connector=connector,
            settings=settings,
            kinds=kinds,
            enabled=enabled,
            from_ms=from_ms,
            paused_until_ms=0,
            problem=None,
        )
        .returning(integrations.c.integration_no)
    )
    return int(result.scalar_one())


async def change(connection: AsyncConnection, integration_no: int, **values: Any) -> None:
    """Set columns of one integration."""
    await connection.execute(
        update(integrations).where(integrations.c.integration_no == integration_no).values(**values)
    )


async def last_import(
    connection: AsyncConnection, integration_no: int, name: str
) -> tuple[bytes, dict[str, Any]] | None:
    """SHA-256 and report of the newest file of this name that was taken."""
    row = (
        await connection.execute(
            select(imported_files.c.sha256, imported_files.c.result)
            .where(imported_files.c.integration_no == integration_no, imported_files.c.name == name)
            .order_by(imported_files.c.at_ms.desc())
            .limit(1)
        )
    ).first()
    return (row.sha256, orjson.loads(row.result)) if row else None


async def record_import(
    connection: AsyncConnection,
    database: Database,
    integration_no: int,
    sha256: bytes,
    name: str,
    report: dict[str, Any],
    now_ms: int,
) -> None:
    """Remember that a file was dealt with, and how; the same content under another name replaces the earlier row."""
    values = {"name": name, "result": orjson.dumps(report).decode(), "at_ms": now_ms}
    await connection.execute(
        database.insert(imported_files)
        .values(integration_no=integration_no, sha256=sha256, **values)
        .on_conflict_do_update(index_elements=["integration_no", "sha256"], set_=values)
    )
