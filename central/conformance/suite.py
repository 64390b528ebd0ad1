"""The checks, one for each promise and each fault. Each takes a rig of its own and raises `Fails`.

Sends are made as the centre makes them: look first where the connector can look, send what is missing, look again
after every failure. Who resends blindly, or takes a page of somebody else's for an answer, does not pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

from central.conformance.faults import IN, OUT, Fault
from central.conformance.rig import Rig
from central.connectors.base import (
    Batch,
    Connector,
    Delivery,
    Idempotency,
    NoAnswer,
    Read,
    TargetAway,
    TargetDenies,
)

TRIES_MAX = 12
OVERLAP_S = 600


class Fails(AssertionError):
    """The connector does not keep this promise; the text says which effect or record shows it."""


Check = Callable[[Rig], Awaitable[None]]


async def _all_unknown(batch_ids: Collection[str]) -> set[str]:
    # A centre that was restored remembers none of its batches: the hardest case.
    return set(batch_ids)


async def send_as_the_centre(rig: Rig, deliveries: Sequence[Delivery], batch_id: str) -> None:
    """Bring all of them there, through whatever happens, each try in a process of its own."""
    for attempt in range(TRIES_MAX):
        connector = rig.connect()
        left = list(deliveries)
        try:
            if connector.idempotency.probes:
                found = await connector.probe(Batch(batch_id, left), _all_unknown)
                left = [one for one in left if one.key not in found]
            if not left:
                return
            answer = await connector.deliver(Batch(f"{batch_id[:-1]}{attempt % 10}", left))
        except (TargetAway, TargetDenies):
            continue
        except NoAnswer:
            if connector.idempotency is Idempotency.AT_LEAST_ONCE:
                return  # a person decides
            continue
        if answer.rejected:
            raise Fails(f"refused: {dict(answer.rejected)}")
        return
    raise Fails(f"not there after {TRIES_MAX} tries")


async def each_once(rig: Rig, deliveries: Sequence[Delivery]) -> None:
    """Each of these took effect, and none twice."""
    counts = Counter(await rig.effects())
    doubled = {one.number: counts[one.key] for one in deliveries if counts[one.key] > 1}
    missing = [one.number for one in deliveries if not counts[one.key]]
    if doubled or missing:
        raise Fails(f"doubled: {doubled or 'none'}; missing: {missing or 'none'}")


# ---- out ----


async def what_is_sent_is_there_once(rig: Rig) -> None:
    deliveries = [rig.delivery(number) for number in (1, 2, 3)]
    await send_as_the_centre(rig, deliveries, _batch_id(1))
    await each_once(rig, deliveries)


async def a_look_finds_all_before_and_after(rig: Rig) -> None:
    connector, one, two = rig.connect(), rig.delivery(1), rig.delivery(2)
    if not connector.idempotency.probes:
        return
    if await connector.probe(Batch(_batch_id(1), [one]), _all_unknown):
        raise Fails("it finds what was never sent")
    await connector.deliver(Batch(_batch_id(1), [one]))
    await rig.consume()
    found = await rig.connect().probe(Batch(_batch_id(2), [one, two]), _all_unknown)
    if set(found) != {one.key}:
        raise Fails(f"after a send of {one.number} it finds {sorted(found)}")


async def a_look_changes_nothing(rig: Rig) -> None:
    connector = rig.connect()
    for _ in range(3):
        await connector.probe(Batch(_batch_id(1), [rig.delivery(1)]), _all_unknown)
    if await rig.effects():
        raise Fails("asking has an effect")


async def it_says_what_it_is(rig: Rig) -> None:
    """Batches and requests have a bound, and what it uses has a name."""
    connector = rig.connect()
    bounds = (connector.batch_documents, connector.batch_bytes, connector.timeout_s)
    if connector.writes != rig.writes:
        raise Fails(f"it says writes = {connector.writes}, its rig {rig.writes}")
    if min(bounds) <= 0 or not (connector.resource and connector.title and connector.tested):
        raise Fails(f"bounds {bounds}, resource {connector.resource!r}, title {connector.title!r}")


async def overlapping_batches_of_a_forgetful_centre(rig: Rig) -> None:
    for number, members in enumerate(((1, 2), (2, 3), (1, 2, 3, 4))):
        await send_as_the_centre(rig, [rig.delivery(one) for one in members], _batch_id(number))
        await rig.consume()
    await each_once(rig, [rig.delivery(number) for number in (1, 2, 3, 4)])


async def each_once_under(fault: Fault, rig: Rig) -> None:
    deliveries = [rig.delivery(number) for number in range(1, 7)]
    async with rig.meet(fault):
        await send_as_the_centre(rig, deliveries, _batch_id(1))
    await each_once(rig, deliveries)
    await rig.consume()
    # Once more, as a centre does that was restored from a backup.
    await send_as_the_centre(rig, deliveries, _batch_id(2))
    await each_once(rig, deliveries)


async def wrong_credentials_are_told_and_send_nothing(rig: Rig) -> None:
    connector = rig.connect(wrong_credentials=True)
    if all(finding.ok for finding in await connector.check()):
        raise Fails("check finds nothing wrong")
    try:
        await connector.deliver(Batch(_batch_id(1), [rig.delivery(1)]))
    except TargetDenies:
        if await rig.effects():
            raise Fails("it took effect all the same") from None
        return
    raise Fails("it does not raise TargetDenies")


# ---- in ----


async def read(connector: Connector, request: Read) -> tuple[list[Mapping[str, Any]], str | None]:
    """All records of one run, and the cursor that stands after it."""
    records: list[Mapping[str, Any]] = []
    cursor = request.since
    async for page in connector.read(request):
        records += page.records
        cursor = page.cursor or cursor
    return records, cursor


async def every_record_is_read(fault: Fault | None, rig: Rig) -> None:
    """Small pages bring all records, also when they come in another order or change meanwhile."""
    keys = [f"k{number}" for number in range(5)]
    for key in keys:
        await rig.put(key)
    request = Read(_source(rig), page=2)
    if fault is None:
        records, _ = await read(rig.connect(), request)
    else:
        async with rig.meet(fault):
            records, _ = await read(rig.connect(), request)
    missing = set(keys) - {rig.key(record) for record in records}
    if missing:
        raise Fails(f"never read: {sorted(missing)}")


async def a_change_is_read_from_the_cursor(rig: Rig, *, clock_off: bool = False) -> None:
    """Whatever our own clock says: the cursor is the other system's."""
    for key in ("a", "b"):
        await rig.put(key)
    connector = rig.connect(clock_off=clock_off)
    _, cursor = await read(connector, Read(_source(rig)))
    await rig.put("b")
    records, _ = await read(connector, Read(_source(rig), since=cursor))
    if "b" not in {rig.key(record) for record in records}:
        raise Fails("a change is not seen from the cursor")


