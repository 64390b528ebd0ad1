"""Deliveries and batches as rows. Every function works inside the caller's transaction.

A delivery is `ready` until a batch takes it (`leased`), then `done` or `parked`; before that it may be `gathering` or
`grouped` (`groups.py`). Invariant: which deliveries a batch
carries is committed before any byte of it leaves, and only the holder of its lease changes it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, literal_column, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from central.db import closed_groups
from central.db.catalog import one_of
from central.db.database import AnyRow, Database, chunks
from central.db.tables.deliveries import (
    batches,
    deliveries,
    delivery_group_members,
    delivery_groups,
    delivery_records,
    earlier_batches,
)
from central.db.tables.documents import documents
from central.db.tables.integrations import integrations
from central.db.tables.journal import bodies, gate, repairs
from central.db.tables.registry import stations, stores

_IN_MAX = 1_000
"""Values of one IN list."""
# A literal, not a parameter: both databases use the partial index only for what they can see.
_READY = literal_column("deliveries.state") == literal_column("'ready'")
_OPEN = literal_column("batches.state") != literal_column("'done'")
SETTLED = ("done", "skipped")
"""States after which nobody waits for a delivery any more; `skipped`: a filter says that there is no such effect."""
_LEASABLE = ("ready", "sent", "unknown")


# ---- taking a batch ----


async def lock_integration(connection: AsyncConnection, integration_no: int) -> AnyRow | None:
    """The integration's `enabled` and `paused_until_ms`; no other node takes a batch of it until the commit."""
    statement = select(integrations.c.enabled, integrations.c.paused_until_ms).where(
        integrations.c.integration_no == integration_no
    )
    return (await connection.execute(statement.with_for_update())).first()


def _due(integration_no: int, now_ms: int, ask_person: bool) -> ColumnElement[bool]:
    # Where the system cannot be asked, an unknown batch is a person's.
    states = _LEASABLE[:2] if ask_person else _LEASABLE
    return and_(
        batches.c.integration_no == integration_no,
        _OPEN,
        batches.c.state.in_(states),
        batches.c.leased_until_ms <= now_ms,
        batches.c.not_before_ms <= now_ms,
    )


async def has_work(connection: AsyncConnection, integration_no: int, now_ms: int, ask_person: bool) -> bool:
    """Whether there is a ready delivery or a batch that may be leased; cheap, and takes no lock."""
    ready = select(1).where(deliveries.c.integration_no == integration_no, _READY).limit(1)
    if (await connection.execute(ready)).first() is not None:
        return True
    batch = select(1).where(_due(integration_no, now_ms, ask_person)).limit(1)
    return (await connection.execute(batch)).first() is not None


async def due_in_ms(connection: AsyncConnection, integration_no: int, now_ms: int) -> int | None:
    """How long until its pause is over, or else a batch that was begun may be leased; None where nothing is begun."""
    paused = select(integrations.c.paused_until_ms).where(integrations.c.integration_no == integration_no)
    rest_ms = int((await connection.execute(paused)).scalar_one_or_none() or 0) - now_ms
    if rest_ms > 0:
        return rest_ms
    not_before, leased = batches.c.not_before_ms, batches.c.leased_until_ms
    due = select(func.min(case((not_before > leased, not_before), else_=leased))).where(
        batches.c.integration_no == integration_no, _OPEN, batches.c.state.in_(_LEASABLE)
    )
    earliest = (await connection.execute(due)).scalar_one_or_none()
    return None if earliest is None else max(0, earliest - now_ms)


async def lease_open_batch(
    connection: AsyncConnection, integration_no: int, now_ms: int, lease: str, until_ms: int, ask_person: bool
) -> AnyRow | None:
    """Lease the oldest batch that was begun and is nobody's now."""
    row = (
        await connection.execute(
            select(batches)
            .where(_due(integration_no, now_ms, ask_person))
            .order_by(batches.c.batch_no)
            .limit(1)
        )
    ).first()
    if row is not None:
        await connection.execute(
            update(batches)
            .where(batches.c.batch_no == row.batch_no)
            .values(lease=lease, leased_until_ms=until_ms)
        )
    return row


