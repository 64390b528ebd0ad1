"""What people see of groups, and what proves that none lacks a document.

Every function reads inside the caller's one consistent view.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import and_, case, func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from central.db.closed_groups import LEADS
from central.db.database import AnyRow
from central.db.groups import GATHERING, OPEN
from central.db.tables.deliveries import batches, deliveries
from central.db.tables.deliveries import delivery_group_members as members
from central.db.tables.deliveries import delivery_groups as groups
from central.db.tables.documents import documents
from central.db.tables.integrations import integrations
from central.db.tables.journal import bodies
from central.db.tables.registry import stations


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
        .outerjoin(deliveries, LEADS)
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
