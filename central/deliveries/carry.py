"""Carry one batch: performs what `plan.next_step` says, and writes down what came of it.

Every step that leaves the centre is preceded by a commit that says so, and every commit makes sure that the lease is
still this node's. Whatever dies when: the next holder finds what may have arrived, and asks for it before it sends.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from central.connectors.base import (
    Batch,
    Connector,
    NoAnswer,
    Rejection,
    TargetAway,
    TargetDenies,
    TargetRejects,
    Written,
)
from central.db import attempts, closed_groups
from central.db import deliveries as rows
from central.db import delivery_records as kept
from central.db.database import Database
from central.deliveries import plan
from central.deliveries.attempt import Attempt
from central.deliveries.batches import Held, new_batch_id
from central.deliveries.codes import CrossReference
from central.deliveries.plan import BatchFacts, BatchState, Failure
from central.deliveries.records import Member
from central.integrations.budgets import Budgets, budget_of
from central.integrations.integration import Integration
from central.integrations.registry import Integrations
from shared.backoff import full_jitter
from shared.clock import Clock, rfc3339
from shared.errors import CounterflowError

DOUBTED = "the other system has this group already, but this centre never sent it"
_FREE: dict[str, Any] = {"lease": None, "leased_until_ms": 0}
logger = logging.getLogger(__name__)


class LostLease(Exception):
    """Another node holds the batch by now; it will find out what arrived."""


class Carrier:
    """Carries batches of any integration for this node."""

    def __init__(
        self,
        database: Database,
        integrations: Integrations,
        clock: Clock,
        rng: random.Random,
        budgets: Budgets,
        codes: CrossReference,
    ) -> None:
        self._database = database
        self._integrations = integrations
        self._clock = clock
        self._rng = rng
        self._budgets = budgets
        self._codes = codes

    async def carry(self, one: Integration, connector: Connector, held: Held) -> None:
        """Bring the batch as far as it goes now, and give it back.

        Raises:
            LostLease: it took longer than the lease, and another node has it.
        """
        attempt = Attempt(one.integration_no, held.batch_no, self._clock, one.settings)
        steps = 0
        try:
            steps = await self._steps(one, connector, held, attempt)
        finally:
            # What a connector does not tell counts as one call a step; one step was paid for beforehand.
            await self._budgets.settle(budget_of(one), max(attempt.calls, steps) - 1)

    async def _steps(self, one: Integration, connector: Connector, held: Held, attempt: Attempt) -> int:
        probed = False
        steps = 0
        while True:
            step = plan.next_step(
                BatchFacts(
                    held.state,
                    len(held.deliveries),
                    connector.idempotency,
                    probed,
                    (held.lease_ends_ms - self._clock.tick_ms()) / 1000,
                    connector.timeout_s,
                )
            )
            match step:
                case plan.Probe():
                    steps += 1
                    try:
                        async with asyncio.timeout(connector.timeout_s):
                            batch = Batch(held.batch_id, held.deliveries, attempt.tell)
                            found = await connector.probe(batch, self._unknown_batches)
                    except Exception as error:
                        await self._failed(one, connector, held, attempt, error, sent=False)
                        return steps
                    probed = True
                    written = dict(found) if isinstance(found, Mapping) else dict.fromkeys(found)
                    if strange := {held.members[key] for key in written if key in held.members} & held.unsent:
                        held = await self._doubt(one, held, attempt, strange)
                        written = {key: named for key, named in written.items() if key in held.members}
                    if written and len(written) < len(held.deliveries):
                        # Committed before the rest is sent: the batch is from now on what is left of it.
                        held = await self._mark_done(one, held, attempt, written, written)
                    elif written:
                        await self._finish(one, held, attempt, written)
                        return steps
                case plan.Send():
                    steps += 1
                    await self._leave(held, attempt)
                    try:
                        async with asyncio.timeout(connector.timeout_s):
                            answer = await connector.deliver(
                                Batch(held.batch_id, held.deliveries, attempt.tell)
                            )
                    except Exception as error:
                        await self._failed(one, connector, held, attempt, error, sent=True)
                        return steps
                    if not answer.rejected:
                        await self._finish(one, held, attempt, answer.written)
                        return steps
                    accepted = held.members.keys() - answer.rejected.keys()
                    held = await self._mark_done(one, held, attempt, accepted, answer.written)
                    await self._refused(one, connector, held, attempt, answer.rejected)
                    return steps
                case plan.Finish():
                    await self._finish(one, held, attempt, {})
                    return steps
                case plan.AskPerson():
                    await self._change(held, state=BatchState.UNKNOWN, **_FREE)
                    return steps
                case plan.LetGo():
                    await self._change(held, **_FREE)
                    return steps

    async def _unknown_batches(self, batch_ids: Collection[str]) -> set[str]:
        async with self._database.read() as connection:
            return await rows.unknown_batches(connection, batch_ids)

    async def _leave(self, held: Held, attempt: Attempt) -> None:
        """Write down that bytes leave now."""

        async def work(connection: AsyncConnection) -> None:
            await self._own(connection, held, state=BatchState.SENT)
            if held.groups:
                await closed_groups.mark_sent(connection, held.groups.values())
            await attempt.begin(connection, await self._database.now_ms(connection))

        await self._database.run(work)

    # ---- what came of it ----

    async def _finish(
        self, one: Integration, held: Held, attempt: Attempt, written: Mapping[str, Written | None]
    ) -> None:
        attempt.done += len(held.deliveries)

        async def work(connection: AsyncConnection) -> None:
            now_ms = await self._database.now_ms(connection)
            await self._own(connection, held, state=BatchState.DONE, done_ms=now_ms, error=None, **_FREE)
            await rows.settle(self._database, connection, held.batch_no, "done")
            await kept.forget(self._database, connection, one.integration_no, set(held.members.values()))
            await self._write_back(connection, one, held, written, now_ms)
            if held.members:
                await attempt.end(connection, now_ms, "ok")
            await attempts.close_circuit(connection, one.integration_no)

        await self._database.run(work)
        logger.info(
            "documents_delivered",
            extra={"integration": one.name, "batch": held.batch_id, "count": len(held.deliveries)},
        )
        await self._well(one)

    async def _well(self, one: Integration) -> None:
        """A plain answer came."""
        if one.problem is not None:
            await self._integrations.well_again(one)

    async def _mark_done(
        self,
        one: Integration,
        held: Held,
        attempt: Attempt,
        keys: Iterable[str],
        written: Mapping[str, Written | None],
    ) -> Held:
        """Note that some deliveries took effect; what is left is the batch from now on."""
        done = {key for key in keys if key in held.members}
        attempt.done += len(done)
        left = tuple(each for each in held.deliveries if each.key not in done)
        # A delivery that was split is done with its last part; the next look finds those that are there.
        unfinished = {held.members[each.key] for each in left}
        which = {held.members[key] for key in done} - unfinished

        async def work(connection: AsyncConnection) -> None:
            await self._own(connection, held, lease=held.lease)
            await rows.settle(self._database, connection, held.batch_no, "done", which)
            await kept.forget(self._database, connection, one.integration_no, which)
            now_ms = await self._database.now_ms(connection)
            await self._write_back(connection, one, held, written, now_ms)
            await attempts.close_circuit(connection, one.integration_no)

        await self._database.run(work)
        return replace(held, deliveries=left)

    async def _doubt(self, one: Integration, held: Held, attempt: Attempt, strange: set[Member]) -> Held:
        """Park groups that are over there although this centre never sent them.

        It was restored from a backup: what is there is a group of the same name, of documents that may be others.
        """
        keys = {key for key, member in held.members.items() if member in strange}
        told = [f"{each.number} ({each.key})" for each in held.deliveries if each.key in keys]
        logger.warning("group_doubted", extra={"integration": one.name, "groups": told})

        async def work(connection: AsyncConnection) -> None:
            await self._own(connection, held, lease=held.lease)
            now_ms = await self._database.now_ms(connection)
            parked_id = new_batch_id(one.name, now_ms)
            number = one.integration_no
            await rows.park(
                self._database, connection, number, held.batch_no, parked_id, strange, DOUBTED, now_ms
            )
            detail = (
                f"{DOUBTED}: {', '.join(told)}; compare its documents over there with `deliveries groups`"
            )
            await attempt.end(connection, now_ms, Failure.REJECTED, detail)

        await self._database.run(work)
        return replace(
            held,
            members={key: member for key, member in held.members.items() if key not in keys},
            deliveries=tuple(each for each in held.deliveries if each.key not in keys),
        )

    async def _write_back(
        self,
        connection: AsyncConnection,
        one: Integration,
        held: Held,
        written: Mapping[str, Written | None],
        now_ms: int,
    ) -> None:
        """Keep what the other system calls them, together with the word that they are there; it wakes who waits."""
        known = {
            (*held.members[key], held.parts[key]): named
            for key, named in written.items()
            if named is not None and key in held.members
        }
        await attempts.put_written(self._database, connection, one.integration_no, known, now_ms)
        members = {(doc_no, effect) for doc_no, effect, _ in known}
        for group_no in (held.groups[member] for member in members & held.groups.keys()):
            await closed_groups.link_back(self._database, connection, group_no)
        told = [(each, named) for each in held.deliveries if (named := written.get(each.key)) is not None]
        learned = await self._codes.learn(connection, one.definition, told)
        await kept.wake(self._database, connection, learned)

    async def _failed(
        self,
        one: Integration,
        connector: Connector,
        held: Held,
        attempt: Attempt,
        error: Exception,
        *,
        sent: bool,
    ) -> None:
        """No plain answer came: rest with the system, with the batch, or use up an attempt."""
        failure = classify(error, sent=sent)
        extra = error.extra if isinstance(error, CounterflowError) else {}
        told = str(error) if isinstance(error, CounterflowError) else f"{type(error).__name__}: {error}"
        if failure is Failure.REJECTED:
            rejection = Rejection(str(extra.get("reason") or told), told)
            await self._refused(
                one, connector, held, attempt, {delivery.key: rejection for delivery in held.deliveries}
            )
            return
        logger.warning(
            "delivery_failed",
            extra={"integration": one.name, "batch": held.batch_id, "failure": failure, "error": told},
        )

        async def work(connection: AsyncConnection) -> int | None:
            now_ms = await self._database.now_ms(connection)
            failures = await attempts.count_failure(self._database, connection, one.integration_no, now_ms)
            delay_s = rest_s(failures, extra.get("retry_after_s"), self._rng)
            consequence = plan.after_failure(failure, held.attempts, delay_s, connector.timeout_s, failures)
            if isinstance(consequence, plan.Pause):
                # It says that nothing was sent, so what was known of the batch before still holds.
                await self._own(connection, held, state=held.state, error=told, **_FREE)
            else:
                assert not isinstance(consequence, plan.Park)
                not_before_ms = now_ms + int(consequence.delay_s * 1000)
                await self._own(
                    connection,
                    held,
                    state=BatchState.UNKNOWN,
                    error=told,
                    not_before_ms=not_before_ms,
                    **_FREE,
                )
            await attempt.end(connection, now_ms, failure, told)
            match consequence:
                case plan.Pause(pause_s) | plan.Trip(_, pause_s):
                    return now_ms + int(pause_s * 1000)
            return None

        until_ms = await self._database.run(work)
        if until_ms is not None:
            await self._integrations.pause(one, until_ms, f"{told}; next try {rfc3339(until_ms)}")
        if until_ms is not None and "retry_after_s" in extra:
            await self._budgets.rest(budget_of(one), until_ms)

    async def _refused(
        self,
        one: Integration,
        connector: Connector,
        held: Held,
        attempt: Attempt,
        rejected: Mapping[str, Rejection],
    ) -> None:
        """Its content was refused: try again later, and after enough tries park it by reason."""
        # Of a delivery that was split, the first refused part tells the reason.
        reasons: dict[Member, str] = {}
        for delivery in held.deliveries:
            reasons.setdefault(held.members[delivery.key], rejected[delivery.key].reason)
        by_reason: dict[str, list[Member]] = {}
        for member, reason in reasons.items():
            by_reason.setdefault(reason, []).append(member)
        details = [rejected[delivery.key].detail for delivery in held.deliveries]
        logger.warning(
            "delivery_refused",
            extra={"integration": one.name, "batch": held.batch_id, "reasons": list(by_reason)},
        )
        delay_s = full_jitter(held.attempts + 1, self._rng, plan.RETRY_BASE_S, plan.RETRY_CAP_S)
        consequence = plan.after_failure(Failure.REJECTED, held.attempts, delay_s, connector.timeout_s)

        async def work(connection: AsyncConnection) -> None:
            now_ms = await self._database.now_ms(connection)
            if isinstance(consequence, plan.Park):
                await self._own(connection, held, state=BatchState.DONE, done_ms=now_ms, **_FREE)
                for reason, which in by_reason.items():
                    parked_id = new_batch_id(one.name, now_ms)
                    await rows.park(
                        self._database,
                        connection,
                        one.integration_no,
                        held.batch_no,
                        parked_id,
                        which,
                        reason,
                        now_ms,
                    )
            else:
                await self._own(
                    connection,
                    held,
                    state=BatchState.READY,
                    attempts=held.attempts + 1,
                    error="; ".join(by_reason),
                    not_before_ms=now_ms + int(consequence.delay_s * 1000),
                    **_FREE,
                )
            told = "; ".join(dict.fromkeys(filter(None, [*by_reason, *details])))
            await attempt.end(connection, now_ms, Failure.REJECTED, told)
            await attempts.close_circuit(connection, one.integration_no)

        await self._database.run(work)
        await self._well(one)

    async def _change(self, held: Held, **values: Any) -> None:
        async def work(connection: AsyncConnection) -> None:
            await self._own(connection, held, **values)

        await self._database.run(work)

    async def _own(self, connection: AsyncConnection, held: Held, **values: Any) -> None:
        """Set columns of the batch, if it is still ours."""
        if not await rows.change_batch(connection, held.batch_no, held.lease, values):
            raise LostLease


def rest_s(failures: int, wish_s: float | None, rng: random.Random) -> float:
    """How long to rest after so many failures in a row, where the system may have said when to come back."""
    if wish_s is None:
        return full_jitter(failures, rng, plan.PAUSE_BASE_S, plan.PAUSE_CAP_S)
    # Its word counts; a little more, so that all who heard it do not come at once.
    return wish_s + full_jitter(1, rng, plan.PAUSE_BASE_S)


def classify(error: Exception, *, sent: bool) -> Failure:
    """Which failure an error of a connector is. Anything unforeseen after the first byte may have arrived."""
    match error:
        case TargetAway():
            return Failure.AWAY
        case TargetDenies():
            return Failure.DENIED
        case TargetRejects():
            return Failure.REJECTED
        case NoAnswer():
            return Failure.NO_ANSWER
    return Failure.NO_ANSWER if sent else Failure.AWAY
