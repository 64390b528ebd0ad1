"""SQL of what HQ looks at: documents and the state they are in, day totals, and how much of everything there is.

A document's state shows in which of the small tables names it; in none of them it is applied. Lists run backwards
over `bodies` (newest first) and stop at their limit, so that no question needs an index that every sale would pay for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    Text,
    case,
    cast,
    func,
    literal,
    literal_column,
    select,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from central.db.database import AnyRow
from central.db.tables import (
    batches,
    bodies,
    deliveries,
    documents,
    epochs,
    gate,
    held,
    integrations,
    journal,
    lines,
    parked,
    payments,
    pending,
    repairs,
    scopes,
    snapshots,
    stations,
    stores,
    waiting,
)

STATES = ("applied", "pending", "waiting", "parked", "held")
_SMALL = {"pending": pending, "waiting": waiting, "parked": parked, "held": held}

_STATE: ColumnElement[str] = case(
    (documents.c.doc_no.is_not(None), "applied"),
    (parked.c.doc_no.is_not(None), "parked"),
    (waiting.c.doc_no.is_not(None), "waiting"),
    (held.c.doc_no.is_not(None), "held"),
    (pending.c.doc_no.is_not(None), "pending"),
    else_="lost",
).label("state")

_WHY: ColumnElement[str | None] = func.coalesce(parked.c.reason, waiting.c.why, held.c.why).label("why")


def _documents() -> Select[Any]:
    return (
        select(
            bodies.c.doc_no,
            stations.c.code.label("station"),
            stores.c.code.label("store"),
            bodies.c.received_ms,
            bodies.c.damaged,
            bodies.c.header,
            documents.c.total_minor,
            documents.c.currency,
            _STATE,
            _WHY,
        )
        .select_from(
            bodies.join(stations, stations.c.station_no == bodies.c.station_no)
            .join(stores, stores.c.store_no == stations.c.store_no)
            .outerjoin(
                documents,
                (documents.c.station_no == bodies.c.station_no) & (documents.c.doc_no == bodies.c.doc_no),
            )
            .outerjoin(pending, pending.c.doc_no == bodies.c.doc_no)
            .outerjoin(waiting, waiting.c.doc_no == bodies.c.doc_no)
            .outerjoin(parked, parked.c.doc_no == bodies.c.doc_no)
            .outerjoin(held, held.c.doc_no == bodies.c.doc_no)
        )
        .order_by(bodies.c.doc_no.desc())
    )


async def list_documents(
    connection: AsyncConnection,
    *,
    before: int | None,
    limit: int,
    station: str | None = None,
    store: str | None = None,
    kind: str | None = None,
    business_date: str | None = None,
    number: str | None = None,
    state: str | None = None,
) -> Sequence[AnyRow]:
    """Documents, newest first. Kind, date and number are known of applied ones only."""
    statement = _documents().limit(limit)
    if before is not None:
        statement = statement.where(bodies.c.doc_no < before)
    if station is not None:
        statement = statement.where(stations.c.code == station)
    if store is not None:
        statement = statement.where(stores.c.code == store)
    if kind is not None:
        statement = statement.where(documents.c.kind == kind)
    if business_date is not None:
        statement = statement.where(documents.c.business_date == business_date)
    if number is not None:
        statement = statement.where(documents.c.number == number)
    if state == "applied":
        statement = statement.where(documents.c.doc_no.is_not(None))
    elif state is not None:
        # The small table leads: what is stuck is found without a walk over what is not.
        statement = statement.where(bodies.c.doc_no.in_(select(_SMALL[state].c.doc_no)))
    found: Sequence[AnyRow] = (await connection.execute(statement)).all()
    return found


async def document_numbers(connection: AsyncConnection, doc_id: bytes) -> list[int]:
    """The document that holds a doc_id at the gate, if any."""
    return list((await connection.execute(select(gate.c.doc_no).where(gate.c.doc_id == doc_id))).scalars())


async def document_exists(connection: AsyncConnection, doc_no: int) -> bool:
    return (
        await connection.execute(select(bodies.c.doc_no).where(bodies.c.doc_no == doc_no))
    ).first() is not None


async def conflict_headers(connection: AsyncConnection, limit: int) -> Sequence[AnyRow]:
    """doc_no and header of what is held without a place at the gate."""
    statement = select(bodies.c.doc_no, bodies.c.header).join(held, held.c.doc_no == bodies.c.doc_no)
    statement = (
        statement.where(held.c.why.in_(("conflict", "damaged"))).order_by(bodies.c.doc_no).limit(limit)
    )
    return (await connection.execute(statement)).all()


async def document_at(connection: AsyncConnection, low: bytes, high: bytes, seq: int) -> Sequence[AnyRow]:
    """doc_no and epoch of what stands at *seq* of the epochs between *low* and *high*."""
    statement = select(journal.c.doc_no, epochs.c.epoch).join(epochs, epochs.c.epoch_no == journal.c.epoch_no)
    statement = statement.where(epochs.c.epoch.between(low, high), journal.c.seq == seq)
    return (await connection.execute(statement)).all()


async def one_document(connection: AsyncConnection, doc_no: int) -> AnyRow:
    """A document as the list has it, with its payload, its repaired payload, and why it is where it is."""
    statement = (
        _documents()
        .outerjoin(repairs, repairs.c.doc_no == bodies.c.doc_no)
        .add_columns(
            bodies.c.station_no,
            bodies.c.payload,
            repairs.c.payload.label("repaired"),
            repairs.c.by.label("repaired_by"),
            repairs.c.at_ms.label("repaired_ms"),
            parked.c.detail,
            parked.c.attempts,
            parked.c.history,
            waiting.c.reference,
        )
    )
    return (await connection.execute(statement.where(bodies.c.doc_no == doc_no))).one()


async def positions_of(connection: AsyncConnection, station_no: int, doc_no: int) -> Sequence[AnyRow]:
    """Every place of a document in its station's chains: epoch, seq."""
    statement = select(epochs.c.epoch, journal.c.seq).join(epochs, epochs.c.epoch_no == journal.c.epoch_no)
    statement = statement.where(epochs.c.station_no == station_no, journal.c.doc_no == doc_no)
    return (await connection.execute(statement.order_by(epochs.c.epoch_no))).all()


