"""SQL of the admin side that belongs to no other part: API keys, the audit trail, consumers, single values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from central.db.database import AnyRow
from central.db.tables.catalog import consumer_cursors, consumers
from central.db.tables.registry import stores
from central.db.tables.system import api_keys, audit, meta

# ---- API keys ----


async def key_by_hash(connection: AsyncConnection, key_hash: bytes) -> AnyRow | None:
    """Name, role, whom it is bound to, and revoked_ms of a key."""
    statement = select(
        api_keys.c.name,
        api_keys.c.role,
        api_keys.c.consumer,
        api_keys.c.source,
        api_keys.c.outlet,
        api_keys.c.revoked_ms,
    )
    return (await connection.execute(statement.where(api_keys.c.hash == key_hash))).one_or_none()


async def key_exists(connection: AsyncConnection, name: str) -> bool:
    return (
        await connection.execute(select(api_keys.c.name).where(api_keys.c.name == name))
    ).first() is not None


async def live_admin_keys(connection: AsyncConnection) -> list[str]:
    """Names of the admin keys that still open the door, locked: two nodes must not revoke the last two at once."""
    statement = select(api_keys.c.name).where(api_keys.c.role == "admin", api_keys.c.revoked_ms.is_(None))
    return list((await connection.execute(statement.order_by(api_keys.c.name).with_for_update())).scalars())


async def insert_key(
    connection: AsyncConnection,
    name: str,
    key_hash: bytes,
    role: str,
    bound: Mapping[str, str | None],
    at_ms: int,
) -> None:
    """*bound*: consumer, source, outlet."""
    values = {"name": name, "hash": key_hash, "role": role, "created_ms": at_ms, **bound}
    await connection.execute(api_keys.insert().values(values))


async def revoke_key(connection: AsyncConnection, name: str, at_ms: int) -> None:
    statement = update(api_keys).where(api_keys.c.name == name, api_keys.c.revoked_ms.is_(None))
    await connection.execute(statement.values(revoked_ms=at_ms))


async def list_keys(connection: AsyncConnection) -> Sequence[AnyRow]:
    columns = (
        api_keys.c.name,
        api_keys.c.role,
        api_keys.c.consumer,
        api_keys.c.source,
        api_keys.c.outlet,
        api_keys.c.created_ms,
        api_keys.c.revoked_ms,
    )
    return (await connection.execute(select(*columns).order_by(api_keys.c.name))).all()


# ---- audit ----


async def insert_audit(connection: AsyncConnection, at_ms: int, who: str, what: str, detail: str) -> None:
    await connection.execute(audit.insert().values(at_ms=at_ms, who=who, what=what, detail=detail))


async def list_audit(
    connection: AsyncConnection, *, before: int | None, who: str | None, what: str | None, limit: int
) -> Sequence[AnyRow]:
    """Newest first; *before* is the audit_no of the last row of the page before."""
    statement = select(audit)
    if before is not None:
        statement = statement.where(audit.c.audit_no < before)
    if who is not None:
        statement = statement.where(audit.c.who == who)
    if what is not None:
        statement = statement.where(audit.c.what.startswith(what, autoescape=True))
    return (await connection.execute(statement.order_by(audit.c.audit_no.desc()).limit(limit))).all()


# ---- consumers of the feed ----


async def consumer_exists(connection: AsyncConnection, name: str) -> bool:
    statement = select(consumers.c.consumer).where(consumers.c.consumer == name)
    return (await connection.execute(statement)).first() is not None


async def insert_consumer(
    connection: AsyncConnection, name: str, store_no: int, groups: str, at_ms: int
) -> None:
    await connection.execute(
        consumers.insert().values(consumer=name, store_no=store_no, groups=groups, created_ms=at_ms)
    )


async def list_consumers(connection: AsyncConnection) -> Sequence[AnyRow]:
    """Each consumer once per entity that it has confirmed, or once with entity null."""
    joined = consumers.join(stores, stores.c.store_no == consumers.c.store_no).outerjoin(
        consumer_cursors, consumer_cursors.c.consumer == consumers.c.consumer
    )
    columns = (
        consumers.c.consumer,
        stores.c.code.label("store"),
        consumers.c.groups,
        consumers.c.created_ms,
        consumer_cursors.c.entity,
        consumer_cursors.c.confirmed_ms,
        consumer_cursors.c.rejected,
    )
    statement = select(*columns).select_from(joined).order_by(consumers.c.consumer, consumer_cursors.c.entity)
    return (await connection.execute(statement)).all()


# ---- single values ----


async def get_meta(connection: AsyncConnection, key: str) -> str | None:
    return (await connection.execute(select(meta.c.value).where(meta.c.key == key))).scalar_one_or_none()


async def set_meta(connection: AsyncConnection, key: str, value: str) -> None:
    changed = await connection.execute(update(meta).where(meta.c.key == key).values(value=value))
    if changed.rowcount == 0:
        await connection.execute(meta.insert().values(key=key, value=value))
