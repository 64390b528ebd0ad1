"""The simulated centre: two nodes over one database, an ERP behind them. Decisions are the product's own.

A handler reads under the station's lock, decides with `central/intake/decide.py`, passes a point where its node may
die, and commits by one assignment; what it has not committed never happened. Deliveries follow
`central/deliveries/plan.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from central.connectors.base import Idempotency
from central.deliveries import plan as delivery_plan
from central.deliveries.plan import BatchFacts, BatchState, Failure
from central.intake import decide, duplicates
from central.intake.decide import (
    Apply,
    EpochFacts,
    Gate,
    KeyState,
    Known,
    PushClaim,
    SessionClaim,
    StationFacts,
)
from central.intake.submitted import doc_id_of
from shared import journal
from shared.canonical import canonical, sha256
from shared.catalog import changes as catalog_changes
from shared.digest import Digest
from shared.protocol.messages import ScopeOffer
from tests.simulation.webshop import DESK
from tests.simulation.world import Host, Lock, Point, Sleep, Violation, Work, World

APPLY_BATCH = 12
LEASE_MS = 30_000
ERP_TIMEOUT_S = 10.0
PAGE_ROWS = 4
PAUSE_S = 1.0
CALM_MS = 500
"""An ERP that fails again and again is left alone so long at least."""


@dataclass(frozen=True, slots=True)
class Document:
    """What a till made: ids, what it corrects, and its bytes."""

    doc_id: str
    refs: tuple[str, ...]
    header: bytes
    payload: bytes
    header_hash: bytes
    payload_hash: bytes


@dataclass(frozen=True, slots=True)
class EpochRow:
    last: int
    head: bytes
    safe_seq: int = 0
    safe_head: bytes = b""


@dataclass(frozen=True, slots=True)
class StationRow:
    quarantined: bool = False
    newest_nonce: int = -1
    current: bytes | None = None
    were_current: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True)
class Scope:
    gen: str
    head: int
    digest: Digest
    rows: dict[
        tuple[str, str], tuple[int, bytes | None, bytes | None]
    ]  # (entity, key) -> (seq, version, payload)


@dataclass
class Store:
    """The centre's database. A copy of it is a backup."""

    stations: dict[int, StationRow] = field(default_factory=dict)
    keys: dict[tuple[int, str], KeyState] = field(default_factory=dict)
    epochs: dict[tuple[int, bytes], EpochRow] = field(default_factory=dict)
    journal: dict[tuple[int, bytes, int], tuple[int, bytes]] = field(
        default_factory=dict
    )  # -> (doc_no, head)
    bodies: dict[int, tuple[int, Document]] = field(default_factory=dict)
    gate: dict[str, tuple[int, Known]] = field(default_factory=dict)
    pending: set[int] = field(default_factory=set)
    waiting: dict[int, str] = field(default_factory=dict)
    held: dict[int, str] = field(default_factory=dict)
    rows: Counter[int] = field(default_factory=Counter)
    effects: Counter[str] = field(default_factory=Counter)  # the same rows by doc_id: never above one
    deliveries: dict[int, str] = field(default_factory=dict)  # doc_no -> ready | sent | unknown | done
    leases: dict[int, int] = field(default_factory=dict)  # doc_no -> until when a node has it in its hands
    rests: dict[int, int] = field(default_factory=dict)  # doc_no -> until when nobody looks
    failures: int = 0  # of the ERP, in a row
    failed_ms: int = 0
    paused_ms: int = 0  # until when nothing goes to the ERP
    scopes: dict[str, Scope] = field(default_factory=dict)
    answers: dict[str, tuple[str, str]] = field(default_factory=dict)  # of a foreign system's keys
    newest: dict[int, duplicates.Known] = field(default_factory=dict)  # of a foreign system's ids
    next_doc: int = 1

    def copy(self) -> Store:
        return Store(
            **{name: value.copy() if hasattr(value, "copy") else value for name, value in vars(self).items()}
        )

    def applied(self, doc_id: str) -> bool:
        known = self.gate.get(doc_id)
        return known is not None and self.rows[known[0]] > 0


@dataclass
class Erp:
    """A foreign system without an idempotency key of its own, but with a look-up by reference."""

    effects: Counter[str] = field(default_factory=Counter)
    ill: bool = False  # four of five requests fail; of those that change something the answer is lost


