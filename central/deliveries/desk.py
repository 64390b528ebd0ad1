"""What people do about deliveries that cannot go: see them by root cause, correct many at once, send them together.

A record that is corrected goes out as it was corrected; one that is not is made anew, by the definition and the codes
as they are now. What the till sealed is never changed here. Rule: a delivery leaves `parked` in the same transaction
that stores its correction and the line of the audit trail.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from central.audit import Note, unnoted
from central.db import attempts, closed_groups, delivery_desk, group_desk
from central.db import delivery_records as kept
from central.db.database import AnyRow, Database
from central.db.delivery_desk import Chosen
from central.deliveries.outlook import WINDOW_MS, Outlook, outlook
from central.intake.parked import parse_path, put
from central.integrations.integration import Integration
from central.integrations.registry import Integrations
from central.integrations.ways import read_back, written_down
from central.mapping.lookups import LookUp, unknown
from shared.errors import BadInput, NotFound

CHUNK = 500
TOLD_MAX = 500


@dataclass(frozen=True, slots=True)
class Group:
    """Deliveries that cannot go for one reason. `waits_for` is set where they go by themselves once it is known."""

    integration: str
    reason: str
    deliveries: int
    stations: int | None
    since_ms: int
    example: int
    waits_for: LookUp | None = None


@dataclass(frozen=True, slots=True)
class Correction:
    """What is done to each record before it is sent again; nothing of both: it is made anew."""

    values: Mapping[str, Any] | None = None
    record: Mapping[str, Any] | None = None


class History(NamedTuple):
    """Of one document: attempts at its deliveries and at its groups, what it became, and the groups it is in."""

    tried: Sequence[AnyRow]
    written: Sequence[AnyRow]
    groups: Sequence[AnyRow]


class Desk:
    """Acts of HQ on deliveries."""

    def __init__(self, database: Database, integrations: Integrations) -> None:
        self._database = database
        self._integrations = integrations

    async def groups(self) -> list[Group]:
        """Parked deliveries and those that wait for a code, by their root cause, the largest group first."""
        names = {one.integration_no: one.name for one in await self._integrations.list()}
        async with self._database.read() as connection:
            parked = await delivery_desk.parked_groups(connection)
            waiting = await kept.waiting_groups(connection)
        found = [
            Group(
                names[row.integration_no],
                row.reason or "",
                row.deliveries,
                row.stations,
                row.since_ms,
                row.example,
            )
            for row in parked
            if row.integration_no in names
        ]
        for row in waiting:
            if row.integration_no in names:
                asked = LookUp(row.kind, row.system, row.code, row.outlet)
                name = names[row.integration_no]
                found.append(
                    Group(name, unknown(asked), row.deliveries, None, row.since_ms, row.example, asked)
                )
        return sorted(found, key=lambda group: -group.deliveries)

    async def parked(
        self, name: str, reason: str | None, after: tuple[int, str], limit: int
    ) -> Sequence[AnyRow]:
        """Parked deliveries one by one."""
        one = await self._integrations.get(name)
        async with self._database.read() as connection:
            chosen = Chosen(one.integration_no, reason)
            return await delivery_desk.parked_rows(connection, chosen, after, limit)

    async def send_again(
        self,
        name: str,
        *,
        reason: str | None = None,
        doc_nos: Sequence[int] | None = None,
        correction: Correction | None = None,
        who: str,
        audited: Note = unnoted,
    ) -> int:
        """Send parked deliveries again, corrected if need be; returns how many.

        Raises:
            BadInput: a path cannot be read, or a correction meets deliveries that it does not fit; nothing is done.
        """
        correction = correction or Correction()
        for path in correction.values or {}:
            parse_path(path)
        one = await self._integrations.get(name)

        async def work(connection: AsyncConnection) -> int:
            now_ms = await self._database.now_ms(connection)
            # A document in a group goes with the one that carries it.
            leaders = await closed_groups.leaders_of(connection, one.integration_no, doc_nos or ())
            chosen = Chosen(one.integration_no, reason, doc_nos and [*doc_nos, *leaders])
            count, after, has_effect = 0, (-1, ""), False
            while True:
                found = await delivery_desk.parked_rows(connection, chosen, after, CHUNK)
                if not found:
                    break
                count, after = count + len(found), (found[-1].doc_no, found[-1].effect)
                if correction.record is not None and count > 1:
                    raise BadInput(
                        "a whole record replaces that of one delivery, and more were chosen",
                        hint="name the document, or correct what they share by paths",
                    )
                has_effect |= await self._correct(connection, one, found, correction, who, now_ms)
                await delivery_desk.send_again(
                    self._database,
                    connection,
                    one.integration_no,
                    found,
                    _told(correction, who),
                    now_ms,
                )
            if count and not has_effect:
                raise BadInput(
                    f"{', '.join(correction.values or ['the record'])}: nothing there would be another, in none of "
                    f"{count} records",
                    hint="`deliveries list NAME --json` shows the records and how their fields are called",
                )
            await audited(connection, deliveries=count)
            return count

        count = await self._database.run(work)
        self._integrations.changed()
        return count

    async def _correct(
        self,
        connection: AsyncConnection,
        one: Integration,
        found: Sequence[AnyRow],
        correction: Correction,
        who: str,
        now_ms: int,
    ) -> bool:
        """Store the records as they shall be sent; returns whether any of them is another now, or is made anew."""
        members = [(row.doc_no, row.effect) for row in found]
        if correction.record is None and not correction.values:
            await kept.forget(self._database, connection, one.integration_no, members)
            return True
        made = {member: corrected(row.record, correction) for member, row in zip(members, found, strict=True)}
        await kept.put(self._database, connection, one.integration_no, one.version, made, now_ms, who)
        return any(
            row.record is None or made[member] != written_down(read_back(row.record))
            for member, row in zip(members, found, strict=True)
        )

    async def outlook(self, name: str) -> Outlook:
        """When the integration's backlog is through at the present rate."""
        one = await self._integrations.get(name)
        async with self._database.read() as connection:
            now_ms = await self._database.now_ms(connection)
            counts = (await delivery_desk.status(connection)).get(one.integration_no, {})
            done, first_ms = await attempts.rate(connection, one.integration_no, now_ms - WINDOW_MS)
            gathering = (await group_desk.waiting_counts(connection)).get(one.integration_no, 0)
        left = counts.get("ready", 0) + counts.get("leased", 0)
        return outlook(now_ms, left, done, first_ms, one.paused_until_ms, gathering)

    async def history(self, doc_nos: Sequence[int]) -> History:
        """What was tried with a document's deliveries, and what other systems call what it became."""
        if not doc_nos:
            raise NotFound("there is no such document")
        async with self._database.read() as connection:
            groups = await group_desk.of_documents(connection, doc_nos)
            tried = list(await attempts.of_document(connection, doc_nos))
            for group in groups:
                if group.leader is not None and group.leader not in doc_nos:
                    own = group.integration_no, group.effect
                    found = await attempts.of_document(connection, [group.leader])
                    tried += [row for row in found if (row.integration_no, row.effect) == own]
            tried.sort(key=lambda row: row.attempt_no)
            return History(tried, await attempts.written_of(connection, None, doc_nos), groups)


def corrected(record: str | None, correction: Correction) -> str:
    """The record as it shall be sent.

    Raises:
        BadInput: there is none that paths could be put into, or it has several parts.
    """
    before = read_back(record) if record is not None else []
    if correction.record is not None:
        if len(before) > 1:
            raise BadInput(f"the delivery has {len(before)} records", hint="correct them by paths")
        return written_down([dict(correction.record)])
    if not before:
        raise BadInput(
            "a delivery that was never mapped has no record that could be corrected",
            hint="give the whole record, or correct the document, the mapping or the code and send it again",
        )
    for each in before:
        for path, value in (correction.values or {}).items():
            put(each, parse_path(path), value, everywhere=True)
    return written_down(before)


def _told(correction: Correction, who: str) -> str:
    if correction.record is not None:
        return f"sent again by {who} with another record"
    if correction.values:
        changes = ", ".join(f"{path} = {value!r}" for path, value in correction.values.items())
        return f"sent again by {who} with {changes}"[:TOLD_MAX]
    return f"sent again by {who}"
