"""After the centre came back from a backup: make sure that nobody goes on as if nothing had happened.

Every scope gets a new generation, so that no station keeps a catalog that the centre has forgotten; the secret behind
tokens and nonces is drawn anew, so that every station opens a session and compares its chains (R1); batches that were
under way are nobody's, so that they are probed before anything is sent. Lost documents come from the stations.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from central import audit
from central.catalog.publish import Publisher
from central.db import admin, restore
from central.db.database import Database
from central.registry.secrets import SECRET_BYTES


@dataclass(frozen=True, slots=True)
class Restored:
    """What was done, and what the database says about how old it is."""

    scopes: int
    batches: int
    stations: int
    newest_document_ms: int | None
    now_ms: int


async def after_restore(database: Database) -> Restored:
    """Prepare a restored database; to be run once, before the centre is started. Running it again does no harm."""
    await Publisher(database).new_gens()

    async def work(connection: AsyncConnection) -> Restored:
        now_ms = await database.now_ms(connection)
        await admin.set_meta(connection, "secret", secrets.token_hex(SECRET_BYTES))
        done = Restored(
            scopes=await restore.count_scopes(connection),
            batches=await restore.open_leases(connection),
            stations=await restore.count_stations(connection),
            newest_document_ms=await restore.newest_document_ms(connection),
            now_ms=now_ms,
        )
        await audit.record(
            connection, now_ms, "cli", "after-restore", {"scopes": done.scopes, "batches": done.batches}
        )
        return done

    return await database.run(work)
