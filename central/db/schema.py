"""Which schema a database has, and how it gets the one that this build needs.

Migration is a command (`counterflow-central migrate`), never a side effect of a start: on many nodes nobody must find
the tables changed under it. Published migrations never change; a test shows that migrated and fresh are the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import inspect, text
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncConnection

from central.db.database import Database
from shared.errors import ConfigError

if TYPE_CHECKING:
    from alembic.config import Config

_SCRIPTS = Path(__file__).parent / "migrations"

# By the number in front of its name: alembic itself is for migrations, and no start waits until it is imported.
HEAD = max(path.name.partition("_")[0] for path in (_SCRIPTS / "versions").glob("[0-9]*_*.py"))
"""The schema that this build works on."""


def alembic_config(connection: Connection | None = None) -> Config:
    """Alembic's settings; *connection* is the one that `migrations/env.py` works on."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    config.attributes["connection"] = connection
    return config


async def current(connection: AsyncConnection) -> str | None:
    """The schema that the database has, None where there is none at all."""
    if not await connection.run_sync(lambda sync: inspect(sync).has_table("alembic_version")):
        return None
    found: Any = (
        await connection.execute(text("SELECT version_num FROM alembic_version"))
    ).scalar_one_or_none()
    return None if found is None else str(found)


async def migrate(url: str) -> str:
    """Bring a database to `HEAD`, from nothing or from any earlier schema, in one transaction; returns `HEAD`.

    Raises:
        ConfigError: the database has a schema that this build does not know; nothing was changed.
    """
    from alembic import command
    from alembic.util import CommandError

    database = Database(url)
    try:
        async with database.write() as connection:
            found = await current(connection)
            await connection.run_sync(lambda sync: command.upgrade(alembic_config(sync), "head"))
    except CommandError as error:
        raise ConfigError(
            f"the database has schema {found or '(none)'}, from which this version cannot get to {HEAD}: {error}",
            hint="a newer version has migrated it: run that one, or restore the backup from before",
        ) from None
    finally:
        await database.close()
    return HEAD
