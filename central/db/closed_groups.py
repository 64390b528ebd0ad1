"""Groups that are closed: carried by their leader, and settled with it.

Every function works inside the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from sqlalchemy import and_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from central.db.database import AnyRow, Database, chunks
from central.db.groups import DOCUMENT
from central.db.tables.deliveries import deliveries, written
from central.db.tables.deliveries import delivery_group_members as members
from central.db.tables.deliveries import delivery_groups as groups
from central.db.tables.documents import documents
from central.db.tables.journal import bodies, repairs
from central.db.tables.registry import stations, stores

_IN_MAX = 1_000
LEADS = and_(
    deliveries.c.integration_no == groups.c.integration_no,
    deliveries.c.effect == groups.c.effect,
    deliveries.c.doc_no == groups.c.leader,
)


async def member_documents(
    connection: AsyncConnection, group_no: int, after: int, limit: int
) -> Sequence[AnyRow]:
    """`doc_no, header, payload, station, store, total_minor` of a group's documents behind *after*, in order."""
    applied = and_(documents.c.station_no == bodies.c.station_no, documents.c.doc_no == bodies.c.doc_no)
    statement = (
        select(*DOCUMENT, documents.c.total_minor)
        .join(members, members.c.doc_no == bodies.c.doc_no)
        .join(stations, stations.c.station_no == bodies.c.station_no)
        .join(stores, stores.c.store_no == stations.c.store_no)
        .outerjoin(repairs, repairs.c.doc_no == bodies.c.doc_no)
        .outerjoin(documents, applied)
        .where(members.c.group_no == group_no, members.c.doc_no > after)
        .order_by(members.c.doc_no)
        .limit(limit)
    )
    return (await connection.execute(statement)).all()


class Leads(NamedTuple):
    """What a delivery carries that leads a group: so many documents; `corrects` leads what they are a correction of."""

    size: int
    corrects: int | None


async def leaders(
    connection: AsyncConnection, integration_no: int, doc_nos: Collection[int]
) -> dict[tuple[int, str], Leads]:
    """Of these documents, the deliveries that lead a group."""
    before = groups.alias("before")
    same = and_(
        before.c.integration_no == groups.c.integration_no,
        before.c.effect == groups.c.effect,
        before.c.group_key == groups.c.group_key,
        before.c.correction == groups.c.correction - 1,
    )
    found: dict[tuple[int, str], Leads] = {}
    for part in chunks(list(doc_nos), _IN_MAX):
        statement = (
            select(groups.c.leader, groups.c.effect, groups.c.size.label("documents"), before.c.leader)
            .outerjoin(before, same)
            .where(groups.c.integration_no == integration_no, groups.c.leader.in_(part))
        )
        for leader, effect, size, corrects in await connection.execute(statement):
            found[leader, effect] = Leads(size, corrects)
    return found


async def first_leader(connection: AsyncConnection, group: AnyRow) -> int:
    """The document that leads the group which this one corrects."""
    statement = select(groups.c.leader).where(
        groups.c.integration_no == group.integration_no,
        groups.c.effect == group.effect,
        groups.c.group_key == group.group_key,
        groups.c.correction == 0,
    )
    return int((await connection.execute(statement)).scalar_one())


async def led_by(connection: AsyncConnection, batch_no: int) -> Sequence[AnyRow]:
    """The groups whose leaders are under way in a batch."""
    statement = select(groups).join(deliveries, LEADS)
    return (
        await connection.execute(
            statement.where(deliveries.c.batch_no == batch_no, deliveries.c.state == "leased")
        )
    ).all()


async def mark_sent(connection: AsyncConnection, group_nos: Collection[int]) -> None:
    """What the other system has under these groups' keys from now on is theirs."""
    await connection.execute(update(groups).where(groups.c.group_no.in_(group_nos)).values(sent=True))


async def follow(connection: AsyncConnection, group: AnyRow, state: str) -> None:
    """Its leader is settled: so are all its documents."""
    own = select(members.c.doc_no).where(members.c.group_no == group.group_no)
    await connection.execute(
        update(deliveries)
        .where(
            deliveries.c.integration_no == group.integration_no,
            deliveries.c.effect == group.effect,
            deliveries.c.state == "grouped",
            deliveries.c.doc_no.in_(own),
        )
        .values(state=state)
    )
    await connection.execute(update(groups).where(groups.c.group_no == group.group_no).values(state="done"))


async def link_back(database: Database, connection: AsyncConnection, group_no: int) -> None:
    """What the other system calls a group is what each of its documents became there."""
    column = written.c
    of_leader = (
        select(
            column.integration_no,
            members.c.doc_no,
            column.effect,
            column.part,
            column.id,
            column.number,
            column.at_ms,
        )
        .join(
            groups,
            and_(
                groups.c.integration_no == column.integration_no,
                groups.c.effect == column.effect,
                groups.c.leader == column.doc_no,
            ),
        )
        .join(members, members.c.group_no == groups.c.group_no)
        .where(groups.c.group_no == group_no, members.c.doc_no != groups.c.leader)
    )
    names = ["integration_no", "doc_no", "effect", "part", "id", "number", "at_ms"]
    statement = database.insert(written).from_select(names, of_leader)
    await connection.execute(
        statement.on_conflict_do_update(
            index_elements=["integration_no", "doc_no", "effect", "part"],
            set_={name: statement.excluded[name] for name in ("id", "number", "at_ms")},
        )
    )


async def leaders_of(connection: AsyncConnection, integration_no: int, doc_nos: Collection[int]) -> list[int]:
    """The documents that lead the closed groups which these are in."""
    own = select(members.c.group_no).where(
        members.c.integration_no == integration_no, members.c.doc_no.in_(doc_nos)
    )
    statement = select(groups.c.leader).where(groups.c.group_no.in_(own), groups.c.state == "closed")
    return list((await connection.execute(statement)).scalars())
