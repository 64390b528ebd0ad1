"""What every act of HQ in the registry stands on: the rows it names, found or refused, and its line in the trail."""

from __future__ import annotations

from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from central import audit
from central.db import stores as rows
from central.db.database import AnyRow, Database
from central.registry.enrolment import Enrolment
from shared.errors import NotFound


class Acts:
    """A chapter of the registry."""

    def __init__(self, database: Database, enrolment: Enrolment) -> None:
        self.database = database
        self.enrolment = enrolment

    async def note(self, connection: AsyncConnection, who: str, what: str, detail: dict[str, Any]) -> None:
        """The act's line in the audit trail, in its own transaction."""
        await audit.record(connection, await self.database.now_ms(connection), who, what, detail)


async def find_store(connection: AsyncConnection, code: str) -> AnyRow:
    store = await rows.store_by_code(connection, code)
    if store is None:
        raise NotFound(f'there is no store "{code}"', hint="`counterflow-central stores list` shows them")
    return store


async def find_group(connection: AsyncConnection, code: str) -> AnyRow:
    group = await rows.group_by_code(connection, code)
    if group is None:
        raise NotFound(f'there is no group "{code}"', hint="`counterflow-central groups list` shows them")
    return group


async def find_station(connection: AsyncConnection, code: str) -> AnyRow:
    station = await rows.lock_station(connection, code)
    if station is None:
        raise NotFound(f'there is no station "{code}"', hint="`counterflow-central stations list` shows them")
    return station
