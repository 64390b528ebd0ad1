"""The rows of pulls: where each stands, what its runs did, what every record became, and what a run changed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from sqlalchemy import and_, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from central.db import catalog
from central.db.catalog import ScopeState
from central.db.database import AnyRow, Database, chunks
from central.db.tables.integrations import created_records, pull_changes, pull_records, pull_runs, pull_states
from shared.catalog.changes import RowChange

RUNS_KEPT = 200
"""Of one pull."""
CHANGES_KEPT = 20
"""Runs of one pull that can be undone."""
ROWS = 2_000

# ---- where a pull stands ----


async def states(connection: AsyncConnection, integration_no: int) -> dict[str, AnyRow]:
    """pull -> its row, of those that ever ran or were asked for."""
    statement = select(pull_states).where(pull_states.c.integration_no == integration_no)
    return {row.pull: row for row in await connection.execute(statement)}


async def put_state(
    database: Database, connection: AsyncConnection, integration_no: int, pull: str, **values: Any
) -> None:
    """Set columns of a pull's row, which may not be there yet."""
    fresh = {
        "shape": b"",
        "run_ms": 0,
        "full_ms": 0,
        "asked_ms": 0,
        "asked_full": False,
        "failures": 0,
        "not_before_ms": 0,
    }
    statement = database.insert(pull_states).values(
        integration_no=integration_no, pull=pull, **(fresh | values)
    )
    await connection.execute(
        statement.on_conflict_do_update(index_elements=["integration_no", "pull"], set_=values)
    )


# ---- runs ----


async def begin_run(connection: AsyncConnection, **values: Any) -> int:
    """Note a run that begins; an earlier one of the same pull that never ended was stopped by a death."""
    same = and_(pull_runs.c.integration_no == values["integration_no"], pull_runs.c.pull == values["pull"])
    await connection.execute(
        update(pull_runs)
        .where(same, pull_runs.c.ended_ms.is_(None))
        .values(ended_ms=values["started_ms"], result="stopped")
    )
    run_no = int(
        (
            await connection.execute(insert(pull_runs).values(**values).returning(pull_runs.c.run_no))
        ).scalar_one()
    )
    runs = select(pull_runs.c.run_no).where(same).order_by(pull_runs.c.run_no.desc())
    old_changes = (await connection.execute(runs.offset(CHANGES_KEPT).limit(1))).scalar_one_or_none()
    if old_changes is not None:
        mine = select(pull_runs.c.run_no).where(same, pull_runs.c.run_no <= old_changes)
        await connection.execute(delete(pull_changes).where(pull_changes.c.run_no.in_(mine)))
    old_runs = (await connection.execute(runs.offset(RUNS_KEPT).limit(1))).scalar_one_or_none()
    if old_runs is not None:
        await connection.execute(delete(pull_runs).where(same, pull_runs.c.run_no <= old_runs))
    return run_no


async def end_run(
    connection: AsyncConnection, run_no: int, ended_ms: int, result: str, report: Mapping[str, Any]
) -> None:
    await connection.execute(
        update(pull_runs)
        .where(pull_runs.c.run_no == run_no)
        .values(ended_ms=ended_ms, result=result, report=orjson.dumps(report, default=str).decode())
    )


async def list_runs(
    connection: AsyncConnection, integration_no: int, pull: str | None, limit: int
) -> Sequence[AnyRow]:
    """The newest runs first."""
    statement = select(pull_runs).where(pull_runs.c.integration_no == integration_no)
    if pull is not None:
        statement = statement.where(pull_runs.c.pull == pull)
    return (await connection.execute(statement.order_by(pull_runs.c.run_no.desc()).limit(limit))).all()


async def find_run(connection: AsyncConnection, run_no: int) -> AnyRow | None:
    return (await connection.execute(select(pull_runs).where(pull_runs.c.run_no == run_no))).first()


# ---- records ----


class Became(NamedTuple):
    """What a record became: it need not be looked at again while its hash and the row's version are the same."""

    id: str
    hash: bytes
    scope: str
    key: str
    version: bytes


async def records(
    database: Database, connection: AsyncConnection, integration_no: int, pull: str, ids: Sequence[str]
) -> dict[str, Became]:
    """id -> what it became."""
    column = pull_records.c
    statement = select(column.id, column.hash, column.scope, column.key, column.version).where(
        column.integration_no == integration_no, column.pull == pull
    )
    found: dict[str, Became] = {}
    for part in chunks(ids, ROWS):
        rows = await connection.execute(statement.where(catalog.one_of(database, column.id, part)))
        found |= {row[0]: Became(*row) for row in rows}
    return found


