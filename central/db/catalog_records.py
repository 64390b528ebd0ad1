"""SQL of rows of the catalog that become documents: what changed, what was said of it last, and how far it is said."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import orjson
from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from central.catalog.record_kinds import OWN_DESK
from central.db.catalog import STATE_COLUMNS, ScopeState, one_of, state_of
from central.db.database import Database
from central.db.tables.catalog import scopes
from central.db.tables.journal import bodies, gate
from central.db.tables.papers import document_keys, followed
from shared.canonical import canonical


async def position(connection: AsyncConnection, entity: str) -> str | None:
    statement = select(followed.c.position).where(followed.c.entity == entity)
    return (await connection.execute(statement)).scalar_one_or_none()


async def keep_position(database: Database, connection: AsyncConnection, entity: str, reached: str) -> None:
    statement = database.insert(followed).values(entity=entity, position=reached)
    await connection.execute(
        statement.on_conflict_do_update(index_elements=[followed.c.entity], set_={"position": reached})
    )


async def states(
    connection: AsyncConnection, families: Sequence[str], named: Collection[str]
) -> list[ScopeState]:
    """Scopes that are called as one of *named*, or belong to a family (`base`, `pricelist/`); in the order of names."""
    ours = [
        scopes.c.scope.startswith(family, autoescape=True)
        if family.endswith("/")
        else scopes.c.scope == family
        for family in families
    ]
    statement = select(*STATE_COLUMNS).where(or_(*ours, scopes.c.scope.in_(named))).order_by(scopes.c.scope)
    return [state_of(row) for row in await connection.execute(statement)]


def key_of(scope: str, key: str) -> str:
    """How a row is called among the keys of documents."""
    return canonical([scope, key]).decode()


async def said(
    database: Database, connection: AsyncConnection, kind: str, scope: str, keys: Collection[str]
) -> dict[str, bytes]:
    """Key of a row -> the payload of the newest document about it."""
    named = {key_of(scope, key): key for key in keys}
    statement = (
        select(document_keys.c.key, bodies.c.payload)
        .join(bodies, bodies.c.doc_no == document_keys.c.doc_no)
        .where(document_keys.c.source == OWN_DESK, document_keys.c.kind == kind)
        .where(one_of(database, document_keys.c.key, named))
    )
    return {named[row[0]]: bytes(row[1]) for row in await connection.execute(statement)}


async def said_keys(connection: AsyncConnection, kind: str, scope: str) -> set[str]:
    """Keys of all rows of a scope about which there is a document."""
    begin = key_of(scope, "")[:-2]
    statement = select(document_keys.c.key).where(
        document_keys.c.source == OWN_DESK,
        document_keys.c.kind == kind,
        document_keys.c.key.startswith(begin, autoescape=True),
    )
    return {orjson.loads(row[0])[1] for row in await connection.execute(statement)}


async def newest(
    database: Database, connection: AsyncConnection, kind: str, named: Collection[str]
) -> set[int]:
    """doc_no of the newest document of each of these keys (`key_of`)."""
    statement = select(document_keys.c.doc_no).where(
        document_keys.c.source == OWN_DESK,
        document_keys.c.kind == kind,
        one_of(database, document_keys.c.key, named),
    )
    return set((await connection.execute(statement)).scalars())


async def refs_of(connection: AsyncConnection, doc_ids: Collection[bytes]) -> dict[bytes, list[bytes]]:
    """doc_id -> the documents that it refers to."""
    statement = (
        select(gate.c.doc_id, bodies.c.header)
        .join(bodies, bodies.c.doc_no == gate.c.doc_no)
        .where(gate.c.doc_id.in_(doc_ids))
    )
    return {
        bytes(row[0]): [bytes.fromhex(ref.replace("-", "")) for ref in orjson.loads(row[1]).get("refs", ())]
        for row in await connection.execute(statement)
    }
