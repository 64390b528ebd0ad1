"""SQL of documents as HQ looks at them: lists, one in full, and those that are stuck.

A document's state shows in which of the small tables names it; in none of them it is applied. Lists run backwards
over `bodies` (newest first) and stop at their limit, so that no question needs an index that every sale would pay for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    case,
    func,
    select,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from central.db.database import AnyRow
from central.db.tables.deliveries import batches, deliveries
from central.db.tables.documents import documents, lines, payments
from central.db.tables.integrations import integrations
from central.db.tables.journal import (
    bodies,
    discarded,
    epochs,
    gate,
    held,
    journal,
    parked,
    pending,
    repairs,
    waiting,
)
from central.db.tables.papers import paper_links, paper_units, papers
from central.db.tables.registry import stations, stores

STATES = ("applied", "pending", "waiting", "parked", "held", "discarded")
_SMALL = {"pending": pending, "waiting": waiting, "parked": parked, "held": held, "discarded": discarded}

_STATE: ColumnElement[str] = case(
    (documents.c.doc_no.is_not(None), "applied"),
    (parked.c.doc_no.is_not(None), "parked"),
    (waiting.c.doc_no.is_not(None), "waiting"),
    (held.c.doc_no.is_not(None), "held"),
    (discarded.c.doc_no.is_not(None), "discarded"),
    (pending.c.doc_no.is_not(None), "pending"),
    else_="lost",
).label("state")

_WHY: ColumnElement[str | None] = func.coalesce(
    parked.c.reason, waiting.c.why, held.c.why, discarded.c.reason
).label("why")


def _documents() -> Select[Any]:
    return (
        select(
            bodies.c.doc_no,
            stations.c.code.label("station"),
            stores.c.code.label("store"),
            bodies.c.received_ms,
            bodies.c.damaged,
            func.coalesce(repairs.c.header, bodies.c.header).label("header"),
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
            .outerjoin(discarded, discarded.c.doc_no == bodies.c.doc_no)
            .outerjoin(repairs, repairs.c.doc_no == bodies.c.doc_no)
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
    """doc_no and header of what is held, or was discarded, without a place at the gate."""
    kept = union_all(
        select(held.c.doc_no).where(held.c.why.in_(("conflict", "damaged"))), select(discarded.c.doc_no)
    ).subquery("kept")
    statement = select(bodies.c.doc_no, bodies.c.header).join(kept, kept.c.doc_no == bodies.c.doc_no)
    return (await connection.execute(statement.order_by(bodies.c.doc_no).limit(limit))).all()


async def document_at(connection: AsyncConnection, low: bytes, high: bytes, seq: int) -> Sequence[AnyRow]:
    """doc_no and epoch of what stands at *seq* of the epochs between *low* and *high*."""
    statement = select(journal.c.doc_no, epochs.c.epoch).join(epochs, epochs.c.epoch_no == journal.c.epoch_no)
    statement = statement.where(epochs.c.epoch.between(low, high), journal.c.seq == seq)
    return (await connection.execute(statement)).all()


async def one_document(connection: AsyncConnection, doc_no: int) -> AnyRow:
    """A document as the list has it, with its payload, its repaired payload, and why it is where it is."""
    statement = _documents().add_columns(
        bodies.c.station_no,
        bodies.c.header.label("sealed_header"),
        bodies.c.payload,
        repairs.c.payload.label("repaired"),
        repairs.c.by.label("repaired_by"),
        repairs.c.at_ms.label("repaired_ms"),
        parked.c.detail,
        parked.c.attempts,
        parked.c.history,
        waiting.c.reference,
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


async def paper_of(
    connection: AsyncConnection, station_no: int, doc_no: int
) -> tuple[AnyRow | None, Sequence[AnyRow], Sequence[AnyRow]]:
    """What only an order, stock or money document has: its row, what it is based on, single goods of its lines."""
    found = []
    for table, order in (
        (papers, ()),
        (paper_links, (paper_links.c.n,)),
        (paper_units, (paper_units.c.line, paper_units.c.what, paper_units.c.n)),
    ):
        statement = select(table).where(table.c.station_no == station_no, table.c.doc_no == doc_no)
        found.append((await connection.execute(statement.order_by(*order))).all())
    return next(iter(found[0]), None), found[1], found[2]


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
