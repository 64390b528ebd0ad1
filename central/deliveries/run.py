"""The outgoing work of a node: one worker per integration, so that a slow system delays no other, and the sweep.

Any number of nodes may run; a batch is carried by the one that holds its lease, timed by the database's clock.
"""

from __future__ import annotations

import asyncio
import logging
import random

from central.db import attempts
from central.db import deliveries as rows
from central.db.database import Database
from central.deliveries.batches import take
from central.deliveries.carry import Carrier, LostLease
from central.deliveries.codes import CrossReference
from central.deliveries.groups import EVERY_S as GROUPS_EVERY_S
from central.deliveries.groups import Groups
from central.deliveries.records import Records
from central.deliveries.sweep import EVERY_S, SOON_S, Sweep
from central.integrations.budgets import Budgets, budget_of
from central.integrations.integration import Integration
from central.integrations.registry import Integrations
from shared.clock import Clock

IDLE_S = 5.0
"""Between looks when nothing wakes a worker: other nodes apply documents too, and pauses end."""
SOONEST_S = 0.1
"""Between looks at a batch that is due but that another node takes at this moment."""
GATHER_S = 0.5
"""After a wake-up, so that a trickle of sales makes a batch each half second and not one each."""
logger = logging.getLogger(__name__)


class DeliveryRunner:
    """Carries what is ready until it is cancelled.

    Args:
        node: tells this process from others in the leases; any text that no other process has.
        wake: set by whoever makes deliveries ready, or wants them sent now.
    """

    def __init__(
        self,
        database: Database,
        integrations: Integrations,
        clock: Clock,
        *,
        node: str,
        wake: asyncio.Event | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._database = database
        self._integrations = integrations
        self._clock = clock
        self._node = node
        self.budgets = Budgets(database)
        codes = CrossReference(database)
        self.waits = asyncio.Event()
        """Set when a delivery begins to wait for a code of another system."""
        self._records = Records(database, integrations, codes, self.waits)
        self._carrier = Carrier(database, integrations, clock, rng or random.Random(), self.budgets, codes)
        self._sweep = Sweep(database, integrations, clock)
        self.groups = Groups(database, integrations, self._records, clock)
        self.wake = wake or asyncio.Event()
        self._wakes: dict[int, asyncio.Event] = {}
        self._rests: dict[int, float] = {}  # seconds until there may be something to do for an integration
        self._sweep_now = asyncio.Event()
        self._group_now = asyncio.Event()

    async def run(self) -> None:
        """Keep a worker for every enabled integration, and the sweep."""
        self._integrations.listeners.append(self._changed)
        tasks: dict[int, asyncio.Task[None]] = {}
        sweeps = asyncio.create_task(self._sweep_for_ever())
        groups = asyncio.create_task(self._group_for_ever())
        try:
            await self._free_leases()
            while True:
                for integration in self._integrations.enabled():
                    number = integration.integration_no
                    if integration.kinds and (number not in tasks or tasks[number].done()):
                        self._wakes[number] = asyncio.Event()
                        tasks[number] = asyncio.create_task(self._work(number, self._wakes[number]))
                for wake in (self._group_now, *self._wakes.values()):
                    wake.set()
                await self.wake.wait()
                self.wake.clear()
        finally:
            self._integrations.listeners.remove(self._changed)
            for task in (sweeps, groups, *tasks.values()):
                task.cancel()
            await asyncio.gather(sweeps, groups, *tasks.values(), return_exceptions=True)

    async def step(self, integration_no: int) -> bool:
        """Carry one batch as far as it goes; False when there is nothing to do for this node now."""
        one = self._integrations.by_number(integration_no)
        if one is None or not one.enabled:
            return False
        connector = self._integrations.connector(one)
        paid = False

        async def allowed() -> bool:
            nonlocal paid
            paid = await self._pay(one)
            return paid

        held = await take(self._database, self._clock, self._node, one, connector, self._records, allowed)
        if held is None:
            if paid:
                await self.budgets.settle(budget_of(one), -1)
            await self._rest(integration_no)
            return False
        try:
            await self._carrier.carry(one, connector, held)
        except LostLease:
            logger.warning("delivery_lease_lost", extra={"integration": one.name, "batch": held.batch_id})
        return True

    async def resume(self, one: Integration) -> None:
        """Somebody at HQ says that it is well: rests and failures so far are forgotten, and it goes on now."""
        await self.budgets.resume(budget_of(one))
        async with self._database.write() as connection:
            await attempts.close_circuit(connection, one.integration_no)
        await self.groups.send_now(one)
        self.wake.set()

    async def sweep(self) -> int:
        """Make ready what is missing; returns how many deliveries that were."""
        added = await self._sweep.all()
        if await self._records.wake() or added:
            self.wake.set()
        return added

    async def _rest(self, integration_no: int) -> None:
        """Note when to look again: a pause of a second is not a rest of five."""
        async with self._database.read() as connection:
            now_ms = await self._database.now_ms(connection)
            due_ms = await rows.due_in_ms(connection, integration_no, now_ms)
        if due_ms is not None:
            rest_s = max(due_ms / 1000, SOONEST_S)
            self._rests[integration_no] = max(rest_s, self._rests.get(integration_no, 0.0))

    async def _pay(self, one: Integration) -> bool:
        """Take one call of the integration's credential; False when it has none left now."""
        wait_s = await self.budgets.spend(budget_of(one), 1)
        if wait_s:
            self._rests[one.integration_no] = wait_s
        return not wait_s

    def _changed(self) -> None:
        if self._sweep.is_behind():
            self._sweep_now.set()
        self.wake.set()

    async def _free_leases(self) -> None:
        if self._database.is_sqlite:
            # One process owns a SQLite database: whoever held a lease is dead.
            async with self._database.write() as connection:
                await rows.free_leases(connection)

    async def _work(self, integration_no: int, wake: asyncio.Event) -> None:
        while (one := self._integrations.by_number(integration_no)) and one.enabled:
            try:
                busy = await self.step(integration_no)
            except Exception:
                # Nothing was decided that is not in the database: the next look goes on from there.
                logger.exception("delivery_step_failed", extra={"integration": one.name})
                busy = False
            if not busy and await self._woken(wake, min(IDLE_S, self._rests.pop(integration_no, IDLE_S))):
                await self._clock.sleep(GATHER_S)

    async def _sweep_for_ever(self) -> None:
        wait_s = EVERY_S
        while True:
            try:
                await self.sweep()
            except Exception:
                logger.exception("sweep_failed")
            wait_s = SOON_S if await self._woken(self._sweep_now, wait_s) else EVERY_S

    async def _group_for_ever(self) -> None:
        while True:
            try:
                if await self.groups.step():
                    self.wake.set()
            except Exception:
                logger.exception("groups_not_looked_at")
            await self._woken(self._group_now, GROUPS_EVERY_S)
            await self._clock.sleep(GATHER_S)

    async def _woken(self, wake: asyncio.Event, seconds: float) -> bool:
        """Wait until woken, at most *seconds*; whether it was."""
        woken, slept = asyncio.ensure_future(wake.wait()), asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await asyncio.wait({woken, slept}, return_when=asyncio.FIRST_COMPLETED)
            wake.clear()
            return woken.done()
        finally:
            woken.cancel()
            slept.cancel()
