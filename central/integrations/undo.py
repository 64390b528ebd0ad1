"""Take back what a run did here, and what was made over there, as far as either permits (B11).

A row goes back to what stood there before the run, unless somebody has changed it since: that one is told and left.
The integration is switched off first, or its next run would do the same again; its next run is a full one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from central.audit import Note, unnoted
from central.connectors.base import Connector
from central.db import catalog, parties
from central.db import pulls as rows
from central.db.database import AnyRow, Database, chunks
from central.integrations.integration import Integration
from central.integrations.registry import Integrations
from central.integrations.taking import PublishPort
from shared.catalog.changes import Change
from shared.errors import BadInput, NotFound

LISTED = 1_000
IDS_AT_ONCE = 100


async def undo_run(
    database: Database,
    publisher: PublishPort,
    integrations: Integrations,
    name: str,
    run_no: int,
    *,
    audited: Note = unnoted,
) -> dict[str, Any]:
    """Bring the catalog's rows back to what they were before a run; returns what was done.

    Raises:
        NotFound: the integration has no such run, or its changes are not kept any more.
    """
    one = await integrations.get(name)
    async with database.read() as connection:
        run = await rows.find_run(connection, run_no)
        changes = await rows.changes_of(connection, run_no)
    if run is None or run.integration_no != one.integration_no:
        raise NotFound(
            f'integration "{name}" has no run {run_no}', hint=f"`integrations runs {name}` lists them"
        )
    if not changes:
        raise BadInput(f"run {run_no} changed nothing that could be taken back, or it is too long ago")
    await integrations.disable(name, audited=audited)
    back, left = await _still_ours(database, changes)
    undo_no = await _begin(database, one, run)

    async def note(connection: AsyncConnection, state: Any, changed: Any) -> None:
        await rows.note_changes(database, connection, undo_no, state, changed)

    by_scope: dict[str, list[Change]] = {}
    for row in back:
        by_scope.setdefault(row.scope, []).append(Change(row.entity, row.key, row.before))
    results = await publisher.publish(by_scope, note=note) if by_scope else {}
    report = {
        "run": run_no,
        "undone": sum(result.written for result in results.values()),
        "left": len(left),
        "listed": [f"{row.scope} {row.entity} {row.key}" for row in left[:LISTED]],
    }

    async def end(connection: AsyncConnection) -> None:
        now_ms = await database.now_ms(connection)
        await rows.end_run(connection, undo_no, now_ms, "taken", report)
        await rows.put_state(
            database, connection, one.integration_no, run.pull, cursor=None, full_ms=0, shape=b""
        )

    await database.run(end)
    return report


async def _still_ours(database: Database, changes: Sequence[AnyRow]) -> tuple[list[AnyRow], list[AnyRow]]:
    """The rows that are still as the run left them, and those that somebody has changed since."""
    placed: dict[tuple[str, str], list[AnyRow]] = {}
    for row in changes:
        placed.setdefault((row.scope, row.entity), []).append(row)
    back: list[AnyRow] = []
    left: list[AnyRow] = []
    async with database.read() as connection:
        for (scope, entity), listed in placed.items():
            state = await catalog.find_scope(connection, scope)
            assert state is not None
            keys = [row.key for row in listed]
            live = await catalog.live_versions(database, connection, state.scope_no, entity, keys)
            for row in listed:
                (back if live.get(row.key) == row.after else left).append(row)
    return back, left


async def _begin(database: Database, one: Integration, run: AnyRow) -> int:
    async def work(connection: AsyncConnection) -> int:
        return await rows.begin_run(
            connection,
            integration_no=one.integration_no,
            pull=run.pull,
            version=one.version,
            why="undo",
            is_full=False,
            node="",
            started_ms=await database.now_ms(connection),
        )

    return await database.run(work)


async def undo_created(
    database: Database, one: Integration, connector: Connector, since_ms: int
) -> dict[str, Any]:
    """Take back the records that were made over there from a moment on, the newest first; returns what was done."""
    async with database.read() as connection:
        made = await rows.created(connection, one.integration_no, since_ms)
    by_target: dict[str, list[str]] = {}
    for row in made:
        by_target.setdefault(row.target, []).append(row.id)
    refused: list[dict[str, str]] = []
    for target, ids in by_target.items():
        declared = connector.targets.get(target)
        for part in chunks(ids, IDS_AT_ONCE):
            if declared is None or not declared.undo:
                reasons = dict.fromkeys(part, "the system takes nothing of this kind back")
            else:
                rejected = await connector.undo(target, part)
                reasons = {each: rejection.reason for each, rejection in rejected.items()}
            await _note(database, one, target, part, reasons)
            refused += [{"target": target, "id": each, "why": why} for each, why in reasons.items()]
    return {"undone": len(made) - len(refused), "left": len(refused), "refused": refused[:LISTED]}


async def _note(
    database: Database, one: Integration, target: str, ids: Sequence[str], reasons: dict[str, str]
) -> None:
    async def work(connection: AsyncConnection) -> None:
        now_ms = await database.now_ms(connection)
        for each in ids:
            why = reasons.get(each)
            await rows.note_undone(connection, one.integration_no, target, each, None if why else now_ms, why)
        taken_back = [each for each in ids if each not in reasons]
        kinds = {match.kind for match in one.definition.match if match.target == target} | {"party"}
        await parties.forget(connection, one.name, target, kinds, taken_back)

    await database.run(work)
