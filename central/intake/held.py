"""HQ decides what becomes of held documents: conflicts and damaged ones, many at once.

`discard`: it has no effect, and is kept. `apply`: it becomes a document of its own. Effects are keyed by doc_id, so
one whose doc_id another document holds gets a new one, drawn from its sealed content: after a restore of the centre
the same decision leads to the same delivery key. What the till sealed is never changed, nothing is deleted.

Rule: a decision, its place at the gate and its line in the audit trail are one transaction.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from central import audit
from central.db import held as rows
from central.db.database import AnyRow, Database
from central.db.failures import came_second
from central.db.held import Accepted, Choice
from central.intake.apply import header_of
from shared.canonical import canonical, sha256
from shared.errors import BadInput
from shared.ids import parse_doc_id, uuid7

CHUNK = 500
"""Documents decided in one transaction."""
_NEW_ID = b"counterflow held document"


@dataclass(frozen=True, slots=True)
class Content:
    """What is read in place of sealed bytes that are damaged; of one document."""

    header: Mapping[str, Any] | None = None
    payload: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """A document that stays held, and why."""

    doc_no: int
    why: str


@dataclass(frozen=True, slots=True)
class Decided:
    """How a decision went, document by document."""

    applied: tuple[int, ...] = ()
    discarded: tuple[int, ...] = ()
    refused: tuple[Refused, ...] = ()

    def plus(self, other: Decided) -> Decided:
        return Decided(
            self.applied + other.applied, self.discarded + other.discarded, self.refused + other.refused
        )


def new_doc_id(row: AnyRow) -> bytes:
    """The doc_id of a held document that cannot have its own: same station, bytes and time, same id."""
    hashes = _hashes(row)
    drawn = sha256(b"\0".join((_NEW_ID, row.station.encode(), *hashes)))
    sealed_at = int.from_bytes((_doc_id(header_of(row.header)) or bytes(16))[:6], "big")
    return uuid7(sealed_at, drawn[:10]).bytes


def judge(row: AnyRow, at_gate: Mapping[bytes, Any], content: Content) -> Accepted | Refused:
    """How a held document is applied, or why it cannot be. Pure.

    Args:
        at_gate: who holds the doc_ids that it may have.
    """
    header_hash, payload_hash = _hashes(row)
    header = bytes(row.header) if content.header is None else canonical(dict(content.header))
    header_is_whole = sha256(header) == header_hash
    if content.header is None and not header_is_whole:
        return Refused(row.doc_no, "its header is damaged: give the right one with --header")
    if content.payload is None and sha256(row.payload) != payload_hash:
        return Refused(row.doc_no, "its payload is damaged: give the right one with --payload")
    # A damaged header may name any doc_id; only one that is whole has a claim to its own.
    own, drawn = _doc_id(header_of(header)) if header_is_whole else None, new_doc_id(row)
    holder = at_gate.get(own) if own else None
    if holder is not None and bytes(holder.payload_hash) == payload_hash:
        return Refused(row.doc_no, f"the same document is here already, as {holder.doc_no}: discard this one")
    doc_id = own if own and holder is None else drawn
    if doc_id in at_gate:
        return Refused(
            row.doc_no, f"the same content was applied before, as {at_gate[doc_id].doc_no}: discard this one"
        )
    if doc_id != own:
        header = canonical({**header_of(header), "doc_id": str(uuid.UUID(bytes=doc_id))})
    return Accepted(
        row.doc_no,
        row.station_no,
        doc_id,
        payload_hash,
        header if header != row.header else None,
        canonical(dict(content.payload)) if content.payload is not None else None,
    )


class HeldDocuments:
    """Decisions, as HQ takes them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def discard(self, choice: Choice, *, reason: str, who: str) -> Decided:
        """Let held documents have no effect, for ever."""

        async def work(connection: AsyncConnection, found: Sequence[AnyRow]) -> Decided:
            chosen, refused = _decidable(found)
            at_ms = await self._database.now_ms(connection)
            await rows.discard(connection, chosen, reason, who, at_ms)
            return Decided(discarded=tuple(row.doc_no for row in chosen), refused=refused)

        return await self._decide(choice, work, "held.discard", reason, who)

    async def apply(
        self, choice: Choice, *, reason: str, who: str, content: Content | None = None
    ) -> Decided:
        """Make held documents such of their own; they are applied next."""
        content = content or Content()

        async def work(connection: AsyncConnection, found: Sequence[AnyRow]) -> Decided:
            chosen, refused = _decidable(found)
            headers = [content.header or {}, *(header_of(row.header) for row in chosen)]
            ids = [_doc_id(header) for header in headers] + [new_doc_id(row) for row in chosen]
            gate: dict[bytes, Any] = await rows.at_gate(connection, {doc_id for doc_id in ids if doc_id})
            accepted: list[Accepted] = []
            for row in chosen:
                verdict = judge(row, gate, content)
                if isinstance(verdict, Refused):
                    refused += (verdict,)
                else:
                    accepted.append(verdict)
                    gate[verdict.doc_id] = verdict
            await rows.accept(connection, accepted, who, await self._database.now_ms(connection))
            return Decided(applied=tuple(one.doc_no for one in accepted), refused=refused)

        return await self._decide(choice, work, "held.apply", reason, who)

    async def _decide(self, choice: Choice, work: Any, what: str, reason: str, who: str) -> Decided:
        total, after = Decided(), 0
        while True:

            async def chunk(connection: AsyncConnection, after: int = after) -> tuple[int, Decided]:
                found = await rows.held_rows(connection, choice, after, CHUNK)
                if not found:
                    return 0, Decided()
                done: Decided = await work(connection, found)
                if done.applied or done.discarded:
                    detail = {"doc_nos": [*done.applied, *done.discarded], "reason": reason}
                    await audit.record(connection, await self._database.now_ms(connection), who, what, detail)
                return found[-1].doc_no, done

            # An intact copy may pass the gate on another node meanwhile: who looks again finds it.
            after, done = await self._database.run(chunk, retry=came_second)
            if after == 0:
                return total
            total = total.plus(done)


def _decidable(found: Sequence[AnyRow]) -> tuple[list[AnyRow], tuple[Refused, ...]]:
    """What may be decided one by one; a quarantine and a retired key are decided for the whole station."""
    chosen = [row for row in found if row.why in ("conflict", "damaged")]
    refused = tuple(
        Refused(row.doc_no, f"{row.why}: `stations release {row.station}` decides for all of the station")
        for row in found
        if row.why not in ("conflict", "damaged")
    )
    return chosen, refused


def _hashes(row: AnyRow) -> tuple[bytes, bytes]:
    """The hashes that the till sealed."""
    if row.header_hash is not None and row.payload_hash is not None:
        return bytes(row.header_hash), bytes(row.payload_hash)
    return sha256(row.header), sha256(row.payload)


def _doc_id(header: Mapping[str, Any]) -> bytes | None:
    try:
        return parse_doc_id(header["doc_id"]).bytes
    except (KeyError, BadInput):
        return None
