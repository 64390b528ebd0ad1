"""The integrations' own rows: what is connected, in which versions, and which files were taken from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from central.db.database import AnyRow, Database
from central.db.tables.deliveries import deliveries
from central.db.tables.integrations import imported_files, integration_versions, integrations


async def all_integrations(connection: AsyncConnection) -> Sequence[AnyRow]:
    """Every integration's row, oldest first."""
    return (await connection.execute(select(integrations).order_by(integrations.c.integration_no))).all()


async def add(connection: AsyncConnection, name: str, definition: str, enabled: bool, from_ms: int) -> int:
    """Store a new integration at version 1 and return its number."""
    result = await connection.execute(
        integrations.insert()
        .values(
            name=name,
            version=1,
            definition=definition,
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


# ---- versions ----


async def add_version(
    connection: AsyncConnection,
    integration_no: int,
    version: int,
    definition: str,
    by: str,
    at_ms: int,
    note: str,
    file_sha256: bytes | None,
) -> None:
    """Keep a version for ever; a second one of the same number is an `IntegrityError`."""
    await connection.execute(
        integration_versions.insert().values(
            integration_no=integration_no,
            version=version,
            definition=definition,
            by=by,
            at_ms=at_ms,
            note=note,
            file_sha256=file_sha256,
        )
    )


async def versions(connection: AsyncConnection, integration_no: int, limit: int) -> Sequence[AnyRow]:
    """Who stated what and when, newest first, without the definitions."""
    column = integration_versions.c
    statement = (
        select(column.version, column.by, column.at_ms, column.note)
        .where(column.integration_no == integration_no)
        .order_by(column.version.desc())
        .limit(limit)
    )
    return (await connection.execute(statement)).all()


async def version(connection: AsyncConnection, integration_no: int, number: int) -> str | None:
    """The definition of one version."""
    column = integration_versions.c
    statement = select(column.definition).where(
        column.integration_no == integration_no, column.version == number
    )
    found: str | None = (await connection.execute(statement)).scalar_one_or_none()
    return found


async def newest_file(connection: AsyncConnection, integration_no: int) -> bytes | None:
    """SHA-256 of the file that was imported last from the watched folder."""
    column = integration_versions.c
    statement = (
        select(column.file_sha256)
        .where(column.integration_no == integration_no, column.file_sha256.is_not(None))
        .order_by(column.version.desc())
        .limit(1)
    )
    found: bytes | None = (await connection.execute(statement)).scalar_one_or_none()
    return found


async def set_file(connection: AsyncConnection, integration_no: int, number: int, file_sha256: bytes) -> None:
    """Say of a version that a file says the same."""
    column = integration_versions.c
    await connection.execute(
        update(integration_versions)
        .where(column.integration_no == integration_no, column.version == number)
        .values(file_sha256=file_sha256)
    )


async def under_way(connection: AsyncConnection, integration_no: int) -> dict[str, int]:
    """effect -> deliveries that are not done; parked ones too, they may be sent again."""
    column = deliveries.c
    statement = (
        select(column.effect, func.count().label("deliveries"))
        .where(column.integration_no == integration_no, column.state.not_in(("done", "skipped")))
        .group_by(column.effect)
    )
    return {row.effect: row.deliveries for row in await connection.execute(statement)}


# ---- lists that were handed in ----


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
