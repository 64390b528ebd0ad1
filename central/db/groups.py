"""Groups of deliveries as rows. Every function works inside the caller's transaction.

A delivery is `gathering` until it is in a group, then `grouped`. When its group is closed one of them, the leader, is
`ready` and carried like any other; the rest stay `grouped` and are settled in the transaction that settles it.
Invariant: a delivery is in one group for ever, and only an open group gets members.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, func, literal_column, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from central.db.catalog import one_of
from central.db.database import AnyRow, Database, chunks
from central.db.tables.deliveries import deliveries
from central.db.tables.deliveries import delivery_group_members as members
from central.db.tables.deliveries import delivery_groups as groups
from central.db.tables.documents import documents
from central.db.tables.integrations import integrations
from central.db.tables.journal import bodies, repairs
from central.db.tables.registry import stations, stores

_IN_MAX = 1_000
# Literals, not parameters: both databases use a partial index only for what they can see.
GATHERING = literal_column("deliveries.state") == literal_column("'gathering'")
OPEN = and_(literal_column("delivery_groups.state") != literal_column("'done'"), groups.c.state == "open")

DOCUMENT = (
    bodies.c.doc_no,
    func.coalesce(repairs.c.header, bodies.c.header).label("header"),
    func.coalesce(repairs.c.payload, bodies.c.payload).label("payload"),
    stations.c.code.label("station"),
    stores.c.code.label("store"),
)


# ---- gathering ----


async def gathering(
    connection: AsyncConnection, integration_no: int, effect: str, after: int, limit: int
) -> Sequence[AnyRow]:
    """`doc_no, header, payload, station, store` of deliveries that wait for their group, in order."""
    statement = (
        select(*DOCUMENT)
        .join(deliveries, deliveries.c.doc_no == bodies.c.doc_no)
        .join(stations, stations.c.station_no == bodies.c.station_no)
        .join(stores, stores.c.store_no == stations.c.store_no)
        .outerjoin(repairs, repairs.c.doc_no == bodies.c.doc_no)
        .where(_gathers(integration_no, effect), deliveries.c.doc_no > after)
        .order_by(deliveries.c.doc_no)
        .limit(limit)
    )
    return (await connection.execute(statement)).all()


def _gathers(integration_no: int, effect: str) -> ColumnElement[bool]:
    return and_(deliveries.c.integration_no == integration_no, deliveries.c.effect == effect, GATHERING)


async def still_gathering(
    connection: AsyncConnection, integration_no: int, effect: str, doc_nos: Collection[int]
) -> set[int]:
    """Those that no other node has dealt with meanwhile."""
    found: set[int] = set()
    for part in chunks(list(doc_nos), _IN_MAX):
        statement = select(deliveries.c.doc_no).where(
            _gathers(integration_no, effect), deliveries.c.doc_no.in_(part)
        )
        found.update((await connection.execute(statement)).scalars())
    return found


async def leave_gathering(
    database: Database,
    connection: AsyncConnection,
    integration_no: int,
    effect: str,
    doc_nos: Collection[int],
    state: str,
) -> None:
    """Put deliveries that waited for their group or their time into their next state."""
    for part in chunks(list(doc_nos), _IN_MAX):
        await connection.execute(
            update(deliveries)
            .where(_gathers(integration_no, effect), one_of(database, deliveries.c.doc_no, part))
            .values(state=state)
        )


async def put_back(connection: AsyncConnection, batch_no: int, member: tuple[int, str], state: str) -> None:
    """Take a delivery out of a batch that cannot be sent by itself: its group carries it."""
    doc_no, effect = member
    await connection.execute(
        update(deliveries)
        .where(
            deliveries.c.batch_no == batch_no,
            deliveries.c.state == "leased",
            deliveries.c.doc_no == doc_no,
            deliveries.c.effect == effect,
        )
        .values(state=state, batch_no=None)
    )


async def gathered_before(
    connection: AsyncConnection, integration_no: int, effect: str, until_ms: int, limit: int
) -> list[int]:
    """Deliveries that wait for a time, of documents that came in until then, oldest first."""
    statement = (
        select(deliveries.c.doc_no)
        .join(bodies, bodies.c.doc_no == deliveries.c.doc_no)
        .where(_gathers(integration_no, effect), bodies.c.received_ms <= until_ms)
        .order_by(deliveries.c.doc_no)
        .limit(limit)
    )
    return list((await connection.execute(statement)).scalars())


async def newest(
    connection: AsyncConnection, integration_no: int, effect: str, keys: Collection[str]
) -> dict[str, AnyRow]:
    """The newest group of each key, its corrections included."""
    found: dict[str, AnyRow] = {}
    for part in chunks(list(keys), _IN_MAX):
        statement = select(groups).where(
            groups.c.integration_no == integration_no,
            groups.c.effect == effect,
            groups.c.group_key.in_(part),
        )
        for row in await connection.execute(statement.order_by(groups.c.correction)):
            found[row.group_key] = row
    return found


async def add_group(connection: AsyncConnection, values: dict[str, Any]) -> int:
    """Open a group and return its number."""
    empty = {"state": "open", "size": 0, "sent": False}
    result = await connection.execute(groups.insert().values(**empty, **values).returning(groups.c.group_no))
    return int(result.scalar_one())


async def join(
    database: Database,
    connection: AsyncConnection,
    group: tuple[int, int, str],
    doc_nos: Sequence[int],
    size: int,
    due_ms: int | None,
) -> None:
    """Put deliveries into an open group: `group_no, integration_no, effect`."""
    group_no, integration_no, effect = group
    rows = sorted((integration_no, doc_no, effect, group_no) for doc_no in doc_nos)
    await database.insert_rows(connection, members, rows)
    await leave_gathering(database, connection, integration_no, effect, doc_nos, "grouped")
    await connection.execute(
        update(groups).where(groups.c.group_no == group_no).values(size=size, due_ms=due_ms)
    )


# ---- closing ----


async def open_groups(connection: AsyncConnection) -> Sequence[AnyRow]:
    """Groups that are open, oldest first."""
    return (await connection.execute(select(groups).where(OPEN).order_by(groups.c.group_no))).all()


async def closed_shifts(
    connection: AsyncConnection, shifts: Collection[tuple[str, str]]
) -> dict[tuple[str, str], str]:
    """Of these `station, shift`, those whose close is applied, with its newest business date."""
    found: dict[tuple[str, str], str] = {}
    for part in chunks(sorted(shifts), _IN_MAX):
        statement = (
            select(stations.c.code, documents.c.shift, func.max(documents.c.business_date))
            .select_from(documents.join(stations, stations.c.station_no == documents.c.station_no))
            .where(
                literal_column("documents.kind") == literal_column("'shift_close'"),
                stations.c.code.in_({station for station, _ in part}),
                documents.c.shift.in_({shift for _, shift in part}),
            )
            .group_by(stations.c.code, documents.c.shift)
        )
        found |= {(station, shift): date for station, shift, date in await connection.execute(statement)}
    return found


async def set_due(connection: AsyncConnection, group_no: int, due_ms: int) -> None:
    """It is known by now when an open group closes."""
    await connection.execute(
        update(groups)
        .where(groups.c.group_no == group_no, groups.c.state == "open", groups.c.due_ms.is_(None))
        .values(due_ms=due_ms)
    )


async def lock(connection: AsyncConnection, group_no: int) -> AnyRow | None:
    """A group as it is now; nobody closes it and no document joins it until the commit."""
    of_group = select(groups.c.integration_no).where(groups.c.group_no == group_no).scalar_subquery()
    integration = select(integrations.c.integration_no).where(integrations.c.integration_no == of_group)
    await connection.execute(integration.with_for_update())
    return (await connection.execute(select(groups).where(groups.c.group_no == group_no))).first()


async def close(connection: AsyncConnection, group: AnyRow, now_ms: int, by: str | None) -> None:
    """Close an open group: its first document leads, and is ready."""
    first = select(func.min(members.c.doc_no)).where(members.c.group_no == group.group_no)
    leader = (await connection.execute(first)).scalar_one()
    await connection.execute(
        update(groups)
        .where(groups.c.group_no == group.group_no)
        .values(state="closed", closed_ms=now_ms, by=by, leader=leader)
    )
    await connection.execute(
        update(deliveries)
        .where(
            deliveries.c.integration_no == group.integration_no,
            deliveries.c.effect == group.effect,
            deliveries.c.doc_no == leader,
            deliveries.c.state == "grouped",
        )
        .values(state="ready")
    )