async def rows_of(
    connection: AsyncConnection, station_no: int, doc_no: int
) -> tuple[Sequence[AnyRow], Sequence[AnyRow]]:
    """The lines and payments of an applied document."""
    found = []
    for table in (lines, payments):
        statement = select(table).where(table.c.station_no == station_no, table.c.doc_no == doc_no)
        found.append((await connection.execute(statement.order_by(table.c.n))).all())
    return found[0], found[1]


async def deliveries_of(connection: AsyncConnection, doc_no: int) -> Sequence[AnyRow]:
    """Where a document goes: integration, effect, state, batch."""
    statement = (
        select(
            integrations.c.name.label("integration"),
            deliveries.c.effect,
            deliveries.c.state,
            batches.c.batch_id,
        )
        .select_from(
            integrations.join(
                deliveries, deliveries.c.integration_no == integrations.c.integration_no
            ).outerjoin(batches, batches.c.batch_no == deliveries.c.batch_no)
        )
        .where(deliveries.c.doc_no == doc_no)
    )
    return (await connection.execute(statement.order_by(integrations.c.name))).all()


async def list_waiting(connection: AsyncConnection, *, after: int, limit: int) -> Sequence[AnyRow]:
    """Documents that wait, oldest first, with the header that says what they are."""
    statement = (
        select(waiting, stations.c.code.label("station"), bodies.c.header)
        .join(bodies, bodies.c.doc_no == waiting.c.doc_no)
        .join(stations, stations.c.station_no == bodies.c.station_no)
        .where(waiting.c.doc_no > after)
    )
    return (await connection.execute(statement.order_by(waiting.c.doc_no).limit(limit))).all()


async def parked_groups(connection: AsyncConnection) -> Sequence[AnyRow]:
    """Parked documents by root cause, the largest group first; `example` is what one of them says exactly."""
    number = func.count().label("documents")
    statement = (
        select(
            parked.c.reason,
            number,
            func.count(bodies.c.station_no.distinct()).label("stations"),
            func.min(parked.c.since_ms).label("since_ms"),
            func.min(parked.c.detail).label("example"),
        )
        .join(bodies, bodies.c.doc_no == parked.c.doc_no)
        .group_by(parked.c.reason)
    )
    return (await connection.execute(statement.order_by(number.desc(), parked.c.reason))).all()


async def list_parked(
    connection: AsyncConnection, *, after: int, limit: int, reason: str | None, station: str | None
) -> Sequence[AnyRow]:
    """Parked documents, oldest first."""
    statement = (
        select(parked, stations.c.code.label("station"), bodies.c.header)
        .join(bodies, bodies.c.doc_no == parked.c.doc_no)
        .join(stations, stations.c.station_no == bodies.c.station_no)
        .where(parked.c.doc_no > after)
    )
    if reason is not None:
        statement = statement.where(parked.c.reason == reason)
    if station is not None:
        statement = statement.where(stations.c.code == station)
    return (await connection.execute(statement.order_by(parked.c.doc_no).limit(limit))).all()


async def list_held(
    connection: AsyncConnection, *, after: int, limit: int, station: str | None, why: str | None
) -> Sequence[AnyRow]:
    """Documents that are held, oldest first."""
    statement = (
        select(held, stations.c.code.label("station"), bodies.c.header, bodies.c.damaged)
        .join(bodies, bodies.c.doc_no == held.c.doc_no)
        .join(stations, stations.c.station_no == held.c.station_no)
        .where(held.c.doc_no > after)
    )
    if station is not None:
        statement = statement.where(stations.c.code == station)
    if why is not None:
        statement = statement.where(held.c.why == why)
    return (await connection.execute(statement.order_by(held.c.doc_no).limit(limit))).all()


# ---- counts ----


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
    )
    statement = select(*columns).join(stores, stores.c.store_no == stations.c.store_no)
    return (await connection.execute(statement.order_by(stations.c.code))).all()


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
        source = source.join(deliveries, deliveries.c.doc_no == documents.c.doc_no).join(
            integrations, integrations.c.integration_no == deliveries.c.integration_no
        )
        statement = statement.where(integrations.c.name == delivered_to, deliveries.c.state == "done")
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


async def last_received_ms(connection: AsyncConnection) -> dict[int, int]:
    """When each station's newest documents came in."""
    statement = select(epochs.c.station_no, func.max(epochs.c.updated_ms)).group_by(epochs.c.station_no)
    return {row[0]: row[1] for row in await connection.execute(statement)}
