"""The incoming work of a node: every pull when it is due, one run of it at a time on all nodes together (K8).

What is read does not depend on how many stations there are: a pull is read once and published into scopes. A slow
system delays its own pulls only; those of one integration run one after the other, in the order of its definition.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from central.audit import Note, unnoted
from central.connectors.base import TargetDenies
from central.db import leases
from central.db import pulls as rows
from central.db.database import AnyRow
from central.integrations.definition import Pull
from central.integrations.integration import Integration
from central.integrations.pull_run import Ports, Run, Stopped
from central.integrations.registry import Integrations
from central.integrations.schedule import BACKOFF_BASE_S, BACKOFF_CAP_S, Due, PullState, due
from central.integrations.shaping import shape_of
from shared.backoff import full_jitter
from shared.clock import Clock
from shared.errors import BadInput, CounterflowError, NotFound

LOOK_S = 1.0
LEASE_S = 60.0
"""Another node goes on with a pull so long after this one died."""
PROLONG_S = 15.0
DENIED_S = 900.0
"""Until the next try after the other system did not let us in."""
logger = logging.getLogger(__name__)


class Pulls:
    """Runs what is due until it is cancelled.

    Args:
        node: tells this process from others in the leases.
    """

    def __init__(
        self,
        ports: Ports,
        integrations: Integrations,
        clock: Clock,
        *,
        node: str,
        rng: random.Random | None = None,
    ) -> None:
        self._ports = ports
        self._database = ports.database
        self._integrations = integrations
        self._clock = clock
        # One process owns a SQLite database; after its death it goes on with its own lease.
        self._node = "the only one" if ports.database.is_sqlite else node
        self._rng = rng or random.Random()
        self.wake = asyncio.Event()
        """Look now."""

    # ---- what others ask for ----

    async def ask(
        self, name: str, pull: str | None = None, *, full: bool = False, audited: Note = unnoted
    ) -> Sequence[str]:
        """Have one pull of an integration run now, or all that are on; returns their names.

        Raises:
            NotFound: no such integration or pull.
            BadInput: it is off, so it would not run.
        """
        one = await self._integrations.get(name)
        found = [each for each in one.definition.pull if pull in (None, each.name)]
        if pull is not None and not found:
            raise NotFound(
                f'integration "{name}" has no pull "{pull}"',
                hint=f"it has {', '.join(each.name for each in one.definition.pull) or 'none'}",
            )
        wanted = [each.name for each in found if each.enabled]
        if not one.enabled or (pull is not None and not wanted):
            raise BadInput(
                f'integration "{name}" or its pull is off', hint=f"`integrations enable {name}` starts it"
            )

        async def work(connection: AsyncConnection) -> None:
            now_ms = await self._database.now_ms(connection)
            for each in wanted:
                asked: dict[str, Any] = {"asked_ms": now_ms} | ({"asked_full": True} if full else {})
                await rows.put_state(self._database, connection, one.integration_no, each, **asked)
            await audited(connection, pulls=wanted)

        await self._database.run(work)
        self.wake.set()
        return wanted

    async def list_taken(self, one: Integration) -> None:
        """A list of an integration was taken: pulls that wait for a file run."""
        for pull in one.definition.pull:
            if "file" in pull.on and pull.enabled:
                await self.ask(one.name, pull.name)

    # ---- the loop ----

    async def run(self) -> None:
        """Keep a worker for every integration that pulls."""
        tasks: dict[int, asyncio.Task[None]] = {}
        try:
            while True:
                for one in self._integrations.enabled():
                    task = tasks.get(one.integration_no)
                    if one.definition.pull and (task is None or task.done()):
                        tasks[one.integration_no] = asyncio.create_task(self._work(one.integration_no))
                await self._pause()
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)

    async def _work(self, integration_no: int) -> None:
        """Run what is due; ends when nothing is."""
        try:
            while await self.step(integration_no):
                pass
        except Exception:
            logger.exception("pull_failed", extra={"integration": integration_no})

    async def _pause(self) -> None:
        woken = asyncio.ensure_future(self.wake.wait())
        slept = asyncio.ensure_future(self._clock.sleep(LOOK_S))
        try:
            await asyncio.wait({woken, slept}, return_when=asyncio.FIRST_COMPLETED)
            self.wake.clear()
        finally:
            woken.cancel()
            slept.cancel()

    async def step(self, integration_no: int) -> bool:
        """Make one run of an integration; False when none is due for this node."""
        one = self._integrations.by_number(integration_no)
        if one is None or not one.enabled:
            return False
        for pull in one.definition.pull:
            if await self._due(one, pull) is None:
                continue
            async with self._leased(one, pull) as is_held:
                # Another node may have run it between the look and the lease.
                if is_held and (found := await self._due(one, pull)) is not None:
                    await self._make(one, pull, *found)
                    return True
        return False

    async def _due(self, one: Integration, pull: Pull) -> tuple[Due, PullState, int] | None:
        async with self._database.read() as connection:
            state = state_of((await rows.states(connection, one.integration_no)).get(pull.name))
            now_ms = await self._database.now_ms(connection)
        sources = self._integrations.kind(one.definition).sources_of(one.settings)
        source = sources.get(pull.source)
        has_cursor = source is not None and source.cursor is not None
        found = due(pull, state, shape_of(one.definition, pull), now_ms, has_cursor=has_cursor)
        return None if found is None else (found, state, now_ms)

    async def _make(self, one: Integration, pull: Pull, wanted: Due, state: PullState, now_ms: int) -> None:
        """One run, whatever comes of it, and what is remembered of it."""
        run_no = await self._begin(one, pull, wanted, now_ms)
        run: Run | None = None
        result, problem, wait_s = "taken", None, 0.0
        try:
            run = Run(
                self._ports,
                one,
                pull,
                self._integrations.connector(one),
                run_no,
                wanted.is_full,
                state.cursor,
                lambda: self._go_on(one),
            )
            await run.work()
        except Stopped as why:
            result, problem = "stopped", str(why)
        except CounterflowError as error:
            result, problem, wait_s = "failed", str(error), float(error.extra.get("retry_after_s") or 0)
            if isinstance(error, TargetDenies):
                wait_s = max(wait_s, DENIED_S)
        except Exception as error:
            logger.exception("pull_crashed", extra={"integration": one.name, "pull": pull.name})
            result, problem = "failed", f"{type(error).__name__}: {error}"
        await self._end(one, pull, wanted, state, run, run_no, now_ms, result, problem, wait_s)

    async def _begin(self, one: Integration, pull: Pull, wanted: Due, now_ms: int) -> int:
        async def work(connection: AsyncConnection) -> int:
            return await rows.begin_run(
                connection,
                integration_no=one.integration_no,
                pull=pull.name,
                version=one.version,
                why=wanted.why,
                is_full=wanted.is_full,
                node=self._node,
                started_ms=now_ms,
            )

        return await self._database.run(work)

    async def _end(
        self,
        one: Integration,
        pull: Pull,
        wanted: Due,
        state: PullState,
        run: Run | None,
        run_no: int,
        started_ms: int,
        result: str,
        problem: str | None,
        wait_s: float,
    ) -> None:
        report = (run.report() if run else {}) | {"what": problem}

        async def work(connection: AsyncConnection) -> None:
            now_ms = await self._database.now_ms(connection)
            await rows.end_run(connection, run_no, now_ms, result, report)
            values: dict[str, Any] = {"problem": problem, "failures": 0, "not_before_ms": 0}
            if result != "stopped":
                # Only now: a run that a death or a new version ended is due again at once.
                values["run_ms"] = started_ms
            if result == "taken":
                assert run is not None
                if run.cursor is not None:
                    values["cursor"] = run.cursor
                if wanted.is_full:
                    values |= {"full_ms": started_ms, "shape": run.shaper.shape, "asked_full": False}
            elif result == "failed":
                failures = state.failures + 1
                delay_s = max(wait_s, full_jitter(failures, self._rng, BACKOFF_BASE_S, BACKOFF_CAP_S))
                values |= {"failures": failures, "not_before_ms": now_ms + round(delay_s * 1000)}
            await rows.put_state(self._database, connection, one.integration_no, pull.name, **values)

        await self._database.run(work)
        counts = {name: report.get(name, 0) for name in ("records", "changed", "rejected", "absent")}
        about = {"integration": one.name, "pull": pull.name, "run": run_no, "result": result}
        level = logging.WARNING if result == "failed" else logging.INFO
        logger.log(level, "pull_ended", extra=about | counts | ({"error": problem} if problem else {}))

    def _go_on(self, one: Integration) -> None:
        now = self._integrations.by_number(one.integration_no)
        if now is None or not now.enabled:
            raise Stopped("the integration was switched off")
        if now.version != one.version:
            raise Stopped(f"version {now.version} holds now")

    @asynccontextmanager
    async def _leased(self, one: Integration, pull: Pull) -> AsyncIterator[bool]:
        """Hold the pull's lease for the length of the block, if nobody else does; a lost one ends the block."""
        name = f"pull/{one.integration_no}/{pull.name}"
        if not await leases.take(self._database, name, self._node, LEASE_S):
            yield False
            return
        holder = asyncio.current_task()
        assert holder is not None

        async def prolong() -> None:
            while True:
                await self._clock.sleep(PROLONG_S)
                if not await leases.take(self._database, name, self._node, LEASE_S):
                    holder.cancel("another node has the lease")

        keeper = asyncio.create_task(prolong())
        try:
            yield True
        finally:
            keeper.cancel()
            with suppress(asyncio.CancelledError):
                await keeper
            await leases.release(self._database, name, self._node)


def state_of(row: AnyRow | None) -> PullState:
    """A pull's row as facts for `schedule`."""
    if row is None:
        return PullState()
    return PullState(
        row.cursor,
        row.shape,
        row.run_ms,
        row.full_ms,
        row.asked_ms,
        row.asked_full,
        row.failures,
        row.not_before_ms,
        row.problem,
    )
