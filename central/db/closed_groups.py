"""Groups that are closed: carried by their leader, settled with it, and seen by people.

Every function works inside the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from sqlalchemy import and_, case, func, literal_column, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from central.db.database import AnyRow, Database, chunks
from central.db.delivery_tables import delivery_group_members as members
from central.db.delivery_tables import delivery_groups as groups
from central.db.delivery_tables import written
from central.db.groups import DOCUMENT, GATHERING, OPEN
from central.db.tables import (
    batches,
    bodies,
    deliveries,
    documents,
    integrations,
    repairs,
    stations,
    stores,
)

_IN_MAX = 1_000
_LEADS = and_(
    deliveries.c.integration_no == groups.c.integration_no,
    deliveries.c.effect == groups.c.effect,
    deliveries.c.doc_no == groups.c.leader,
)

# ---- carrying ----


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
    statement = select(groups).join(deliveries, _LEADS)
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


# ---- what people see ----


async def listed(
    connection: AsyncConnection, integration_no: int | None, *, open_only: bool, after: int, limit: int
) -> Sequence[AnyRow]:
    """Groups that are not done (all of them unless *open_only*), oldest first, with `told`, `error`, `documents`.

    `told` is the state of the leader's delivery where there is one that is under way.
    """
    statement = (
        select(
            groups,
            groups.c.size.label("documents"),
            case((groups.c.state == "closed", deliveries.c.state), else_=groups.c.state).label("told"),
            batches.c.error,
        )
        .outerjoin(deliveries, _LEADS)
        .outerjoin(batches, batches.c.batch_no == deliveries.c.batch_no)
        .where(groups.c.group_no > after)
    )
    if integration_no is not None:
        statement = statement.where(groups.c.integration_no == integration_no)
    if open_only:
        statement = statement.where(literal_column("delivery_groups.state") != literal_column("'done'"))
    return (await connection.execute(statement.order_by(groups.c.group_no).limit(limit))).all()


async def member_rows(connection: AsyncConnection, group_no: int, after: int, limit: int) -> Sequence[AnyRow]:
    """`doc_no, header, station, kind, number, currency, total_minor` of a group's documents, in order."""
    applied = and_(documents.c.station_no == bodies.c.station_no, documents.c.doc_no == bodies.c.doc_no)
    statement = (
        select(
            bodies.c.doc_no,
            bodies.c.header,
            stations.c.code.label("station"),
            documents.c.kind,
            documents.c.number,
            documents.c.currency,
            documents.c.total_minor,
        )
        .join(members, members.c.doc_no == bodies.c.doc_no)
        .join(stations, stations.c.station_no == bodies.c.station_no)
        .join(documents, applied)
        .where(members.c.group_no == group_no, members.c.doc_no > after)
    )
    return (await connection.execute(statement.order_by(members.c.doc_no).limit(limit))).all()


async def of_documents(connection: AsyncConnection, doc_nos: Collection[int]) -> Sequence[AnyRow]:
    """The groups that deliveries of these documents are in."""
    # By the key's first column too: documents of all integrations lie in one table.
    own = select(members.c.group_no).where(
        members.c.integration_no.in_(select(integrations.c.integration_no)), members.c.doc_no.in_(doc_nos)
    )
    statement = select(groups).where(groups.c.group_no.in_(own))
    return (await connection.execute(statement.order_by(groups.c.group_no))).all()


async def waiting_counts(connection: AsyncConnection) -> dict[int, int]:
    """integration_no -> deliveries that wait for their group, for its close, or for their schedule's time."""
    alone = (
        select(deliveries.c.integration_no, func.count().label("number"))
        .where(GATHERING)
        .group_by(deliveries.c.integration_no)
    )
    together = (
        select(groups.c.integration_no, func.sum(groups.c.size).label("number"))
        .where(OPEN)
        .group_by(groups.c.integration_no)
    )
    found: dict[int, int] = {}
    for statement in (alone, together):
        for integration_no, number in await connection.execute(statement):
            found[integration_no] = found.get(integration_no, 0) + int(number)
    return found


# ---- proof ----

FOUND_MAX = 100


async def unsound(connection: AsyncConnection) -> Sequence[AnyRow]:
    """Groups that lack a document, or of which a document's delivery is not where its group is.

    While a group is not done all its documents are `grouped`, but for the one that carries it; then none is.
    """
    column = deliveries.c
    of_member = and_(
        column.integration_no == members.c.integration_no,
        column.doc_no == members.c.doc_no,
        column.effect == members.c.effect,
    )
    is_leader = members.c.doc_no == groups.c.leader
    fits = case(
        (groups.c.state == "done", column.state.in_(("done", "skipped"))),
        (is_leader, column.state.not_in(("grouped", "gathering", "done", "skipped"))),
        else_=column.state == "grouped",
    )
    count = func.count(members.c.doc_no)
    unsettled = func.sum(case((and_(column.doc_no.is_not(None), fits), 0), else_=1))
    statement = (
        select(
            groups.c.group_no,
            groups.c.group_key,
            groups.c.state,
            groups.c.size,
            count.label("members"),
            unsettled.label("unsettled"),
        )
        .outerjoin(members, members.c.group_no == groups.c.group_no)
        .outerjoin(deliveries, of_member)
        .group_by(groups.c.group_no, groups.c.group_key, groups.c.state, groups.c.size)
        .having((count != groups.c.size) | (unsettled > 0))
    )
    return (await connection.execute(statement.limit(FOUND_MAX))).all()


async def without_group(connection: AsyncConnection) -> Sequence[int]:
    """Documents whose delivery follows a group that is not there."""
    column = deliveries.c
    of_delivery = and_(
        members.c.integration_no == column.integration_no,
        members.c.doc_no == column.doc_no,
        members.c.effect == column.effect,
    )
    statement = (
        select(column.doc_no)
        .outerjoin(members, of_delivery)
        .where(column.state == "grouped", members.c.group_no.is_(None))
    )
    return (await connection.execute(statement.limit(FOUND_MAX))).scalars().all()


# ---- what people decide ----


async def leaders_of(connection: AsyncConnection, integration_no: int, doc_nos: Collection[int]) -> list[int]:
    """The documents that lead the closed groups which these are in."""
    own = select(members.c.group_no).where(
        members.c.integration_no == integration_no, members.c.doc_no.in_(doc_nos)
    )
    statement = select(groups.c.leader).where(groups.c.group_no.in_(own), groups.c.state == "closed")
    return list((await connection.execute(statement)).scalars())
