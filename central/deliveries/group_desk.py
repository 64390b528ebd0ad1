"""What people see of groups of documents, and what they decide about one.

Rule: nobody takes a document out of a group, or puts one into a closed group. A person closes one that waits too long
(what comes later makes a correction), and says whether a group that the other system has already is this one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from central.audit import Note, unnoted
from central.db import closed_groups, delivery_desk, group_desk
from central.db import groups as table
from central.db.database import AnyRow, Database
from central.db.delivery_desk import Chosen
from central.deliveries import group_plan
from central.integrations.registry import Integrations
from shared.clock import rfc3339
from shared.errors import Conflict, NotFound

EFFECTS_MAX = 100


@dataclass(frozen=True, slots=True)
class GroupState:
    """One group. `state` is open, done, or that of the delivery which carries it; `waits_for` is for people."""

    group_no: int
    integration: str
    effect: str
    name: str
    group_key: str
    correction: int
    state: str
    documents: int
    since_ms: int
    due_ms: int | None
    closed_ms: int | None
    by: str | None
    waits_for: str


class GroupDesk:
    """Acts of HQ on groups."""

    def __init__(self, database: Database, integrations: Integrations) -> None:
        self._database = database
        self._integrations = integrations

    async def list(
        self, name: str | None, *, open_only: bool, after: int, limit: int
    ) -> Sequence[GroupState]:
        """Groups, oldest first; those that are done only where they are asked for."""
        number = (await self._integrations.get(name)).integration_no if name is not None else None
        names = {one.integration_no: one.name for one in await self._integrations.list()}
        async with self._database.read() as connection:
            found = await group_desk.listed(connection, number, open_only=open_only, after=after, limit=limit)
        return [_state(row, names) for row in found]

    async def documents(self, group_no: int, after: int, limit: int) -> Sequence[AnyRow]:
        """The documents of a group."""
        async with self._database.read() as connection:
            return await group_desk.member_rows(connection, group_no, after, limit)

    async def close(self, group_no: int, *, who: str, audited: Note = unnoted) -> None:
        """Close an open group now.

        Raises:
            NotFound: there is none of this number.
            Conflict: it is closed already.
        """

        async def work(connection: AsyncConnection) -> None:
            group = await self._lock(connection, group_no)
            if group.state != "open":
                raise Conflict(
                    f"group {group_no} is closed already; what comes late makes a correction of it"
                )
            await table.close(connection, group, await self._database.now_ms(connection), who)
            await audited(connection, documents=group.size)

        await self._database.run(work)
        self._integrations.changed()

    async def accept(self, group_no: int, *, who: str, audited: Note = unnoted) -> None:
        """Say that what the other system has under this group's key is this group: it is found there and done.

        Raises:
            NotFound: there is none of this number.
            Conflict: it is not parked.
        """

        async def work(connection: AsyncConnection) -> None:
            group = await self._lock(connection, group_no)
            chosen = Chosen(group.integration_no, None, [group.leader])
            found = await delivery_desk.parked_rows(connection, chosen, (-1, ""), EFFECTS_MAX)
            own = [row for row in found if row.effect == group.effect]
            if not own:
                raise Conflict(
                    f"group {group_no} is not parked",
                    hint="only a group that the other system has already, and that this centre never sent, is accepted",
                )
            now_ms = await self._database.now_ms(connection)
            await closed_groups.mark_sent(connection, [group_no])
            told = f"{who} says that it is this group"
            await delivery_desk.send_again(
                self._database, connection, group.integration_no, own, told, now_ms
            )
            await audited(connection, documents=group.size)

        await self._database.run(work)
        self._integrations.changed()

    async def _lock(self, connection: AsyncConnection, group_no: int) -> AnyRow:
        group = await table.lock(connection, group_no)
        if group is None:
            raise NotFound(f"there is no group {group_no}", hint="`deliveries groups` lists them")
        return group


def _state(row: AnyRow, names: dict[int, str]) -> GroupState:
    return GroupState(
        row.group_no,
        names.get(row.integration_no, ""),
        row.effect,
        group_plan.name_of(row.group_key, row.correction),
        row.group_key,
        row.correction,
        row.told or row.state,
        row.documents,
        row.since_ms,
        row.due_ms,
        row.closed_ms,
        row.by,
        _waits_for(row),
    )


def _waits_for(row: AnyRow) -> str:
    """Why it is not done yet, in words."""
    if row.state == "done":
        return ""
    if row.state == "closed":
        return {"ready": "its turn", "waiting": "a code over there"}.get(row.told, row.error or "")
    if row.due_ms is not None:
        return f"late documents until {rfc3339(row.due_ms)}"
    station, shift, _ = group_plan.shift_of(row.group_key)
    if shift is None:
        return f"somebody to close it: its documents of {station} name no shift"
    return f"the close of shift {shift} of {station}"
