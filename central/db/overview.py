"""SQL of the centre at a glance: how much of everything there is, and day totals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    Text,
    cast,
    exists,
    func,
    literal,
    literal_column,
    select,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from central.db.database import AnyRow
from central.db.tables.catalog import scopes, snapshots
from central.db.tables.deliveries import batches, deliveries
from central.db.tables.documents import documents, payments
from central.db.tables.integrations import integrations, pull_states
from central.db.tables.journal import bodies, discarded, epochs, held, parked, pending, waiting
from central.db.tables.registry import SOURCE, stations, stores

_SMALL = {"pending": pending, "waiting": waiting, "parked": parked, "held": held}


async def counts(connection: AsyncConnection) -> dict[str, int]:
    """How many documents are not applied, by state; the tables are small by nature."""
    parts = [
        select(literal(name).label("name"), func.count().label("count")).select_from(table)
        for name, table in _SMALL.items()
    ]
    return {row[0]: row[1] for row in await connection.execute(union_all(*parts))}


async def oldest_pending_ms(connection: AsyncConnection) -> int | None:
    """When the oldest document that is not applied yet came in."""
    oldest = select(func.min(pending.c.doc_no)).scalar_subquery()
    statement = select(bodies.c.received_ms).where(bodies.c.doc_no == oldest)
    return (await connection.execute(statement)).scalar_one_or_none()


async def stored_documents(connection: AsyncConnection) -> int:
    """Positions over all epochs, from their rows: no walk over the journal."""
    return int((await connection.execute(select(func.coalesce(func.sum(epochs.c.last), 0)))).scalar_one())


async def stations_for_status(connection: AsyncConnection) -> Sequence[AnyRow]:
    """What monitoring asks of every station."""
    columns = (
        stations.c.station_no,
        stations.c.code,
        stores.c.code.label("store"),
        stations.c.state,
        stations.c.quarantined,
        stations.c.last_seen_ms,
        stations.c.report_ms,
        stations.c.report,
        stations.c.poke,
    )
    statement = select(*columns).join(stores, stores.c.store_no == stations.c.store_no)
    statement = statement.where(stations.c.state != SOURCE)
    return (await connection.execute(statement.order_by(stations.c.code))).all()


async def integration_findings(connection: AsyncConnection) -> Sequence[AnyRow]:
    """What the last check of each integration that is on found."""
    statement = select(integrations.c.name, integrations.c.findings).where(
        integrations.c.enabled, integrations.c.findings.is_not(None)
    )
    return (await connection.execute(statement.order_by(integrations.c.name))).all()


async def failing_pulls(connection: AsyncConnection) -> Sequence[AnyRow]:
    """Pulls of integrations that are on whose newest runs failed, more than once."""
    column = pull_states.c
    statement = (
        select(integrations.c.name, column.pull, column.failures, column.problem)
        .join(integrations, integrations.c.integration_no == column.integration_no)
        .where(integrations.c.enabled, column.failures > 1)
        .order_by(integrations.c.name, column.pull)
    )
    return (await connection.execute(statement)).all()


async def deliveries_open(connection: AsyncConnection) -> Sequence[AnyRow]:
    """Per integration: whether it is on, what is ready, and what is in batches that are not done, by their state."""
    ready = (
        select(deliveries.c.integration_no, literal("ready").label("state"), func.count().label("number"))
        .where(deliveries.c.state == literal_column("'ready'"))
        .group_by(deliveries.c.integration_no)
        .subquery("ready")
    )
    in_batches = (
        select(
            batches.c.integration_no,
            (literal("batch ") + batches.c.state).label("state"),
            cast(func.sum(batches.c.count), Text).label("number"),
        )
        .where(batches.c.state != literal_column("'done'"))
        .group_by(batches.c.integration_no, batches.c.state)
    )
    found = union_all(
        select(ready.c.integration_no, ready.c.state, cast(ready.c.number, Text).label("number")), in_batches
    ).subquery("found")
    statement = select(
        integrations.c.integration_no,
        integrations.c.name,
        integrations.c.enabled,
        integrations.c.paused_until_ms,
        integrations.c.problem,
        found.c.state,
        found.c.number,
    ).select_from(integrations.outerjoin(found, found.c.integration_no == integrations.c.integration_no))
    return (await connection.execute(statement.order_by(integrations.c.name))).all()


async def scope_heads(connection: AsyncConnection) -> Sequence[AnyRow]:
    """Every scope as it is offered, with the seq of its newest snapshot (null without one)."""
    newest = (
        select(func.max(snapshots.c.seq))
        .where(snapshots.c.scope_no == scopes.c.scope_no, snapshots.c.gen == scopes.c.gen)
        .scalar_subquery()
        .label("snapshot_seq")
    )
    columns = (scopes.c.scope, scopes.c.gen, scopes.c.head, scopes.c.count.label("rows"), scopes.c.digest)
    return (await connection.execute(select(*columns, newest).order_by(scopes.c.scope))).all()


# ---- day totals ----


async def centre_totals(
    connection: AsyncConnection,
    *,
    first: str,
    last: str,
    station: str | None,
    delivered_to: str | None = None,
) -> Sequence[AnyRow]:
    """Count and sum of payments per station, business date, type and currency.

    Args:
        delivered_to: name of an integration: count only documents that were delivered to it.
    """
    of_document = (documents.c.station_no == payments.c.station_no) & (
        documents.c.doc_no == payments.c.doc_no
    )
    source: Any = documents.join(payments, of_document).join(
        stations, stations.c.station_no == documents.c.station_no
    )
    statement = select(
        stations.c.code.label("station"),
        documents.c.business_date,
        payments.c.type,
        documents.c.currency,
        func.count().label("payments"),
        func.sum(payments.c.amount_minor).label("amount_minor"),
    ).where(documents.c.business_date.between(first, last))
    if delivered_to is not None:
        # Once, however many effects a document has there.
        of_name = select(integrations.c.integration_no).where(integrations.c.name == delivered_to)
        statement = statement.where(
            exists().where(
                deliveries.c.integration_no == of_name.scalar_subquery(),
                deliveries.c.doc_no == documents.c.doc_no,
                deliveries.c.state == "done",
            )
        )
    if station is not None:
        statement = statement.where(stations.c.code == station)
    keys = (stations.c.code, documents.c.business_date, payments.c.type, documents.c.currency)
    return (await connection.execute(statement.select_from(source).group_by(*keys).order_by(*keys))).all()


async def unsettled_stations(connection: AsyncConnection) -> set[int]:
    """Stations with documents at the centre that are not applied: their totals cannot agree yet."""
    found: set[int] = set()
    for table in _SMALL.values():
        statement = select(bodies.c.station_no).join(table, table.c.doc_no == bodies.c.doc_no).distinct()
        found |= set((await connection.execute(statement)).scalars())
    return found


async def discarded_documents(connection: AsyncConnection, station: str | None) -> Sequence[AnyRow]:
    """Documents that HQ decided to have no effect: `station, header, payload, damaged`; few by nature."""
    statement = (
        select(stations.c.code.label("station"), bodies.c.header, bodies.c.payload, bodies.c.damaged)
        .select_from(discarded.join(bodies, bodies.c.doc_no == discarded.c.doc_no))
        .join(stations, stations.c.station_no == bodies.c.station_no)
    )
    if station is not None:
        statement = statement.where(stations.c.code == station)
    return (await connection.execute(statement)).all()


async def last_received_ms(connection: AsyncConnection) -> dict[int, int]:
    """When each station's newest documents came in."""
    statement = select(epochs.c.station_no, func.max(epochs.c.updated_ms)).group_by(epochs.c.station_no)
    return {row[0]: row[1] for row in await connection.execute(statement)}