async def a_late_commit_lies_in_the_overlap(rig: Rig) -> None:
    for key in ("a", "b"):
        await rig.put(key)
    _, cursor = await read(rig.connect(), Read(_source(rig)))
    await rig.put_late("a")
    records, _ = await read(rig.connect(), Read(_source(rig), since=cursor, overlap_s=OVERLAP_S))
    if "a" not in {rig.key(record) for record in records}:
        raise Fails("what was committed late is not read with an overlap")


async def a_deactivated_record_is_read_as_such(rig: Rig) -> None:
    await rig.put("a")
    _, cursor = await read(rig.connect(), Read(_source(rig)))
    await rig.deactivate("a")
    records, _ = await read(rig.connect(), Read(_source(rig), since=cursor))
    if [rig.active(record) for record in records if rig.key(record) == "a"][-1:] != [False]:
        raise Fails("a deactivated record vanishes instead of being told")


async def both_of_one_barcode_are_read(rig: Rig) -> None:
    await rig.twins("a", "b")
    records, _ = await read(rig.connect(), Read(_source(rig)))
    if not {"a", "b"} <= {rig.key(record) for record in records}:
        raise Fails("one of two records with one barcode is lost")


# ---- all ----


async def every_fault_is_met_or_impossible(rig: Rig) -> None:
    """A connector that reads nothing needs no faults of reading; everything else has a reason or a test."""
    if not rig.writes and set(OUT) - rig.impossible.keys():
        raise Fails(f"say why these cannot happen: {sorted(set(OUT) - rig.impossible.keys())}")
    if rig.source is None and set(IN) - rig.impossible.keys():
        raise Fails(f"say why these cannot happen: {sorted(set(IN) - rig.impossible.keys())}")
    empty = [fault for fault, reason in rig.impossible.items() if not reason]
    if empty:
        raise Fails(f"no reason given for {empty}")


_READING: Mapping[Fault, Check] = {
    Fault.REORDERED: partial(every_record_is_read, Fault.REORDERED),
    Fault.CHANGING_PAGE: partial(every_record_is_read, Fault.CHANGING_PAGE),
    Fault.LATE_COMMIT: a_late_commit_lies_in_the_overlap,
    Fault.CLOCK_OFF: partial(a_change_is_read_from_the_cursor, clock_off=True),
    Fault.DEACTIVATED: a_deactivated_record_is_read_as_such,
    Fault.SHARED_BARCODE: both_of_one_barcode_are_read,
}

_SENDING: Mapping[str, Check] = {
    "what is sent is there once": what_is_sent_is_there_once,
    "a look finds all, before and after": a_look_finds_all_before_and_after,
    "a look changes nothing": a_look_changes_nothing,
    "overlapping batches of a forgetful centre": overlapping_batches_of_a_forgetful_centre,
}

CHECKS: Mapping[str, Check] = {
    "every fault is met or impossible": every_fault_is_met_or_impossible,
    "it says what it is": it_says_what_it_is,
    **_SENDING,
    **{fault.value: partial(each_once_under, fault) for fault in OUT},
    Fault.WRONG_CREDENTIALS.value: wrong_credentials_are_told_and_send_nothing,
    **{fault.value: check for fault, check in _READING.items()},
}
"""All checks by name; those of faults bear the fault's."""


def checks_for(rig: type[Rig]) -> dict[str, Check]:
    """The checks that concern a rig: not those of faults that cannot be, nor of sending where it only reads."""
    left_out = {fault.value for fault in rig.impossible} | (set() if rig.writes else _SENDING.keys())
    return {name: check for name, check in CHECKS.items() if name not in left_out}


def _source(rig: Rig) -> str:
    if rig.source is None:
        raise Fails("the rig names no source, and calls the faults of reading possible")
    return rig.source


def _batch_id(number: int) -> str:
    return f"erp-20261121T100000{number:03d}Z-{f'{number:x}' * 16}"