@dataclass
class Centre:
    """What the nodes share: database, backups, ERP, and the operator's knowledge."""

    world: World
    store: Store = field(default_factory=Store)
    erp: Erp = field(default_factory=Erp)
    backup: Store | None = None
    healthy: set[int] = field(
        default_factory=set
    )  # stations that were never copied, nor two machines at once
    ever_quarantined: set[int] = field(default_factory=set)
    restores: int = 0
    minted: set[str] = field(default_factory=set)  # doc_ids that foreign documents ever got
    # Shells that a planted bug changes.
    keeps_answers: bool = True
    ids_follow: bool = True
    commit_then_answer: bool = True
    apply_in_one: bool = True

    def offers(self) -> list[ScopeOffer]:
        return [
            ScopeOffer(
                scope=name,
                gen=scope.gen,
                rank=rank,
                head=scope.head,
                count=scope.digest.count,
                digest=scope.digest.hex,
            )
            for rank, (name, scope) in enumerate(sorted(self.store.scopes.items()))
        ]

    def publish(self, name: str, changed: dict[tuple[str, str], bytes | None]) -> None:
        """HQ changes a scope in one transaction."""
        scope = self.store.scopes[name]
        difference = catalog_changes.differences(changed, {key: row[1] for key, row in scope.rows.items()})
        rows, head = dict(scope.rows), scope.head
        for row in difference.rows:
            head += 1
            rows[row.entity, row.key] = (head, row.version, row.payload)
        digest = scope.digest.shift(difference.count, difference.total)
        self.store.scopes[name] = Scope(scope.gen, head, digest, rows)

    def take_backup(self) -> None:
        """A verified backup: from now on all that is in it is safe."""
        self.backup = self.store.copy()
        for key, row in self.store.epochs.items():
            self.store.epochs[key] = replace(row, safe_seq=row.last, safe_head=row.head)
        self.world.reached["backup"] += 1

    def roll_back(self) -> None:
        """The database is lost and restored from the newest backup; then `after-restore` runs."""
        assert self.backup is not None
        for node in self.world.nodes:
            node.crash()
        self.store = self.backup.copy()
        self.restores += 1
        for name, scope in self.store.scopes.items():
            self.store.scopes[name] = replace(scope, gen=f"{self.world.rng.getrandbits(64):016x}")
        self.world.reached["centre rolled back"] += 1
        self.world.note("centre rolled back")

    def release(self, station: int) -> None:
        """HQ has found the copy: apply what was held, forget which epochs were current."""
        store = self.store
        for doc_no, why in list(store.held.items()):
            if store.bodies[doc_no][0] == station and why != "conflict":
                del store.held[doc_no]
                store.pending.add(doc_no)
        row = store.stations[station]
        store.stations[station] = replace(row, quarantined=False, current=None, were_current=frozenset())
        self.world.note("released", station)