async def free_leases(connection: AsyncConnection) -> None:
    """Take all leases back: their holders are dead."""
    await connection.execute(update(batches).where(_OPEN).values(lease=None, leased_until_ms=0))


async def ready_deliveries(
    connection: AsyncConnection, integration_no: int, after: tuple[int, str], limit: int
) -> Sequence[AnyRow]:
    """`doc_no, effect, header, size` of ready deliveries behind *after*, in order."""
    doc_no, effect = after
    return (
        await connection.execute(
            select(
                deliveries.c.doc_no,
                deliveries.c.effect,
                func.coalesce(repairs.c.header, bodies.c.header).label("header"),
                (func.length(bodies.c.header) + func.length(bodies.c.payload)).label("size"),
            )
            .join(bodies, bodies.c.doc_no == deliveries.c.doc_no)
            .outerjoin(repairs, repairs.c.doc_no == deliveries.c.doc_no)
            .where(
                deliveries.c.integration_no == integration_no,
                _READY,
                deliveries.c.doc_no >= doc_no,
                or_(deliveries.c.doc_no > doc_no, deliveries.c.effect > effect),
            )
            .order_by(deliveries.c.doc_no, deliveries.c.effect)
            .limit(limit)
        )
    ).all()


async def undone_effects(
    connection: AsyncConnection,
    integration_no: int,
    doc_ids: Collection[bytes],
    done: Sequence[str] = SETTLED,
) -> dict[bytes, int]:
    """Of each of these documents, how many deliveries in this system are not done; those with none are left out."""
    undone: dict[bytes, int] = {}
    for part in chunks(list(doc_ids), _IN_MAX):
        rows = await connection.execute(
            select(gate.c.doc_id, func.count())
            .join(deliveries, deliveries.c.doc_no == gate.c.doc_no)
            .where(
                gate.c.doc_id.in_(part),
                deliveries.c.integration_no == integration_no,
                deliveries.c.state.not_in(done),
            )
            .group_by(gate.c.doc_id)
        )
        undone.update((bytes(doc_id), count) for doc_id, count in rows)
    return undone


async def undone_needs(
    connection: AsyncConnection, integration_no: int, doc_nos: Collection[int], effects: Collection[str]
) -> set[tuple[int, str]]:
    """Of these effects of these documents, those that are not done."""
    found: set[tuple[int, str]] = set()
    for part in chunks(list(doc_nos), _IN_MAX):
        rows = await connection.execute(
            select(deliveries.c.doc_no, deliveries.c.effect).where(
                deliveries.c.integration_no == integration_no,
                deliveries.c.doc_no.in_(part),
                deliveries.c.effect.in_(effects),
                deliveries.c.state.not_in(SETTLED),
            )
        )
        found.update((doc_no, effect) for doc_no, effect in rows)
    return found


async def create_batch(
    database: Database,
    connection: AsyncConnection,
    integration_no: int,
    batch_id: str,
    members: Sequence[tuple[int, str]],
    now_ms: int,
    lease: str,
    until_ms: int,
) -> int:
    """Store a batch and its members (`doc_no, effect`), leased to its maker; returns its number."""
    batch_no: int = (
        await connection.execute(
            batches.insert()
            .values(
                integration_no=integration_no,
                batch_id=batch_id,
                state="ready",
                count=len(members),
                attempts=0,
                leased_until_ms=until_ms,
                lease=lease,
                not_before_ms=0,
                error=None,
                created_ms=now_ms,
                done_ms=None,
            )
            .returning(batches.c.batch_no)
        )
    ).scalar_one()
    for which in by_effect(database, members):
        await connection.execute(
            update(deliveries)
            .where(deliveries.c.integration_no == integration_no, which)
            .values(state="leased", batch_no=batch_no)
        )
    return batch_no


