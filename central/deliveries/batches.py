"""Take a batch into this node's hands: lease one that was begun, or make one of what is ready.

Invariant: batch id and members are committed before this returns, so no byte of a batch leaves that the database does
not know; the order and the bytes of a batch are the same at every attempt.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from central.catalog.record_kinds import RECORD_KINDS
from central.connectors.base import Connector, Delivery, Idempotency
from central.db import attempts as tries
from central.db import closed_groups
from central.db import deliveries as rows
from central.db.database import AnyRow, Database
from central.deliveries import group_plan, plan
from central.deliveries.plan import BatchState, Candidate
from central.deliveries.records import Member, Records
from central.integrations.integration import Integration
from central.integrations.ways import Way, read_back
from shared.canonical import parse_object
from shared.clock import Clock, rfc3339


@dataclass(frozen=True, slots=True)
class Held:
    """A batch that this node holds until `lease_ends_ms` of its tick.

    `members` and `parts` are by delivery key, in order; a member that is split stands there once for each part.
    `groups` are the members that carry a group, with its number; `unsent` those of them that this centre never sent.
    """

    batch_no: int
    batch_id: str
    state: BatchState
    attempts: int
    lease: str
    lease_ends_ms: int
    members: dict[str, Member]
    parts: dict[str, int]
    deliveries: tuple[Delivery, ...]
    groups: Mapping[Member, int] = field(default_factory=dict)
    unsent: frozenset[Member] = frozenset()


def new_batch_id(integration: str, now_ms: int) -> str:
    """Never the same twice, also after the database was restored; sorts by time."""
    stamp = rfc3339(now_ms).translate(str.maketrans("", "", "-:."))
    return f"{integration}-{stamp}-{secrets.token_hex(8)}"


def lease_s(connector: Connector) -> float:
    """Long enough for a probe and a send at their slowest, short enough to wait for after a node died."""
    return 2 * connector.timeout_s + 5


async def take(
    database: Database,
    clock: Clock,
    node: str,
    one: Integration,
    connector: Connector,
    records: Records,
    allowed: Callable[[], Awaitable[bool]],
) -> Held | None:
    """The next batch of an integration, or None when there is nothing to do for this node now.

    Args:
        allowed: asked once there is something to do, and before anything is leased.
    """
    ask_person = connector.idempotency is Idempotency.AT_LEAST_ONCE
    async with database.read() as connection:
        now_ms = await database.now_ms(connection)
        if one.paused_until_ms > now_ms or not await rows.has_work(
            connection, one.integration_no, now_ms, ask_person
        ):
            return None
    if not await allowed():
        return None
    lease = f"{node}/{secrets.token_hex(4)}"
    # Read before the lease begins, so that we never believe in it longer than the database does.
    lease_ends_ms = clock.tick_ms() + int(lease_s(connector) * 1000)

    async def work(connection: AsyncConnection) -> tuple[int, str, str, int] | None:
        row = await rows.lock_integration(connection, one.integration_no)
        now_ms = await database.now_ms(connection)
        if row is None or not row.enabled or row.paused_until_ms > now_ms:
            return None
        until_ms = now_ms + int(lease_s(connector) * 1000)
        failures = await tries.failures_of(connection, one.integration_no)
        carried = failures > 0 and await tries.is_carried(connection, one.integration_no, now_ms)
        if not plan.may_begin(failures, carried):
            return None
        batch = await rows.lease_open_batch(
            connection, one.integration_no, now_ms, lease, until_ms, ask_person
        )
        if batch is not None:
            return batch.batch_no, batch.batch_id, batch.state, batch.attempts
        members = await _choose(connection, one, connector, records.ways(one))
        if not members:
            return None
        batch_id = new_batch_id(one.name, now_ms)
        batch_no = await rows.create_batch(
            database, connection, one.integration_no, batch_id, members, now_ms, lease, until_ms
        )
        return batch_no, batch_id, BatchState.READY, 0

    taken = await database.run(work)
    if taken is None:
        return None
    batch_no, batch_id, state, attempts = taken
    async with database.read() as connection:
        found = await rows.members(connection, batch_no)
    found = await records.prepare(
        one, (batch_no, lease), found, lambda: new_batch_id(one.name, clock.now_ms())
    )
    ordered = in_order(one, found, records.ways(one))
    groups = {(row.doc_no, row.effect): row for row in found if row.group_no is not None}
    return Held(
        batch_no,
        batch_id,
        BatchState(state),
        attempts,
        lease,
        lease_ends_ms,
        members={delivery.key: member for member, _, delivery in ordered},
        parts={delivery.key: part for _, part, delivery in ordered},
        deliveries=tuple(delivery for _, _, delivery in ordered),
        groups={member: row.group_no for member, row in groups.items()},
        unsent=frozenset(member for member, row in groups.items() if not row.sent),
    )


async def _choose(
    connection: AsyncConnection, one: Integration, connector: Connector, ways: Mapping[str, Way]
) -> list[Member]:
    """Members for a new batch. Those that wait for a parked one are passed over, however many they are."""
    limit = connector.batch_documents
    after = (-1, "")
    while True:
        ready = await rows.ready_deliveries(connection, one.integration_no, after, limit)
        candidates = [
            Candidate(doc_no, effect, *_identity(header), size) for doc_no, effect, header, size in ready
        ]
        undone = await _undone(connection, one, candidates, [header for _, _, header, _ in ready])
        by_text = {_with_hyphens(doc_id): count for doc_id, count in undone.items()}
        candidates = await _with_needs(connection, one, candidates, ways, by_text)
        candidates = await _with_groups(connection, one, candidates, by_text)
        chosen = plan.choose(candidates, by_text, limit, connector.batch_bytes, whole=connector.whole)
        if chosen or len(ready) < limit:
            return [(candidate.doc_no, candidate.effect) for candidate in chosen]
        after = ready[-1].doc_no, ready[-1].effect


async def _undone(
    connection: AsyncConnection, one: Integration, candidates: list[Candidate], headers: Sequence[bytes]
) -> dict[bytes, int]:
    """Of each document that is referred to, how many deliveries are not done.

    A row of the catalog that was parked delays no newer one, which may be its repair.
    """
    refs: set[bytes] = set()
    outdated: set[bytes] = set()
    for candidate, header in zip(candidates, headers, strict=True):
        if candidate.refs:
            found = outdated if parse_object(header, "header")["kind"] in RECORD_KINDS else refs
            found |= {bytes.fromhex(ref.replace("-", "")) for ref in candidate.refs}
    done = (*rows.SETTLED, "parked")
    return {
        **await rows.undone_effects(connection, one.integration_no, outdated, done),
        **await rows.undone_effects(connection, one.integration_no, refs),
    }


async def _with_needs(
    connection: AsyncConnection,
    one: Integration,
    candidates: list[Candidate],
    ways: Mapping[str, Way],
    undone: dict[str, int],
) -> list[Candidate]:
    """The candidates with what they need of their own document; what of it is not done is added to *undone*."""
    needs = {name: tuple(way.deliver.needs) for name, way in ways.items() if way.deliver.needs}
    needy = [candidate for candidate in candidates if candidate.effect in needs]
    if not needy:
        return candidates
    effects = {effect for candidate in needy for effect in needs[candidate.effect]}
    open_ones = await rows.undone_needs(
        connection, one.integration_no, {candidate.doc_no for candidate in needy}, effects
    )
    doc_ids = {candidate.doc_no: candidate.doc_id for candidate in needy}
    undone.update({f"{doc_ids[doc_no]}/{effect}": 1 for doc_no, effect in open_ones})
    return [
        candidate._replace(
            needs=tuple(f"{candidate.doc_id}/{effect}" for effect in needs.get(candidate.effect, ()))
        )
        for candidate in candidates
    ]


async def _with_groups(
    connection: AsyncConnection, one: Integration, candidates: list[Candidate], undone: dict[str, int]
) -> list[Candidate]:
    """The candidates, where those that carry a group need what it corrects, and are as large as all its documents.

    A group goes behind nothing else: two tills' groups may each hold a return of what the other one sold.
    """
    leaders = await closed_groups.leaders(
        connection, one.integration_no, {candidate.doc_no for candidate in candidates}
    )
    corrected = {leads.corrects for leads in leaders.values() if leads.corrects is not None}
    open_ones = await rows.undone_needs(
        connection, one.integration_no, corrected, {effect for _, effect in leaders}
    )

    def alone(candidate: Candidate) -> Candidate:
        leads = leaders.get((candidate.doc_no, candidate.effect))
        if leads is None:
            return candidate
        # Nobody has put them together yet; they are more or less alike.
        size_bytes = candidate.size_bytes * leads.size
        if leads.corrects is None:
            return candidate._replace(refs=(), needs=(), size_bytes=size_bytes)
        need = f"group of {leads.corrects}/{candidate.effect}"
        undone[need] = int((leads.corrects, candidate.effect) in open_ones)
        return candidate._replace(refs=(), needs=(need,), size_bytes=size_bytes)

    return [alone(candidate) for candidate in candidates]


def in_order(
    one: Integration, found: Sequence[AnyRow], ways: Mapping[str, Way]
) -> list[tuple[Member, int, Delivery]]:
    """The members of a batch as deliveries, with the number of their part, each behind those that it refers to."""
    members: list[tuple[Member, list[tuple[Member, int, Delivery]]]] = []
    candidates: list[Candidate] = []
    for at, row in enumerate(found):
        header = parse_object(row.header, "header")
        member = row.doc_no, row.effect
        refs = () if row.group_no is not None else tuple(header.get("refs", ()))
        candidates.append(Candidate(at, row.effect, header["doc_id"], refs, 0))
        delivery = _of_group(one, row) if row.group_no is not None else _of_document(one, row, header)
        members.append(
            (member, [(member, *part) for part in _parts(delivery, row.record, ways.get(row.effect))])
        )
    if not any(candidate.refs for candidate in candidates):
        return [part for _, parts in members for part in parts]
    undone = Counter(candidate.doc_id for candidate in candidates)
    order = plan.choose(candidates, undone, documents_max=len(members), bytes_max=0, whole=True)
    return [part for candidate in order for part in members[candidate.doc_no][1]]


def _of_document(one: Integration, row: AnyRow, header: Mapping[str, Any]) -> Delivery:
    doc_id: str = header["doc_id"]
    return Delivery(
        f"{one.name}:{doc_id}:{row.effect}",
        row.effect,
        doc_id,
        header["kind"],
        header["number"],
        row.station,
        # A till that was moved has sold for its earlier store; only its header knows which.
        header.get("store") or row.store,
        row.header,
        row.payload,
    )


def _of_group(one: Integration, row: AnyRow) -> Delivery:
    """A group is no document that somebody sealed: all that it is stands in its record."""
    key = row.group_key
    identity = group_plan.identity(key, row.correction)
    return Delivery(
        f"{one.name}:{identity}:{row.effect}",
        row.effect,
        identity,
        "group",
        group_plan.name_of(key, row.correction),
        group_plan.common(key, "station"),
        group_plan.common(key, "store"),
        b"{}",
        b"{}",
    )


def _parts(delivery: Delivery, record: str | None, way: Way | None) -> list[tuple[int, Delivery]]:
    """A delivery as it is sent: sealed, as one record, or split into several with keys of their own."""
    target = way.deliver.target if way else None
    if record is None:
        return [(0, delivery)]
    records = read_back(record)
    if way is None or way.split is None:
        return [(0, delivery._replace(target=target, record=records[0]))]
    return [
        (part, delivery._replace(key=f"{delivery.key}:{part + 1}", target=target, record=each))
        for part, each in enumerate(records)
    ]


def _identity(header: bytes) -> tuple[str, tuple[str, ...]]:
    fields = parse_object(header, "header")
    return fields["doc_id"], tuple(fields.get("refs", ()))


def _with_hyphens(doc_id: bytes) -> str:
    text = doc_id.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
