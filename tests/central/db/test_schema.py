"""The schema is reached by migration alone, and migrated databases are like fresh ones."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from central.db import schema
from central.db.database import Database
from shared.errors import ConfigError

PUBLISHED: dict[str, str] = {}
"""sha256 of each migration that a release has carried: from then on it never changes."""

_POSTGRES_SHAPE = (
    "SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns"
    " WHERE table_schema = 'public' AND table_name <> 'alembic_version'",
    "SELECT tablename, indexname, indexdef FROM pg_indexes"
    " WHERE schemaname = 'public' AND tablename <> 'alembic_version'",
    "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
    " WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> 'alembic_version'",
    "SELECT '', sequencename FROM pg_sequences WHERE schemaname = 'public'",
)


async def shape(database: Database) -> set[Any]:
    """All that tells two schemas apart: columns in their order, keys, indexes, constraints."""
    async with database.read() as connection:
        if not database.is_sqlite:
            return {tuple(row) for query in _POSTGRES_SHAPE for row in await connection.execute(text(query))}
        found: set[Any] = set()
        for name in await _tables(connection):
            found |= {
                (name, "column", *row) for row in await connection.execute(text(f"PRAGMA table_info({name})"))
            }
            found |= {
                (name, "key", *row[2:])
                for row in await connection.execute(text(f"PRAGMA foreign_key_list({name})"))
            }
            found |= {
                (name, "table", *row[2:])
                for row in await connection.execute(text(f"PRAGMA table_list({name})"))
            }
        indexes = "SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name <> 'alembic_version'"
        return found | {tuple(row) for row in await connection.execute(text(indexes))}


async def _tables(connection: AsyncConnection) -> list[str]:
    if connection.dialect.name == "sqlite":
        query = "SELECT name FROM sqlite_master WHERE type = 'table'"
    else:
        query = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    return [name for (name,) in await connection.execute(text(query)) if name != "alembic_version"]


async def test_migrated_database_is_like_a_fresh_one(empty_database_url: str) -> None:
    """Migrating from nothing gives exactly the tables that the code describes."""
    fresh = Database(empty_database_url)
    await fresh.create()
    expected = await shape(fresh)
    async with fresh.write() as connection:
        if fresh.is_sqlite:
            await connection.execute(text("PRAGMA defer_foreign_keys=ON"))
        for name in await _tables(connection):
            await connection.execute(text(f'DROP TABLE "{name}"' + ("" if fresh.is_sqlite else " CASCADE")))
        if not fresh.is_sqlite:
            await connection.execute(text("DROP SEQUENCE doc_no_seq"))
    await fresh.close()

    assert await schema.migrate(empty_database_url) == schema.HEAD

    migrated = Database(empty_database_url)
    assert await shape(migrated) == expected
    await migrated.close()


async def test_migrating_again_changes_nothing(empty_database_url: str) -> None:
    """An empty database has no schema; after a migration it has the head, however often it is run."""
    database = Database(empty_database_url)
    async with database.read() as connection:
        assert await schema.current(connection) is None
    await schema.migrate(empty_database_url)
    await schema.migrate(empty_database_url)
    async with database.read() as connection:
        assert await schema.current(connection) == schema.HEAD
    await database.close()


def test_published_migrations_never_change() -> None:
    """What a release has carried stays as it was, to the byte."""
    folder = Path(schema.__file__).parent / "migrations" / "versions"
    found = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.glob("*.py")}
    assert PUBLISHED.items() <= found.items()


async def test_schema_of_a_later_version_is_refused_in_words(empty_database_url: str) -> None:
    """Going back to an older build is told with both schemas, and nothing is changed."""
    await schema.migrate(empty_database_url)
    database = Database(empty_database_url)
    async with database.write() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigError, match="schema 9999"):
        await schema.migrate(empty_database_url)
    async with database.read() as connection:
        assert await schema.current(connection) == "9999"
    await database.close()