class Node(Host):
    """One central process."""

    def __init__(self, world: World, centre: Centre, name: str) -> None:
        super().__init__(world, name)
        self.centre = centre

    def start(self) -> None:
        self.world.spawn(self, self.apply_worker())
        self.world.spawn(self, self.delivery_worker())

    def serve(self, operation: str, body: Any, back: Callable[[Any], None]) -> Work:
        result = yield from getattr(self, operation)(body, back)
        return result

    # ---- stations ----

    def hello(self, body: Any, back: Any) -> Work:
        yield Sleep(1)
        return self.world.now

    def enroll(self, body: tuple[int, str, bool], back: Any) -> Work:
        station, key, replaces = body
        yield Lock(("station", station))
        yield Point("enroll.before_commit")
        store = self.centre.store
        store.stations.setdefault(station, StationRow())
        if store.keys.get((station, key)) is None:
            if replaces:
                for other in [known for known in store.keys if known[0] == station]:
                    store.keys[other] = KeyState.RETIRED
            store.keys[station, key] = KeyState.ACTIVE
        return "enrolled"

    def session(self, body: dict[str, Any], back: Any) -> Work:
        station = body["station"]
        yield Lock(("station", station))
        store = self.centre.store
        key, row = store.keys.get((station, body["key"])), store.stations.get(station)
        if key is None or row is None:
            return ("refused", "unknown-station", None)
        facts = StationFacts(row.quarantined, row.newest_nonce, row.current, row.were_current)
        claim = SessionClaim(body["nonce"], body["current"], body["drain"], key)
        decision = decide.decide_session(facts, claim)
        if decision.refusal:
            self.world.reached[decision.refusal] += 1
            return ("refused", decision.refusal, None)
        yield Point("session.before_commit")
        if decision.counts:
            store.stations[station] = StationRow(
                row.quarantined or decision.quarantine,
                body["nonce"],
                body["current"],
                row.were_current | {body["current"]},
            )
        if decision.quarantine:
            self.world.note("quarantine", station)
            self.world.reached["quarantine"] += 1
            self.centre.ever_quarantined.add(station)
            if station in self.centre.healthy:
                raise Violation(f"station {station} was never copied, yet it is quarantined")
        yield Point("session.after_commit")
        known = {
            epoch: store.epochs[station, epoch]
            for epoch in body["epochs"]
            if (station, epoch) in store.epochs
        }
        return ("session", known)

    def push(self, body: dict[str, Any], back: Callable[[Any], None]) -> Work:
        station, epoch, documents = body["station"], body["epoch"], body["documents"]
        yield Lock(("station", station))
        store = self.centre.store
        key, row = store.keys.get((station, body["key"])), store.stations.get(station)
        if key is None or row is None:
            return ("refused", "unknown-station", None)
        genesis = journal.genesis(f"T{station}", epoch)
        heads = journal.heads(
            body["prev_head"], body["first_seq"], [(d.header_hash, d.payload_hash) for d in documents]
        )
        have = store.epochs.get((station, epoch))
        facts = EpochFacts(have.last, have.head) if have else None
        claim = PushClaim(body["first_seq"], body["prev_head"], heads)
        stored = {
            seq: store.journal[station, epoch, seq][1]
            for seq in decide.heads_needed(facts, claim)
            if (station, epoch, seq) in store.journal
        }
        decision = decide.decide_push(key, row.quarantined, facts, genesis, claim, stored)
        last, head = (have.last, have.head) if have else (0, genesis)
        if decision.refusal:
            self.world.reached[decision.refusal] += 1
            return ("refused", decision.refusal, (last, head))
        if not self.centre.commit_then_answer:
            back(("acked", claim.last_seq, heads[-1], 0, b""))
        yield Point("intake.before_commit")
        self._store(station, epoch, claim, documents, decision, last)
        now = store.epochs[station, epoch]
        yield Point("intake.after_commit")
        acked_seq = claim.last_seq
        return ("acked", acked_seq, heads[-1], now.safe_seq, now.safe_head)

    def _store(
        self,
        station: int,
        epoch: bytes,
        claim: PushClaim,
        documents: list[Document],
        decision: decide.PushDecision,
        last: int,
    ) -> None:
        store = self.centre.store
        for index in range(decision.skip, len(documents)):
            document, seq = documents[index], claim.first_seq + index
            known = store.gate.get(document.doc_id)
            verdict = decide.decide_document(known[1] if known else None, station, document.payload_hash)
            if verdict is Gate.ALIAS:
                assert known is not None
                doc_no = known[0]
                self.world.reached["alias"] += 1
            else:
                doc_no = store.next_doc
                store.next_doc += 1
                store.bodies[doc_no] = (station, document)
                if verdict is Gate.NEW:
                    store.gate[document.doc_id] = (doc_no, Known(station, document.payload_hash))
                if verdict is Gate.CONFLICT:
                    store.held[doc_no] = "conflict"
                elif decision.held:
                    store.held[doc_no] = "quarantine"
                    self.world.reached["held"] += 1
                else:
                    store.pending.add(doc_no)
            position = (station, epoch, seq)
            if position in store.journal and store.journal[position][1] != claim.heads[index]:
                raise Violation(f"position {station}/{epoch.hex()[:6]}/{seq} was overwritten (I8)")
            store.journal[position] = (doc_no, claim.heads[index])
        if decision.skip < len(documents):
            have = store.epochs.get((station, epoch), EpochRow(0, b""))
            store.epochs[station, epoch] = replace(have, last=claim.last_seq, head=claim.heads[-1])
        elif (station, epoch) not in store.epochs:
            raise Violation("an unknown epoch cannot be known already")

    # ---- foreign systems ----

    def foreign(self, body: tuple[str, int, int, str, int], back: Any) -> Work:
        """A posted document: `central/intake/duplicates.py` decides; document, key and answer are one commit."""
        key, source_id, content, policy, restores = body
        yield Lock(("station", DESK))
        if restores != self.centre.restores:
            return None
        store = self.centre.store
        if key in store.answers:
            self.world.reached["first answer again"] += 1
            return store.answers[key]
        known = store.newest.get(source_id)
        payload = canonical({"id": source_id, "content": content})
        content_hash = sha256(payload)
        outcome = duplicates.decide(duplicates.Policy(duplicate=policy), known, content_hash)  # type: ignore[arg-type]
        self.world.reached[f"foreign {outcome}"] += 1
        if outcome in (duplicates.Outcome.ACCEPTED, duplicates.Outcome.UPDATED):
            version = known.version + 1 if known else 1
            said = (key,) if policy == "off" else (str(source_id), str(version))
            if not self.centre.ids_follow:
                said = (*said, str(self.world.rng.random()))
            doc_id = str(doc_id_of("simulated", *said, content_hash.hex()))
            header = canonical({"doc_id": doc_id})
            document = Document(doc_id, (), header, payload, sha256(header), content_hash)
            yield Point("foreign.before_commit")
            doc_no = store.next_doc
            store.next_doc += 1
            store.bodies[doc_no] = (DESK, document)
            store.gate[doc_id] = (doc_no, Known(DESK, content_hash))
            store.pending.add(doc_no)
            store.newest[source_id] = duplicates.Known(doc_no, version, content_hash)
            self.centre.minted.add(doc_id)
        else:
            assert known is not None
            doc_id = store.bodies[known.doc_no][1].doc_id
        answer = (outcome.value, doc_id)
        if self.centre.keeps_answers and outcome is not duplicates.Outcome.REFUSED:
            store.answers[key] = answer
        yield Point("foreign.after_commit")
        return answer

    # ---- applying ----

    def apply_worker(self) -> Work:
        while True:
            yield Sleep(self.world.rng.randint(700, 1_800))
            store = self.centre.store
            ready = [no for no, ref in store.waiting.items() if store.applied(ref)]
            yield Lock("apply")
            store = self.centre.store
            batch = sorted(store.pending)[:APPLY_BATCH] + [no for no in ready if no in store.waiting]
            if batch:
                yield Point("apply.before_commit")
                yield from self._apply(batch)
                yield Point("apply.after_commit")
            for task in self.tasks:
                if "apply" in task.locks:
                    task.locks.remove("apply")
                    self.world.unlock("apply")

    def _apply(self, batch: list[int]) -> Work:
        store = self.centre.store
        applied: set[str] = set()
        rows: list[int] = []
        for doc_no in batch:
            _, document = store.bodies[doc_no]
            done = applied | {ref for ref in document.refs if store.applied(ref)}
            verdict = decide.decide_apply(True, True, document.refs, done)
            if verdict is Apply.WAIT_REFERENCE:
                store.pending.discard(doc_no)
                store.waiting[doc_no] = document.refs[0]
                self.world.reached["waited for its sale"] += 1
                continue
            applied.add(document.doc_id)
            rows.append(doc_no)
        for doc_no in rows:
            store.rows[doc_no] += 1
            store.deliveries.setdefault(doc_no, "ready")
            self._count_effect(store, doc_no)
        if not self.centre.apply_in_one:
            yield Point("apply.between")
        for doc_no in rows:
            store.pending.discard(doc_no)
            store.waiting.pop(doc_no, None)

    def _count_effect(self, store: Store, doc_no: int) -> None:
        doc_id = store.bodies[doc_no][1].doc_id
        store.effects[doc_id] += 1
        if store.effects[doc_id] > 1:
            raise Violation(f"{doc_id} has its effects twice (I2)")

    # ---- deliveries ----

    def delivery_worker(self) -> Work:
        while True:
            yield Sleep(self.world.rng.randint(700, 1_800))
            store, now = self.centre.store, self.world.now
            ready = [
                no
                for no, state in store.deliveries.items()
                if state != "done" and store.leases.get(no, 0) <= now and store.rests.get(no, 0) <= now
            ][:6]
            for doc_no in ready:
                if store is not self.centre.store or store.leases.get(doc_no, 0) > self.world.now:
                    break
                if not self._may_take(store):
                    break
                store.leases[doc_no] = self.world.now + LEASE_MS
                yield Point("delivery.leased")
                yield from self._deliver(store, doc_no)

    def _may_take(self, store: Store) -> bool:
        """Whether this node may take a delivery into its hands; the circuit is the product's own."""
        now = self.world.now
        carried = any(until > now for until in store.leases.values())
        if store.paused_ms > now or not delivery_plan.may_begin(store.failures, carried):
            return False
        if store.failures >= delivery_plan.BREAK_AFTER:
            self.world.reached["open circuit tried"] += 1
            if carried:
                raise Violation("an open circuit is tried by two at once")
            if now - store.failed_ms < CALM_MS:
                raise Violation("the ERP fails, and is asked for something else at once")
        return True

    def _deliver(self, store: Store, doc_no: int) -> Work:
        """One delivery in the hands of this node: the steps of `central/deliveries/plan.py`, a look-up at the ERP."""
        key = store.bodies[doc_no][1].doc_id
        probed, left = False, 1
        leased_ms = self.world.now
        while True:
            facts = BatchFacts(
                BatchState(store.deliveries[doc_no]),
                left,
                Idempotency.LOOK_UP,
                probed,
                lease_left_s=(LEASE_MS - (self.world.now - leased_ms)) / 1000,
                timeout_s=ERP_TIMEOUT_S,
            )
            step = delivery_plan.next_step(facts)
            yield Sleep(self.world.rng.randint(5, 40))
            if isinstance(step, delivery_plan.Probe):
                if self.erp_fails():
                    self._failed(store, doc_no, Failure.AWAY)
                    return
                probed, left = True, 0 if self.centre.erp.effects[key] else 1
                self.world.reached["probe found it"] += 1 - left
            elif isinstance(step, delivery_plan.Send):
                store.deliveries[doc_no] = "sent"
                yield Point("delivery.before_send")
                answered = self.erp_takes(key)
                yield Point("delivery.after_send")
                if not answered:
                    store.deliveries[doc_no] = "unknown"
                    self._failed(store, doc_no, Failure.NO_ANSWER)
                    return
                left, store.failures = 0, 0
            else:
                if isinstance(step, delivery_plan.Finish):
                    store.deliveries[doc_no] = "done"
                store.leases.pop(doc_no, None)
                return

    def _failed(self, store: Store, doc_no: int, failure: Failure) -> None:
        """What follows by `central/deliveries/plan.py` when no plain answer came."""
        now, store.failures, store.failed_ms = self.world.now, store.failures + 1, self.world.now
        store.leases.pop(doc_no, None)
        match delivery_plan.after_failure(failure, 0, PAUSE_S, ERP_TIMEOUT_S, store.failures):
            case delivery_plan.Trip(delay_s, pause_s):
                self.world.reached["circuit broken"] += 1
                store.rests[doc_no] = now + int(delay_s * 1_000)
                store.paused_ms = now + int(pause_s * 1_000)
            case delivery_plan.Again(delay_s):
                store.rests[doc_no] = now + int(delay_s * 1_000)
            case delivery_plan.Pause(delay_s):
                store.paused_ms = now + int(delay_s * 1_000)

    def erp_fails(self) -> bool:
        return self.centre.erp.ill and not self.world.quiet and self.world.rng.random() < 0.8

    def erp_takes(self, key: str) -> bool:
        """The ERP has no idempotency key of its own: what is sent twice is there twice. False: its answer was lost."""
        effects = self.centre.erp.effects
        effects[key] += 1
        if effects[key] > 1:
            raise Violation(f"{key} reached the ERP twice (I19)")
        lost = self.erp_fails() or (not self.world.quiet and self.world.rng.random() < 0.05)
        self.world.reached["ERP's answer lost"] += lost
        return not lost

    # ---- catalog ----

    def manifest(self, body: Any, back: Any) -> Work:
        yield Sleep(1)
        return self.centre.offers()

    def changes(self, body: tuple[str, str, int], back: Any) -> Work:
        name, gen, after = body
        yield Sleep(1)
        scope = self.centre.store.scopes.get(name)
        if scope is None or scope.gen != gen or after > scope.head:
            self.world.reached["410"] += 1
            return ("gone", None, None)
        rows = sorted(
            (seq, key, version, payload) for key, (seq, version, payload) in scope.rows.items() if seq > after
        )
        page = rows[:PAGE_ROWS]
        last = len(page) == len(rows)
        return ("page", page, (scope.head, scope.digest) if last else None)