def by_effect(database: Database, members: Iterable[tuple[int, str]]) -> Iterable[ColumnElement[bool]]:
    """Conditions that together name exactly these deliveries of one integration."""
    effects: dict[str, list[int]] = {}
    for doc_no, effect in members:
        effects.setdefault(effect, []).append(doc_no)
    for effect, doc_nos in effects.items():
        # The bounds let PostgreSQL walk the index, however little it knows of the table.
        near = deliveries.c.doc_no.between(min(doc_nos), max(doc_nos))
        yield and_(deliveries.c.effect == effect, near, one_of(database, deliveries.c.doc_no, doc_nos))


# ---- carrying a batch ----


async def members(connection: AsyncConnection, batch_no: int) -> Sequence[AnyRow]:
    """What is left to send of a batch: `doc_no, effect, header, payload, station, store, record`, oldest first.

    Beside it the group that a delivery is in: `group_no`, null where it is in none, and what `merged_document` asks.
    """
    in_group = and_(
        delivery_group_members.c.integration_no == deliveries.c.integration_no,
        delivery_group_members.c.doc_no == deliveries.c.doc_no,
        delivery_group_members.c.effect == deliveries.c.effect,
    )
    return (
        await connection.execute(
            select(
                deliveries.c.doc_no,
                deliveries.c.effect,
                func.coalesce(repairs.c.header, bodies.c.header).label("header"),
                func.coalesce(repairs.c.payload, bodies.c.payload).label("payload"),
                stations.c.code.label("station"),
                stores.c.code.label("store"),
                delivery_records.c.record,
                delivery_groups.c.integration_no,
                delivery_groups.c.group_no,
                delivery_groups.c.group_key,
                delivery_groups.c.correction,
                delivery_groups.c.size,
                delivery_groups.c.leader,
                delivery_groups.c.sent,
            )
            .join(bodies, bodies.c.doc_no == deliveries.c.doc_no)
            .join(stations, stations.c.station_no == bodies.c.station_no)
            .join(stores, stores.c.store_no == stations.c.store_no)
            .outerjoin(repairs, repairs.c.doc_no == deliveries.c.doc_no)
            .outerjoin(
                delivery_records,
                and_(
                    delivery_records.c.integration_no == deliveries.c.integration_no,
                    delivery_records.c.doc_no == deliveries.c.doc_no,
                    delivery_records.c.effect == deliveries.c.effect,
                ),
            )
            .outerjoin(delivery_group_members, in_group)
            .outerjoin(delivery_groups, delivery_groups.c.group_no == delivery_group_members.c.group_no)
            .where(deliveries.c.batch_no == batch_no, deliveries.c.state == "leased")
            .order_by(deliveries.c.doc_no, deliveries.c.effect)
        )
    ).all()


async def change_batch(
    connection: AsyncConnection, batch_no: int, held_by: str, values: dict[str, Any]
) -> bool:
    """Set columns of a batch; False if the lease is another's by now, and nothing was changed."""
    result = await connection.execute(
        update(batches).where(batches.c.batch_no == batch_no, batches.c.lease == held_by).values(**values)
    )
    return result.rowcount == 1


async def settle(
    database: Database,
    connection: AsyncConnection,
    batch_no: int,
    state: str,
    which: Collection[tuple[int, str]] | None = None,
) -> None:
    """Put the deliveries of a batch that are under way (only *which* of them, if given) into their last state.

    The documents of a group follow the one that carries it.
    """
    led = await closed_groups.led_by(connection, batch_no)
    open_ones = update(deliveries).where(deliveries.c.batch_no == batch_no, deliveries.c.state == "leased")
    if which is None:
        await connection.execute(open_ones.values(state=state))
    else:
        for condition in by_effect(database, which):
            await connection.execute(open_ones.where(condition).values(state=state))
    for group in led:
        if which is None or (group.leader, group.effect) in which:
            await closed_groups.follow(connection, group, state)


