"""SQL of deciding held documents. Every function works inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from central.db.database import AnyRow
from central.db.tables.journal import bodies, damaged_hashes, discarded, gate, held, pending, repairs
from central.db.tables.registry import stations


@dataclass(frozen=True, slots=True)
class Choice:
    """Held documents by number, or all that are held for one cause (of one station, if given)."""

    doc_nos: Sequence[int] | None = None
    why: str | None = None
    station: str | None = None


async def held_rows(connection: AsyncConnection, choice: Choice, after: int, limit: int) -> Sequence[AnyRow]:
    """Held documents after a number with their bytes and recorded hashes, locked, in the order of their numbers."""
    statement = (
        select(
            held.c.doc_no,
            held.c.station_no,
            held.c.why,
            stations.c.code.label("station"),
            bodies.c.header,
            bodies.c.payload,
            damaged_hashes.c.header_hash,
            damaged_hashes.c.payload_hash,
        )
        .join(bodies, bodies.c.doc_no == held.c.doc_no)
        .join(stations, stations.c.station_no == held.c.station_no)
        .outerjoin(damaged_hashes, damaged_hashes.c.doc_no == held.c.doc_no)
        .where(held.c.doc_no > after)
    )
    if choice.doc_nos is not None:
        statement = statement.where(held.c.doc_no.in_(choice.doc_nos))
    if choice.why is not None:
        statement = statement.where(held.c.why == choice.why)
    if choice.station is not None:
        statement = statement.where(stations.c.code == choice.station)
    statement = statement.order_by(held.c.doc_no).limit(limit).with_for_update(of=held)
    return (await connection.execute(statement)).all()


async def at_gate(connection: AsyncConnection, doc_ids: Collection[bytes]) -> dict[bytes, AnyRow]:
    """The documents that hold these doc_ids."""
    rows = await connection.execute(select(gate).where(gate.c.doc_id.in_(sorted(doc_ids))))
    return {bytes(row.doc_id): row for row in rows}


async def discard(
    connection: AsyncConnection, chosen: Sequence[AnyRow], reason: str, by: str, at_ms: int
) -> None:
    """Mark held documents as decided: they have no effect, and stay."""
    if not chosen:
        return
    values = [
        {"doc_no": row.doc_no, "why": row.why, "reason": reason, "by": by, "at_ms": at_ms} for row in chosen
    ]
    await connection.execute(discarded.insert(), values)
    await _no_longer_held(connection, [row.doc_no for row in chosen])


@dataclass(frozen=True, slots=True)
class Accepted:
    """A held document as it is applied: its place at the gate, and what is read in place of the sealed bytes."""

    doc_no: int
    station_no: int
    doc_id: bytes
    payload_hash: bytes
    header: bytes | None
    payload: bytes | None


async def accept(connection: AsyncConnection, chosen: Sequence[Accepted], by: str, at_ms: int) -> None:
    """Put held documents through the gate and among the pending."""
    if not chosen:
        return
    places = [
        {
            "doc_id": one.doc_id,
            "doc_no": one.doc_no,
            "station_no": one.station_no,
            "payload_hash": one.payload_hash,
        }
        for one in chosen
    ]
    changed = [
        {"doc_no": one.doc_no, "header": one.header, "payload": one.payload, "by": by, "at_ms": at_ms}
        for one in chosen
        if one.header is not None or one.payload is not None
    ]
    await connection.execute(gate.insert(), places)
    if changed:
        await connection.execute(repairs.insert(), changed)
    await connection.execute(pending.insert(), [{"doc_no": one.doc_no} for one in chosen])
    await _no_longer_held(connection, [one.doc_no for one in chosen])


async def _no_longer_held(connection: AsyncConnection, doc_nos: Sequence[int]) -> None:
    await connection.execute(delete(held).where(held.c.doc_no.in_(doc_nos)))
