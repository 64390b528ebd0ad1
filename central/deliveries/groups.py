"""Put applied documents into their groups and close those whose time has come; let go what waited for a schedule.

Performs what `group_plan.py` decides. Every step is one transaction under the integration's lock, and looks again at
what it found: whatever dies when, and however many nodes do it, a delivery is in one group, and a group is closed once.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain

from sqlalchemy.ext.asyncio import AsyncConnection

from central.db import deliveries as rows
from central.db import groups as table
from central.db.database import AnyRow, Database
from central.deliveries import group_plan
from central.deliveries.batches import new_batch_id
from central.deliveries.group_plan import Arrival, Newest
from central.deliveries.merging import document_of_row
from central.deliveries.records import Records
from central.integrations.definition import Deliver, Group, seconds_of
from central.integrations.integration import Integration
from central.integrations.registry import Integrations
from central.integrations.schedule import last_tick_ms
from central.integrations.ways import Way, reason_of
from central.mapping.errors import MappingErrors
from central.mapping.grouping import group_key
from shared.clock import Clock

EVERY_S = 5.0
"""Between looks when nothing wakes this: closes are told by the clock."""
PAGE = 500
"""Documents of one transaction."""
LET_GO = 5_000
LOOK_AGAIN_MS = 60_000
"""A document that came in before a tick may be applied after it."""
REPLACES = "it is a newer version of a document, and what a group has added up is not taken out of it again"
logger = logging.getLogger(__name__)


@dataclass
class Judged:
    """What becomes of documents that gathered, before it is known which groups there are."""

    arrivals: list[Arrival] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)
    refused: dict[str, list[int]] = field(default_factory=dict)

    def doc_nos(self) -> list[int]:
        return [
            *(each.doc_no for each in self.arrivals),
            *self.skipped,
            *chain.from_iterable(self.refused.values()),
        ]


class Groups:
    """The part of a node's outgoing work that comes before batches."""

    def __init__(
        self, database: Database, integrations: Integrations, records: Records, clock: Clock
    ) -> None:
        self._database = database
        self._integrations = integrations
        self._records = records
        self._clock = clock
        self._served: dict[tuple[int, int, str], tuple[int, int]] = {}  # the newest tick served, and when

    async def step(self) -> int:
        """Do what is to be done now; returns how many deliveries became ready."""
        async with self._database.read() as connection:
            now_ms = await self._database.now_ms(connection)
        ready = 0
        looked_at = set()
        for one in self._integrations.enabled():
            try:
                ready += await self._look_at(one, now_ms)
                looked_at.add(one.integration_no)
            except Exception:
                # Each step is one transaction: the next look goes on from there. Others are not held up.
                logger.exception("groups_failed", extra={"integration": one.name})
        # After all that is there has found its group: nothing is late that was only not looked at yet.
        return ready + await self._close_due(looked_at)

    async def _look_at(self, one: Integration, now_ms: int) -> int:
        ready = 0
        # Those that are off too: what they began is still brought to its end.
        for deliver in one.definition.deliver:
            if deliver.group is not None:
                await self._gather(one, self._records.ways(one)[deliver.name], deliver.group)
            else:
                ready += await self._let_go(one, deliver, now_ms)
        return ready

    # ---- schedules ----

    async def send_now(self, one: Integration) -> int:
        """Let go what waits for a schedule, as somebody wants it sent now; returns how many."""
        async with self._database.read() as connection:
            now_ms = await self._database.now_ms(connection)
        plain = [each for each in one.definition.deliver if each.group is None]
        return sum([await self._release(one, each.name, now_ms) for each in plain])

    async def _let_go(self, one: Integration, deliver: Deliver, now_ms: int) -> int:
        """What a schedule's tick sends; and what waited for a group or a schedule that is no more."""
        key = one.integration_no, one.version, deliver.name
        until_ms = last_tick_ms(deliver, now_ms)
        served_ms, at_ms = self._served.get(key, (-1, 0))
        tick_ms = self._clock.tick_ms()
        is_new = key not in self._served or (deliver.gathers and until_ms != served_ms)
        if not is_new and tick_ms - at_ms < LOOK_AGAIN_MS:
            return 0
        self._served[key] = until_ms, tick_ms
        return await self._release(one, deliver.name, until_ms)

    async def _release(self, one: Integration, effect: str, until_ms: int) -> int:
        count, number = 0, one.integration_no
        while True:
            async with self._database.read() as connection:
                found = await table.gathered_before(connection, number, effect, until_ms, LET_GO)
            if not found:
                return count
            async with self._database.write() as connection:
                await table.leave_gathering(self._database, connection, number, effect, found, "ready")
            count += len(found)

    # ---- groups ----

    async def _gather(self, one: Integration, way: Way, group: Group) -> None:
        after = 0
        while True:
            async with self._database.read() as connection:
                found = await table.gathering(connection, one.integration_no, way.deliver.name, after, PAGE)
                now_ms = await self._database.now_ms(connection)
            if not found:
                return
            after = found[-1].doc_no
            await self._put(one, way, group, judge(found, way, group, now_ms))

    async def _put(self, one: Integration, way: Way, group: Group, judged: Judged) -> None:
        number, effect, after_s = one.integration_no, way.deliver.name, seconds_of(group.after)

        async def work(connection: AsyncConnection) -> None:
            await rows.lock_integration(connection, number)
            now_ms = await self._database.now_ms(connection)
            left = await table.still_gathering(connection, number, effect, judged.doc_nos())
            arrivals = [each for each in judged.arrivals if each.doc_no in left]
            known = await table.newest(connection, number, effect, {each.group_key for each in arrivals})
            for filling in group_plan.fill(arrivals, _newest(known), now_ms, after_s):
                group_no = (
                    await table.add_group(
                        connection,
                        {
                            "integration_no": number,
                            "effect": effect,
                            "group_key": filling.group_key,
                            "correction": filling.correction,
                            "since_ms": now_ms,
                            "close": group.close,
                            "after_s": after_s,
                        },
                    )
                    if filling.is_new
                    else known[filling.group_key].group_no
                )
                await table.join(
                    self._database,
                    connection,
                    (group_no, number, effect),
                    filling.doc_nos,
                    filling.size,
                    filling.due_ms,
                )
            skipped = [doc_no for doc_no in judged.skipped if doc_no in left]
            await table.leave_gathering(self._database, connection, number, effect, skipped, "skipped")
            for reason, doc_nos in judged.refused.items():
                which = [(doc_no, effect) for doc_no in doc_nos if doc_no in left]
                if not which:
                    continue
                batch_id = new_batch_id(one.name, now_ms)
                await rows.park(self._database, connection, number, None, batch_id, which, reason, now_ms)

        await self._database.run(work)

    async def _close_due(self, looked_at: set[int]) -> int:
        async with self._database.read() as connection:
            now_ms = await self._database.now_ms(connection)
            found = [each for each in await table.open_groups(connection) if each.integration_no in looked_at]
            waiting = {
                each.group_no: group_plan.shift_of(each.group_key)
                for each in found
                if each.close == "shift_close" and each.due_ms is None
            }
            closed = await table.closed_shifts(connection, group_plan.named(waiting.values()))
        ended = {number for number, shift in waiting.items() if shift.is_closed(closed)}
        count = 0
        for group in found:
            due_ms = group.due_ms
            if group.group_no in ended:
                due_ms = group_plan.due_ms(now_ms, group.since_ms, group.after_s)
                async with self._database.write() as connection:
                    await table.set_due(connection, group.group_no, due_ms)
            if due_ms is not None and due_ms <= now_ms:
                count += await self._database.run(partial(self._close, group.group_no))
        return count

    async def _close(self, group_no: int, connection: AsyncConnection) -> int:
        group = await table.lock(connection, group_no)
        now_ms = await self._database.now_ms(connection)
        # Another node may have closed it, or a document of a later day end may have joined it.
        if group is None or group.state != "open" or group.due_ms is None or group.due_ms > now_ms:
            return 0
        await table.close(connection, group, now_ms, None)
        logger.info("group_closed", extra={"group": group.group_key, "documents": group.size})
        return 1


