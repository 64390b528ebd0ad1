"""Look for the codes that deliveries wait for in the systems that lack them: a worker for each system that says how.

Woken when something begins to wait, or HQ has decided; what it finds makes the deliveries ready. One node at a time
looks in a system; should a second one do too, nothing is made twice (`central/codes/once.py`). A search that is refused
or not answered rests by itself: who may not make parties may sell all the same, so no delivery is held up by it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from central.codes.desk import Ignored
from central.codes.matcher import Matcher, Rules
from central.codes.once import BeingMade
from central.codes.parties import Unclear, Use
from central.codes.waking import not_for
from central.connectors.base import Connector, Written
from central.db import code_tries as rows
from central.db import delivery_records as kept
from central.db import leases, parties
from central.db.code_tries import Wanted
from central.db.database import Database
from central.deliveries import plan
from central.deliveries.batches import new_batch_id
from central.deliveries.carry import classify, rest_s
from central.deliveries.plan import Failure
from central.integrations.budgets import Budgets, budget_of
from central.integrations.integration import Integration
from central.integrations.registry import Integrations
from central.integrations.rules import compile_rules
from central.mapping.lookups import LookUp
from shared.backoff import full_jitter
from shared.clock import Clock
from shared.errors import BadInput, CounterflowError

LOOK_S = 5.0
"""Between looks when nothing wakes it: other nodes let deliveries wait too, and rests end."""
LEASE_S = 60.0
AT_ONCE = 100
UNCLEAR_S = 3_600.0
"""Between searches for a party that waits for HQ: somebody may have put it in order over there."""
WHY_MAX = 500
logger = logging.getLogger(__name__)


class Counted:
    """A connector as matching uses it; tells how often the other system was called."""

    def __init__(self, connector: Connector) -> None:
        self.calls = 0
        self.name = connector.name
        self.timeout_s = connector.timeout_s
        self._connector = connector

    async def find(
        self, target: str, field_name: str, values: Collection[str]
    ) -> Mapping[str, Sequence[str]]:
        self.calls += 1
        return await self._connector.find(target, field_name, values)

    async def create(self, target: str, record: Mapping[str, Any]) -> Written:
        self.calls += 1
        return await self._connector.create(target, record)


class Matches:
    """Looks for codes until it is cancelled.

    Args:
        wake: set by whoever lets a delivery wait for a code, or decides about one.
        found: set here when deliveries have become ready.
    """

    def __init__(
        self,
        database: Database,
        integrations: Integrations,
        clock: Clock,
        budgets: Budgets,
        *,
        node: str,
        wake: asyncio.Event,
        found: asyncio.Event,
        rng: random.Random | None = None,
    ) -> None:
        self._database = database
        self._integrations = integrations
        self._clock = clock
        self._budgets = budgets
        self._node = "the only one" if database.is_sqlite else node
        self._rng = rng or random.Random()
        self._matcher = Matcher(database)
        self._rules: dict[int, tuple[int, Rules]] = {}
        self._failures: dict[int, int] = {}
        self._rests: dict[int, int] = {}  # the tick until which a system is left alone
        self._wakes: dict[int, asyncio.Event] = {}
        self.wake = wake
        self._found = found

    async def run(self) -> None:
        """Keep a worker for every system with a `[[match]]`."""
        tasks: dict[int, asyncio.Task[None]] = {}
        try:
            while True:
                for one in self._integrations.enabled():
                    number = one.integration_no
                    if one.definition.match and (number not in tasks or tasks[number].done()):
                        self._wakes[number] = asyncio.Event()
                        tasks[number] = asyncio.create_task(self._work(number, self._wakes[number]))
                for wake in self._wakes.values():
                    wake.set()
                await self._woken()
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)

    async def step(self, one: Integration) -> bool:
        """Look for what is due in one system; whether there may be more to do at once."""
        rules = self._rules_of(one)
        async with self._database.read() as connection:
            now_ms = await self._database.now_ms(connection)
            wanted = await rows.wanted(connection, one.name, rules.keys(), AT_ONCE) if rules else []
        due = [each for each in wanted if each.next_ms <= now_ms]
        lease = f"match/{one.integration_no}"
        rests = self._clock.tick_ms() < self._rests.get(one.integration_no, 0)
        if not due or rests or one.paused_until_ms > now_ms:
            return False
        try:
            for each in due:
                if not await leases.take(self._database, lease, self._node, LEASE_S):
                    return False
                # One call is paid for beforehand, the others when it is known how many they were.
                if await self._budgets.spend(budget_of(one), 1) or not await self._one(one, rules, each):
                    return False
        finally:
            await leases.release(self._database, lease, self._node)
        return len(due) == AT_ONCE

    def _rules_of(self, one: Integration) -> Rules:
        known = self._rules.get(one.integration_no)
        if known is None or known[0] != one.version:
            kind = self._integrations.kind(one.definition)
            known = self._rules[one.integration_no] = one.version, compile_rules(one.definition, kind)
        return known[1]

    async def _one(self, one: Integration, rules: Rules, wanted: Wanted) -> bool:
        """Look for one code; False when the system should be left alone now."""
        system = Counted(self._integrations.connector(one))
        try:
            answer = await self._matcher.match(system, rules, wanted.kind, wanted.code)
        except BeingMade as error:
            delay_s = full_jitter(wanted.tries + 1, self._rng, plan.PAUSE_BASE_S, plan.PAUSE_CAP_S)
            await self._later(one, wanted, delay_s, error.what)
            return True
        except Exception as error:
            return await self._failed(one, wanted, error, system.timeout_s)
        finally:
            await self._budgets.settle(budget_of(one), system.calls - 1)
        match answer:
            case Use():
                await self._go(one, wanted)
            case Ignored():
                await self._leave_out(one, wanted)
            case Unclear():
                await self._later(one, wanted, None, answer.why)
        self._failures.pop(one.integration_no, None)
        return True

    # ---- what came of it ----

    async def _go(self, one: Integration, wanted: Wanted) -> None:
        async def work(connection: AsyncConnection) -> int:
            await rows.forget(connection, one.name, wanted.kind, [wanted.code])
            return await kept.wake(self._database, connection, await _asked(connection, one, wanted))

        woken = await self._database.run(work)
        logger.info("code_matched", extra={"integration": one.name, **_told(wanted), "deliveries": woken})
        self._found.set()

    async def _leave_out(self, one: Integration, wanted: Wanted) -> None:
        reason = not_for(LookUp(wanted.kind, one.name, wanted.code))

        async def work(connection: AsyncConnection) -> int:
            now_ms = await self._database.now_ms(connection)
            await rows.forget(connection, one.name, wanted.kind, [wanted.code])
            asked = await _asked(connection, one, wanted)
            return await kept.park(
                self._database, connection, asked, lambda: new_batch_id(one.name, now_ms), reason, now_ms
            )

        parked = await self._database.run(work)
        logger.info("party_left_out", extra={"integration": one.name, **_told(wanted), "deliveries": parked})

    async def _later(self, one: Integration, wanted: Wanted, delay_s: float | None, why: str) -> int:
        """Look again after so many seconds; None: once HQ has decided, or after a long while. Returns the time."""

        async def work(connection: AsyncConnection) -> int:
            now_ms = await self._database.now_ms(connection)
            rest_s = UNCLEAR_S if delay_s is None else delay_s
            if delay_s is None and await parties.decision(connection, one.name, wanted.code, lock=True):
                rest_s = 0.0  # it was decided meanwhile
            next_ms = now_ms + round(rest_s * 1000)
            await rows.put(self._database, connection, one.name, wanted, next_ms, why[:WHY_MAX])
            return now_ms

        if not wanted.tries:
            logger.warning("code_not_matched", extra={"integration": one.name, **_told(wanted), "why": why})
        return await self._database.run(work)

    async def _failed(self, one: Integration, wanted: Wanted, error: Exception, timeout_s: float) -> bool:
        told = str(error) if isinstance(error, CounterflowError) else f"{type(error).__name__}: {error}"
        failure = Failure.REJECTED if isinstance(error, BadInput) else classify(error, sent=True)
        if failure is Failure.REJECTED:
            delay_s = full_jitter(wanted.tries + 1, self._rng, plan.RETRY_BASE_S, plan.RETRY_CAP_S)
            await self._later(one, wanted, delay_s, told)
            self._failures.pop(one.integration_no, None)
            return True
        if not isinstance(error, CounterflowError | TimeoutError):
            logger.error("match_failed", exc_info=error, extra={"integration": one.name, **_told(wanted)})
        failures = self._failures[one.integration_no] = self._failures.get(one.integration_no, 0) + 1
        extra = error.extra if isinstance(error, CounterflowError) else {}
        delay_s = rest_s(failures, extra.get("retry_after_s"), self._rng)
        consequence = plan.after_failure(failure, wanted.tries, delay_s, timeout_s, failures)
        assert not isinstance(consequence, plan.Park)
        now_ms = await self._later(one, wanted, consequence.delay_s, told)
        if isinstance(consequence, plan.Again):
            return True
        pause_s = consequence.delay_s if isinstance(consequence, plan.Pause) else consequence.pause_s
        self._rests[one.integration_no] = self._clock.tick_ms() + round(pause_s * 1000)
        if "retry_after_s" in extra:
            await self._budgets.rest(budget_of(one), now_ms + round(pause_s * 1000))
        return False

    def look_now(self) -> None:
        """Somebody at HQ did something about it: rests are over."""
        self._rests.clear()
        self.wake.set()

    # ---- its own pace ----

    async def _work(self, integration_no: int, wake: asyncio.Event) -> None:
        while (one := self._integrations.by_number(integration_no)) and one.enabled and one.definition.match:
            try:
                busy = await self.step(one)
            except Exception:
                logger.exception("match_step_failed", extra={"integration": one.name})
                busy = False
            if not busy:
                await wake.wait()
                wake.clear()

    async def _woken(self) -> None:
        slept = asyncio.ensure_future(self._clock.sleep(LOOK_S))
        woken = asyncio.ensure_future(self.wake.wait())
        try:
            await asyncio.wait({woken, slept}, return_when=asyncio.FIRST_COMPLETED)
            self.wake.clear()
        finally:
            woken.cancel()
            slept.cancel()


async def _asked(connection: AsyncConnection, one: Integration, wanted: Wanted) -> list[LookUp]:
    """What deliveries may have asked for: the code, and those that were merged into it."""
    codes = await rows.aliases(connection, wanted.kind, wanted.code)
    return [LookUp(wanted.kind, one.name, code) for code in codes]


def _told(wanted: Wanted) -> dict[str, str]:
    return {"kind": wanted.kind, "code": wanted.code}