async def park(
    database: Database,
    connection: AsyncConnection,
    integration_no: int,
    batch_no: int | None,
    batch_id: str,
    which: Collection[tuple[int, str]],
    reason: str,
    now_ms: int,
) -> None:
    """Move refused deliveries out of their batch into a parked one of their own, which bears the reason.

    Args:
        batch_no: None where they have no batch yet: they still gather.
    """
    parked_no = await add_parked_batch(connection, integration_no, batch_id, len(which), reason, now_ms)
    own = and_(deliveries.c.batch_no == batch_no, deliveries.c.state == "leased")
    if batch_no is None:
        own = and_(deliveries.c.integration_no == integration_no, deliveries.c.state == "gathering")
    for condition in by_effect(database, which):
        if batch_no is not None:
            await remember_batch(connection, and_(deliveries.c.batch_no == batch_no, condition))
        await connection.execute(
            update(deliveries).where(own, condition).values(state="parked", batch_no=parked_no)
        )


async def add_parked_batch(
    connection: AsyncConnection, integration_no: int, batch_id: str, count: int, reason: str, now_ms: int
) -> int:
    """A batch of deliveries that a person has to look at; returns its number."""
    result = await connection.execute(
        batches.insert()
        .values(
            integration_no=integration_no,
            batch_id=batch_id,
            state="parked",
            count=count,
            attempts=0,
            leased_until_ms=0,
            lease=None,
            not_before_ms=0,
            error=reason,
            created_ms=now_ms,
            done_ms=None,
        )
        .returning(batches.c.batch_no)
    )
    return int(result.scalar_one())


async def remember_batch(connection: AsyncConnection, which: ColumnElement[bool]) -> None:
    """Before deliveries leave their batch: what was tried with it stays in their history."""
    column = deliveries.c
    own = select(column.integration_no, column.doc_no, column.effect, column.batch_no).where(which)
    await connection.execute(
        earlier_batches.insert().from_select(["integration_no", "doc_no", "effect", "batch_no"], own)
    )


async def unknown_batches(connection: AsyncConnection, batch_ids: Collection[str]) -> set[str]:
    """Those of *batch_ids* that are not in the database."""
    unknown = set(batch_ids)
    for part in chunks(list(batch_ids), _IN_MAX):
        rows = await connection.execute(select(batches.c.batch_id).where(batches.c.batch_id.in_(part)))
        unknown.difference_update(row.batch_id for row in rows)
    return unknown


# ---- the sweep ----


async def newest_document(connection: AsyncConnection) -> int:
    """The highest doc_no stored, 0 if there is none."""
    return int((await connection.execute(select(func.coalesce(func.max(bodies.c.doc_no), 0)))).scalar_one())


async def missing(
    connection: AsyncConnection,
    integration_no: int,
    effect: str,
    kinds: Collection[str],
    from_ms: int,
    after_doc_no: int,
    limit: int,
) -> list[int]:
    """doc_no of applied documents, received since *from_ms*, that have no delivery of this effect; in order."""
    rows = await connection.execute(
        select(bodies.c.doc_no)
        .join(
            documents,
            and_(documents.c.station_no == bodies.c.station_no, documents.c.doc_no == bodies.c.doc_no),
        )
        .outerjoin(
            deliveries,
            and_(
                deliveries.c.integration_no == integration_no,
                deliveries.c.doc_no == bodies.c.doc_no,
                deliveries.c.effect == effect,
            ),
        )
        .where(
            bodies.c.doc_no > after_doc_no,
            bodies.c.received_ms >= from_ms,
            documents.c.kind.in_(kinds),
            deliveries.c.doc_no.is_(None),
        )
        .order_by(bodies.c.doc_no)
        .limit(limit)
    )
    return list(rows.scalars())


async def add(
    connection: AsyncConnection,
    database: Database,
    integration_no: int,
    effect: str,
    state: str,
    doc_nos: Sequence[int],
) -> None:
    """Insert deliveries that may have come in the meantime."""
    statement = database.insert(deliveries).on_conflict_do_nothing()
    await connection.execute(
        statement,
        [
            {
                "integration_no": integration_no,
                "doc_no": doc_no,
                "effect": effect,
                "state": state,
                "batch_no": None,
            }
            for doc_no in doc_nos
        ],
    )