def judge(found: Sequence[AnyRow], way: Way, group: Group, now_ms: int) -> Judged:
    """What becomes of documents that gathered. Pure."""
    judged = Judged()
    for row in found:
        try:
            document = document_of_row(row)
            if not way.has_effect(document):
                judged.skipped.append(row.doc_no)
            elif document.get("replaces"):
                judged.refused.setdefault(REPLACES, []).append(row.doc_no)
            else:
                close_ms = None
                if group.close == "day_end":
                    close_ms = group_plan.day_end_ms(document) or now_ms
                judged.arrivals.append(Arrival(row.doc_no, group_key(document, group.by), close_ms))
        except MappingErrors as error:
            judged.refused.setdefault(reason_of(error.errors), []).append(row.doc_no)
        except Exception as error:
            # Whatever a document holds, it must not keep its neighbours from their group (I10).
            logger.exception("document_not_grouped", extra={"doc_no": row.doc_no})
            reason = f"it cannot be put into a group: {type(error).__name__}: {error}"
            judged.refused.setdefault(reason[:200], []).append(row.doc_no)
    return judged


def _newest(known: Mapping[str, AnyRow]) -> dict[str, Newest]:
    return {
        key: Newest(row.correction, row.state == "open", row.size, row.since_ms, row.due_ms)
        for key, row in known.items()
    }
