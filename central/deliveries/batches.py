"""Take a batch into this node's hands: lease one that was begun, or make one of what is ready.

Invariant: batch id and members are committed before this returns, so no byte of a batch leaves that the database does
not know; the order and the bytes of a batch are the same at every attempt.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from central.connectors.base import Connector, Delivery, Idempotency
from central.db import attempts as tries
from central.db import deliveries as rows
from central.db.database import AnyRow, Database
from central.deliveries import plan
from central.deliveries.plan import BatchState, Candidate
from central.integrations.integration import Integration
from shared.canonical import parse_object
from shared.clock import Clock, rfc3339

Member = tuple[int, str]
"""(doc_no, effect): how a delivery of one integration is named in the database."""


@dataclass(frozen=True, slots=True)
class Held:
    """A batch that this node holds until `lease_ends_ms` of its tick. `members` are by delivery key, in order."""

    batch_no: int
    batch_id: str
    state: BatchState
    attempts: int
    lease: str
    lease_ends_ms: int
    members: dict[str, Member]
    deliveries: tuple[Delivery, ...]


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
        members = await _choose(connection, one, connector)
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
    ordered = in_order(one.name, found)
    return Held(
        batch_no,
        batch_id,
        BatchState(state),
        attempts,
        lease,
        lease_ends_ms,
        {delivery.key: member for member, delivery in ordered},
        tuple(delivery for _, delivery in ordered),
    )


async def _choose(connection: AsyncConnection, one: Integration, connector: Connector) -> list[Member]:
    """Members for a new batch. Those that wait for a parked one are passed over, however many they are."""
    limit = connector.batch_documents
    after = (-1, "")
    while True:
        ready = await rows.ready_deliveries(connection, one.integration_no, after, limit)
        candidates = [
            Candidate(doc_no, effect, *_identity(header), size) for doc_no, effect, header, size in ready
        ]
        refs = {bytes.fromhex(ref.replace("-", "")) for candidate in candidates for ref in candidate.refs}
        undone = await rows.undone_effects(connection, one.integration_no, refs)
        by_text = {_with_hyphens(doc_id): count for doc_id, count in undone.items()}
        chosen = plan.choose(candidates, by_text, limit, connector.batch_bytes, whole=connector.whole)
        if chosen or len(ready) < limit:
            return [(candidate.doc_no, candidate.effect) for candidate in chosen]
        after = ready[-1].doc_no, ready[-1].effect


def in_order(integration: str, found: Sequence[AnyRow]) -> list[tuple[Member, Delivery]]:
    """The members of a batch as deliveries, each behind those that it refers to."""
    members: list[tuple[Member, Delivery]] = []
    refs: list[tuple[str, ...]] = []
    for doc_no, effect, sealed_header, payload, station, store in found:
        header = parse_object(sealed_header, "header")
        doc_id: str = header["doc_id"]
        refs.append(tuple(header.get("refs", ())))
        delivery = Delivery(
            f"{integration}:{doc_id}:{effect}",
            effect,
            doc_id,
            header["kind"],
            header["number"],
            station,
            # A till that was moved has sold for its earlier store; only its header knows which.
            header.get("store") or store,
            sealed_header,
            payload,
        )
        members.append(((doc_no, effect), delivery))
    if not any(refs):
        return members
    undone = Counter(delivery.doc_id for _, delivery in members)
    candidates = [
        Candidate(at, delivery.effect, delivery.doc_id, refs[at], 0)
        for at, (_, delivery) in enumerate(members)
    ]
    order = plan.choose(candidates, undone, documents_max=len(members), bytes_max=0, whole=True)
    return [members[candidate.doc_no] for candidate in order]


def _identity(header: bytes) -> tuple[str, tuple[str, ...]]:
    fields = parse_object(header, "header")
    return fields["doc_id"], tuple(fields.get("refs", ()))


def _with_hyphens(doc_id: bytes) -> str:
    text = doc_id.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
