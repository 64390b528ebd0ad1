"""Deliveries that wait for a code go on as soon as it is known, whoever said it: HQ, a pull, a search over there."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from central.codes.cross_reference import look_up
from central.db import delivery_desk
from central.db import delivery_records as kept
from central.db.database import Database
from central.db.delivery_desk import Chosen
from central.mapping.lookups import LookUp


async def wake_known(database: Database, connection: AsyncConnection, system: str | None = None) -> int:
    """Make ready what waits for codes (of one system) that are known by now; returns how many deliveries that were."""
    woken, after = 0, None
    while page := await kept.waited_for(connection, after, system):
        found = await look_up(connection, page)
        woken += await kept.wake(database, connection, found)
        if len(page) < kept.LOOK_UPS:
            break
        after = page[-1]
    return woken


def not_for(asked: LookUp) -> str:
    """The reason under which all that need a party are parked that HQ wants to be left out of a system."""
    return f"party {asked.code} is not for {asked.system}: HQ decided so"


async def send_again(
    database: Database, connection: AsyncConnection, reason: str, told: str, now_ms: int
) -> int:
    """Let go what was parked for a reason that holds no more, of any integration; returns how many deliveries."""
    again = 0
    for integration_no in await delivery_desk.parked_by(connection, reason):
        while True:
            page = await delivery_desk.parked_rows(
                connection, Chosen(integration_no, reason), (-1, ""), kept.LOOK_UPS
            )
            if not page:
                break
            await delivery_desk.send_again(database, connection, integration_no, page, told, now_ms)
            again += len(page)
    return again