async def put_records(
    database: Database, connection: AsyncConnection, integration_no: int, pull: str, rows: Sequence[Became]
) -> None:
    for part in chunks(sorted(rows), 100):
        statement = database.insert(pull_records).values(
            [{"integration_no": integration_no, "pull": pull, **row._asdict()} for row in part]
        )
        changed = {name: statement.excluded[name] for name in ("hash", "scope", "key", "version")}
        await connection.execute(
            statement.on_conflict_do_update(index_elements=["integration_no", "pull", "id"], set_=changed)
        )


async def forget_records(
    database: Database, connection: AsyncConnection, integration_no: int, pull: str, ids: Collection[str]
) -> None:
    column = pull_records.c
    for part in chunks(sorted(ids), ROWS):
        await connection.execute(
            delete(pull_records).where(
                column.integration_no == integration_no,
                column.pull == pull,
                catalog.one_of(database, column.id, part),
            )
        )


async def record_ids(connection: AsyncConnection, integration_no: int, pull: str) -> set[str]:
    column = pull_records.c
    statement = select(column.id).where(column.integration_no == integration_no, column.pull == pull)
    return set((await connection.execute(statement)).scalars())


# ---- what a run changed ----


async def note_changes(
    database: Database,
    connection: AsyncConnection,
    run_no: int,
    state: ScopeState,
    changes: Sequence[RowChange],
) -> None:
    """Keep what stood there before; of several changes of one row, what stood there before the first."""
    keys: dict[str, list[str]] = {}
    for change in changes:
        keys.setdefault(change.entity, []).append(change.key)
    before: dict[tuple[str, str], bytes] = {}
    for entity, wanted in keys.items():
        live = await catalog.live_payloads(database, connection, state.scope_no, entity, wanted)
        before |= {(entity, key): payload for key, payload in live.items()}
    for part in chunks(changes, 100):
        statement = database.insert(pull_changes).values(
            [
                {
                    "run_no": run_no,
                    "scope": state.scope,
                    "entity": change.entity,
                    "key": change.key,
                    "before": before.get((change.entity, change.key)),
                    "after": change.version,
                }
                for change in part
            ]
        )
        await connection.execute(
            statement.on_conflict_do_update(
                index_elements=["run_no", "scope", "entity", "key"],
                set_={"after": statement.excluded.after},
            )
        )


async def changes_of(connection: AsyncConnection, run_no: int) -> Sequence[AnyRow]:
    statement = select(pull_changes).where(pull_changes.c.run_no == run_no)
    return (await connection.execute(statement.order_by(pull_changes.c.scope, pull_changes.c.key))).all()


async def forget_changes(connection: AsyncConnection, run_no: int) -> None:
    await connection.execute(delete(pull_changes).where(pull_changes.c.run_no == run_no))


# ---- what was created in the other system ----


async def note_created(
    database: Database,
    connection: AsyncConnection,
    integration_no: int,
    target: str,
    ids: Sequence[str],
    why: str,
    at_ms: int,
) -> None:
    """Remember records that we made over there, so that they can be taken back."""
    for made in ids:
        statement = database.insert(created_records).values(
            integration_no=integration_no, target=target, id=made, why=why, at_ms=at_ms
        )
        await connection.execute(statement.on_conflict_do_nothing())


async def created(connection: AsyncConnection, integration_no: int, since_ms: int) -> Sequence[AnyRow]:
    """What we made there from a moment on and did not take back, newest first."""
    column = created_records.c
    statement = select(created_records).where(
        column.integration_no == integration_no, column.at_ms >= since_ms, column.undone_ms.is_(None)
    )
    return (await connection.execute(statement.order_by(column.at_ms.desc(), column.id.desc()))).all()


async def note_undone(
    connection: AsyncConnection,
    integration_no: int,
    target: str,
    made: str,
    at_ms: int | None,
    refusal: str | None,
) -> None:
    column = created_records.c
    await connection.execute(
        update(created_records)
        .where(column.integration_no == integration_no, column.target == target, column.id == made)
        .values(undone_ms=at_ms, refusal=refusal)
    )
