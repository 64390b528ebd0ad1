"""A simulated till: its disk, what POS software does, and the two lines. Decisions are the product's own.

Steps follow `edge_agent/sync/plan.py` and `edge_agent/sync/catalog_plan.py`; a change of the disk is one assignment
between two points at which the machine may die.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from edge_agent.sync import catalog_plan, plan
from edge_agent.sync.plan import LocalEpoch, ServerEpoch
from shared import ids, journal
from shared.canonical import canonical
from shared.digest import Digest, row_hash
from tests.simulation.centre import Centre, Document
from tests.simulation.world import Call, Host, Point, Sleep, Violation, Work, World

BATCH = 4
SESSION_MS = 25_000
RETENTION_MS = 40_000
Rows = dict[tuple[str, str], bytes]


@dataclass(frozen=True, slots=True)
class LocalRows:
    """A scope on the till: its cursor, and the versions of its rows."""

    state: catalog_plan.LocalScope
    rows: Rows


@dataclass
class Disk:
    """What survives: journal.db and catalog.db. A copy of it is a clone or a backup of the till."""

    epochs: dict[bytes, LocalEpoch] = field(default_factory=dict)
    heads: dict[tuple[bytes, int], bytes] = field(default_factory=dict)
    at: dict[tuple[bytes, int], str] = field(default_factory=dict)
    documents: dict[str, Document] = field(default_factory=dict)
    sealed_ms: dict[str, int] = field(default_factory=dict)
    catalog: dict[str, LocalRows] = field(default_factory=dict)

    def copy(self) -> Disk:
        return Disk(**{name: dict(value) for name, value in vars(self).items()})

    def head_at(self, epoch: bytes, seq: int, station: str) -> bytes | None:
        return journal.genesis(station, epoch) if seq == 0 else self.heads.get((epoch, seq))

    def append(self, epoch: bytes, station: str, document: Document, now: int) -> int:
        """Put a document at the end of an epoch; one durable step."""
        have = self.epochs.get(epoch)
        if have is None:
            genesis = journal.genesis(station, epoch)
            have = LocalEpoch(epoch, 1, 0, genesis, 0, genesis)
        seq = have.last + 1
        head = journal.link(have.head, seq, document.header_hash, document.payload_hash)
        self.heads[epoch, seq] = head
        self.at[epoch, seq] = document.doc_id
        self.documents[document.doc_id] = document
        self.sealed_ms.setdefault(document.doc_id, now)
        self.epochs[epoch] = replace(have, last=seq, head=head)
        return seq


@dataclass
class Promises:
    """What tills were told is sold, and what is known of the copies of it."""

    sold: dict[str, str] = field(default_factory=dict)  # doc_id -> reference
    references: dict[str, str] = field(default_factory=dict)
    destroyed: set[str] = field(default_factory=set)  # a disk that held it was lost or set back
    shared_epochs: set[bytes] = field(default_factory=set)  # of a machine that was copied while it ran

    def promise(self, doc_id: str, epoch: bytes, seq: int) -> None:
        reference = ids.reference(epoch, seq)
        self.sold.setdefault(doc_id, reference)
        if self.references.setdefault(reference, doc_id) != doc_id and epoch not in self.shared_epochs:
            raise Violation(f"the reference {reference} stands on two receipts")


class Till(Host):
    """One machine under one identity."""

    epoch_per_start = True  # a planted bug turns it off
    apply_then_cursor = True

    def __init__(
        self, world: World, centre: Centre, promises: Promises, name: str, station: int, key: str
    ) -> None:
        super().__init__(world, name)
        self.centre, self.promises = centre, promises
        self.station, self.key = station, key
        self.disk = Disk()
        self.archives: list[tuple[int, str, Disk]] = []  # earlier identities, being drained
        self.sells = True
        self.replaces = False
        self.retry: Document | None = None
        self.current = b""

    @property
    def code(self) -> str:
        return f"T{self.station}"

    def start(self) -> None:
        epochs = list(self.disk.epochs)
        self.current = self.world.rng.randbytes(16) if self.epoch_per_start or not epochs else epochs[-1]
        self.world.note("start", self.name, self.station, self.current.hex()[:6])
        self.run_lines()

    def run_lines(self) -> None:
        self.world.spawn(self, self.pos())
        self.world.spawn(self, self.upload(self.disk, self.station, self.key, drain=False))
        self.world.spawn(self, self.download())
        for station, key, disk in self.archives:
            self.world.spawn(self, self.upload(disk, station, key, drain=True))

    def resume_elsewhere(self, other: Till) -> None:
        """A virtual machine copied while it runs: the copy goes on in the same epoch, with the same memory."""
        other.disk, other.current, other.up = self.disk.copy(), self.current, True
        # Until one of them starts anew nothing in them differs: the only case in which a reference can repeat.
        self.promises.shared_epochs.add(self.current)
        other.retry = self.retry
        other.run_lines()

    # ---- the shop ----

    def pos(self) -> Work:
        """Sell, cancel, and hand in again what was not answered."""
        rng = self.world.rng
        while True:
            if self.retry is None:
                yield Sleep(rng.randint(800, 4_000))
                if not self.sells or self.world.quiet:
                    continue
                self.retry = self.make_document()
            document = self.retry
            if document.doc_id not in self.disk.documents:
                yield Point("journal.before_commit")
                self.disk.append(self.current, self.code, document, self.world.now)
                yield Point("journal.after_commit")
            else:
                self.world.reached["POS handed in again"] += 1
            epoch, seq = next(place for place, doc_id in self.disk.at.items() if doc_id == document.doc_id)
            self.promises.promise(document.doc_id, epoch, seq)
            self.retry = None

    def make_document(self) -> Document:
        rng = self.world.rng
        doc_id = str(ids.uuid7(self.world.now, rng.randbytes(10)))
        refs: tuple[str, ...] = ()
        sold = list(self.promises.sold)
        if sold and rng.random() < 0.15:
            refs = (sold[rng.randrange(len(sold))],)
            if refs[0] in self.promises.destroyed:
                refs = ()
        header = canonical({"doc_id": doc_id, "refs": refs})
        payload = canonical({"total_minor": rng.randint(1, 99_999)})
        sealed = journal.seal(b"\0" * 32, 1, header, payload)
        return Document(doc_id, refs, header, payload, sealed.header_hash, sealed.payload_hash)

    # ---- up ----

    def upload(self, disk: Disk, station: int, key: str, drain: bool) -> Work:
        world, code = self.world, f"T{station}"
        cursors: dict[bytes, ServerEpoch] | None = None
        opened = 0
        while True:
            if cursors is not None and world.now - opened > SESSION_MS:
                cursors = None
            step = plan.next_step(list(disk.epochs.values()), cursors, BATCH)
            if isinstance(step, plan.OpenSession):
                cursors = yield from self.open_session(disk, station, key, drain)
                opened = world.now
                if cursors is None:
                    yield Sleep(world.rng.randint(1_000, 5_000))
            elif isinstance(step, plan.Fold):
                yield Point("fold.before_commit")
                self.fold(disk, code, step)
                cursors = None
            elif isinstance(step, plan.Push):
                assert cursors is not None
                good = yield from self.push(disk, station, key, step, cursors)
                if not good:
                    cursors = None
                    yield Sleep(world.rng.randint(100, 2_000))
                self.purge(disk, code)
            else:
                yield Sleep(world.rng.randint(600, 2_500))

    def open_session(self, disk: Disk, station: int, key: str, drain: bool) -> Work:
        nonce = yield Call("hello", None)
        if nonce is None:
            return None
        claims = [epoch.epoch for epoch in disk.epochs.values() if not epoch.folded]
        body = {
            "station": station,
            "key": key,
            "nonce": nonce,
            "current": self.current,
            "epochs": claims,
            "drain": drain,
        }
        answer = yield Call("session", body)
        if answer is None:
            return None
        if answer[0] == "refused":
            if answer[1] == "unknown-station":
                self.world.reached["forgotten by the centre"] += 1
                yield Call("enroll", (station, key, self.replaces))
            return None
        cursors = {}
        for epoch, row in answer[1].items():
            local_head = disk.head_at(epoch, row.last, f"T{station}")
            cursors[epoch] = ServerEpoch(row.last, row.head, row.safe_seq, row.safe_head, local_head)
            self.learn_safe(disk, epoch, row.safe_seq, row.safe_head)
        return cursors

    def learn_safe(self, disk: Disk, epoch: bytes, safe_seq: int, safe_head: bytes) -> None:
        have = disk.epochs.get(epoch)
        if have and safe_seq > have.safe_seq and disk.heads.get((epoch, safe_seq)) == safe_head:
            disk.epochs[epoch] = replace(have, safe_seq=safe_seq, safe_head=safe_head)

    def fold(self, disk: Disk, code: str, step: plan.Fold) -> None:
        self.world.reached["fold"] += 1
        if step.epoch == self.current:
            self.current = self.world.rng.randbytes(16)
        have = disk.epochs[step.epoch]
        target = self.current
        for seq in range(max(step.after + 1, have.first), have.last + 1):
            disk.append(target, code, disk.documents[disk.at[step.epoch, seq]], self.world.now)
        disk.epochs[step.epoch] = replace(have, folded=True)
        self.world.note("fold", self.name, step.epoch.hex()[:6], step.after)

    def push(
        self, disk: Disk, station: int, key: str, step: plan.Push, cursors: dict[bytes, ServerEpoch]
    ) -> Work:
        epoch, code = step.epoch, f"T{station}"
        documents = [disk.documents[disk.at[epoch, seq]] for seq in range(step.first_seq, step.last_seq + 1)]
        body = {
            "station": station,
            "key": key,
            "epoch": epoch,
            "first_seq": step.first_seq,
            "prev_head": disk.head_at(epoch, step.first_seq - 1, code),
            "documents": documents,
        }
        restores = self.centre.restores
        answer = yield Call("push", body)
        if answer is None:
            return True  # the same step again; a repeat is harmless
        if answer[0] == "refused":
            return False
        _, acked_seq, acked_head, safe_seq, safe_head = answer
        local_head = disk.head_at(epoch, acked_seq, code)
        if restores == self.centre.restores and (station, epoch, acked_seq) not in self.centre.store.journal:
            raise Violation(f"{self.name} was told that {acked_seq} is stored, and it is not (I7)")
        if not plan.confirms(local_head, acked_head):
            return False
        yield Point("push.before_cursor")
        cursors[epoch] = ServerEpoch(acked_seq, acked_head, safe_seq, safe_head, local_head)
        self.learn_safe(disk, epoch, safe_seq, safe_head)
        return True

    def purge(self, disk: Disk, code: str) -> None:
        for epoch, have in list(disk.epochs.items()):
            old = 0
            for seq in range(have.first, have.last + 1):
                if disk.sealed_ms[disk.at[epoch, seq]] > self.world.now - RETENTION_MS:
                    break
                old = seq
            upto = plan.purge_to(have, disk.heads.get((epoch, have.safe_seq)), old)
            if upto:
                self.world.reached["purge"] += 1
                for seq in range(have.first, upto + 1):
                    doc_id = disk.at.pop((epoch, seq))
                    if doc_id not in disk.at.values():
                        del disk.documents[doc_id]
                    if seq < upto:
                        del disk.heads[epoch, seq]
                disk.epochs[epoch] = replace(have, first=upto + 1)

    # ---- down ----

    def download(self) -> Work:
        world = self.world
        while True:
            offers = yield Call("manifest", None)
            if offers is None:
                yield Sleep(world.rng.randint(500, 2_000))
                continue
            local = {name: rows.state for name, rows in self.disk.catalog.items()}
            step = catalog_plan.next_catalog_step(local, offers)
            if isinstance(step, catalog_plan.LoadChanges):
                yield from self.load_changes(step)
            elif isinstance(step, catalog_plan.DropScopes):
                for name in step.scopes:
                    del self.disk.catalog[name]
            elif isinstance(step, catalog_plan.Rerank):
                for name, rank in step.ranks:
                    have = self.disk.catalog[name]
                    self.disk.catalog[name] = replace(have, state=replace(have.state, rank=rank))
            else:
                yield Sleep(world.rng.randint(1_000, 5_000))

    def load_changes(self, step: catalog_plan.LoadChanges) -> Work:
        offer, name = step.offer, step.offer.scope
        have = self.disk.catalog.get(name)
        rows: Rows = {} if step.replace or have is None else dict(have.rows)
        after, staged, end = step.after, [], None
        while end is None:
            answer = yield Call("changes", (name, offer.gen, after))
            if answer is None or answer[0] == "gone":
                return
            staged += answer[1]
            after = staged[-1][0] if staged else after
            end = answer[2]
            yield Point("catalog.stage")
        for _, key, version, _ in staged:
            if version is None:
                rows.pop(key, None)
            else:
                rows[key] = version
        head, digest = end
        state = catalog_plan.LocalScope(offer.gen, head, offer.rank, digest.count, digest.hex)
        if not self.apply_then_cursor:
            self.disk.catalog[name] = LocalRows(state, have.rows if have else {})
        yield Point("catalog.apply")
        self.disk.catalog[name] = LocalRows(state, rows)
        self.check_catalog()

    def check_catalog(self) -> None:
        """I13: rows and cursor of every scope are of one published state."""
        for name, local in self.disk.catalog.items():
            if digest_of(local.rows).hex != local.state.digest:
                raise Violation(f"{self.name} shows a state of {name} that was never published (I13)")

    def power_on(self) -> None:
        self.check_catalog()
        super().power_on()


def digest_of(rows: Rows) -> Digest:
    digest = Digest()
    for (entity, key), version in rows.items():
        digest = digest.add(row_hash(entity, key, version))
    return digest
