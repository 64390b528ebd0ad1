"""One seed: a chain of tills, everything that may go wrong with it, then quiet, then the balance.

Every seed has a restored till, a cloned one (from a copied disk or a copied running machine, by the seed), a
replaced machine whose predecessor goes on selling, two rollbacks of the centre, backups with purges, two nodes,
crashes at any point, and requests that are lost, doubled and late.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from shared import journal
from shared.canonical import canonical
from shared.digest import Digest
from tests.simulation.centre import Centre, Node, Scope
from tests.simulation.station import Promises, Till, digest_of
from tests.simulation.webshop import Webshop
from tests.simulation.world import Violation, World

STATIONS = 3
BUSY_MS = 150_000
QUIET_MS = 900_000
SCOPES = ("base", "pricelist/1")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a seed came to."""

    seed: int
    log_hash: str
    events: int
    sold: int
    reached: Counter[str]


class Scenario:
    """The chain of one seed."""

    def __init__(self, seed: int, plant: Callable[[Scenario], None] | None = None) -> None:
        self.world = world = World(seed)
        self.centre = centre = Centre(world)
        self.promises = Promises()
        world.nodes = [Node(world, centre, "node-a"), Node(world, centre, "node-b")]
        for name in SCOPES:
            centre.store.scopes[name] = Scope(f"{world.rng.getrandbits(64):016x}", 0, Digest(), {})
        self.tills = [self.new_till(f"till-{n}", n, f"key-{n}") for n in range(1, STATIONS + 1)]
        self.webshop = Webshop(world, centre)
        self.next_station = STATIONS + 1
        centre.healthy = {1, 2, 3}
        if plant:
            plant(self)

    def new_till(self, name: str, station: int, key: str) -> Till:
        return Till(self.world, self.centre, self.promises, name, station, key)

    # ---- what goes wrong ----

    def schedule(self) -> None:
        world, rng = self.world, self.world.rng
        for host in [*world.nodes, *self.tills, self.webshop]:
            world.at(rng.randint(0, 500), host.power_on)
        for at in range(12_000, BUSY_MS, 17_000):
            world.at(at + rng.randint(0, 5_000), self.backup)
        for at in range(500, BUSY_MS, 6_000):
            world.at(at + rng.randint(0, 3_000), self.publish)
        world.at(rng.randint(30_000, 60_000), self.restore_till)
        world.at(rng.randint(20_000, 70_000), self.clone_till)
        world.at(rng.randint(20_000, 80_000), self.replace_till)
        world.at(rng.randint(40_000, 80_000), self.centre.roll_back)
        world.at(rng.randint(90_000, BUSY_MS), self.centre.roll_back)
        for host in [*world.nodes, *self.tills]:
            world.at(rng.randint(5_000, BUSY_MS), host.crash)
        for at in (20_000, 100_000):
            ill_at = at + rng.randint(0, 10_000)
            world.at(ill_at, lambda: self.erp_is(ill=True))
            world.at(ill_at + 15_000, lambda: self.erp_is(ill=False))
        for at in range(30_000, BUSY_MS + QUIET_MS, 15_000):
            world.at(at, self.operator_looks)

    def backup(self) -> None:
        self.centre.take_backup()
        self.saved = self.tills[0].disk.copy()

    def publish(self) -> None:
        rng = self.world.rng
        changed: dict[tuple[str, str], bytes | None] = {}
        for _ in range(rng.randint(1, 6)):
            key = ("product", f"A{rng.randrange(12)}")
            changed[key] = None if rng.random() < 0.2 else canonical({"name": rng.randrange(50)})
        self.centre.publish(rng.choice(SCOPES), changed)

    def erp_is(self, *, ill: bool) -> None:
        self.centre.erp.ill = ill
        self.world.note("ERP ill" if ill else "ERP well")

    def restore_till(self) -> None:
        """Till 1's disk is set back to an older copy."""
        till = self.tills[0]
        self.promises.destroyed |= set(till.disk.documents) - set(self.saved.documents)
        till.crash()
        till.disk = self.saved.copy()
        self.world.reached["till restored"] += 1
        self.world.note("restored", till.name)

    def clone_till(self) -> None:
        """Till 2 is copied; both go on, at first under one identity."""
        till = self.tills[1]
        clone = self.new_till("clone-2", till.station, till.key)
        self.tills.append(clone)
        self.clone = clone
        self.centre.healthy.discard(till.station)
        if till.up and self.world.rng.random() < 0.5:
            till.resume_elsewhere(clone)
            self.world.reached["running machine cloned"] += 1
        else:
            clone.disk = till.disk.copy()
            clone.power_on()
            self.world.reached["disk cloned"] += 1
        self.world.note("cloned", till.name)

    def replace_till(self) -> None:
        """Till 3 gets a new PC; the old one is still on and somebody sells on it."""
        old = self.tills[2]
        new = self.new_till("till-3b", old.station, "key-3b")
        new.replaces = True
        self.centre.healthy.discard(old.station)
        self.tills.append(new)
        new.power_on()
        self.world.reached["machine replaced"] += 1
        self.world.note("replaced", old.name)

    def operator_looks(self) -> None:
        """HQ sees a quarantine: the second machine becomes a station of its own, then the first is released."""
        for station, row in list(self.centre.store.stations.items()):
            if row.quarantined and (station == 2) and self.clone.station == 2 and self.clone.up:
                self.clone.crash()
                self.clone.archives.append((2, self.clone.key, self.clone.disk))
                self.clone.disk = type(self.clone.disk)()
                self.clone.station, self.clone.key = self.next_station, "key-clone"
                self.next_station += 1
                self.world.reached["clone enrolled as itself"] += 1
            elif row.quarantined:
                self.centre.release(station)
        if self.world.quiet:
            for station in list(self.centre.store.stations):
                if any(
                    self.centre.store.bodies[no][0] == station
                    for no, why in self.centre.store.held.items()
                    if why != "conflict"
                ):
                    self.centre.release(station)

    # ---- the run ----

    def run(self) -> Outcome:
        world = self.world
        self.saved = self.tills[0].disk.copy()
        self.centre.backup = self.centre.store.copy()
        self.schedule()
        world.run_until(BUSY_MS)
        world.quiet = True
        world.note("quiet")
        for host in [*world.nodes, *self.tills]:
            world.at(100, host.power_on)
        settled = world.run_until(BUSY_MS + QUIET_MS, self.settled)
        self.balance(settled)
        return Outcome(world.seed, world.log_hash, world.events, len(self.promises.sold), world.reached)

    def lost(self) -> list[str]:
        """Sold documents that the centre has not, unless the only copies were on a disk that was destroyed."""
        store = self.centre.store
        alive = set().union(*(till.disk.documents for till in self.tills))
        return [
            doc_id
            for doc_id in self.promises.sold
            if doc_id not in store.gate and (doc_id in alive or doc_id not in self.promises.destroyed)
        ]

    def settled(self) -> bool:
        store = self.centre.store
        identities = {till.station for till in self.tills}
        return (
            2 in self.centre.ever_quarantined
            and not store.pending
            and not any(row.quarantined for row in store.stations.values())
            and not any(why != "conflict" for why in store.held.values())
            and all(state == "done" for state in store.deliveries.values())
            and all(till.up for till in self.tills)
            and len(identities) > STATIONS
            and not self.lost()
            and self.webshop.is_done()
            and not any(store.applied(ref) for ref in store.waiting.values())
            and all(self.catalog_equal(till) for till in self.tills)
        )

    def catalog_equal(self, till: Till) -> bool:
        offered = {name: (scope.head, scope.digest) for name, scope in self.centre.store.scopes.items()}
        return {
            name: (rows.state.seq, digest_of(rows.rows)) for name, rows in till.disk.catalog.items()
        } == offered

    def balance(self, settled: bool) -> None:
        """The invariants of docs/protocol over the end state."""
        store, erp = self.centre.store, self.centre.erp
        lost = self.lost()
        if lost:
            raise Violation(f"{len(lost)} sold documents are not at the centre, first {lost[0]} (I1)")
        if 2 not in self.centre.ever_quarantined:
            raise Violation("two machines ran as station 2 and nobody was told")
        if settled and self.centre.minted != self.webshop.made():
            strangers = self.centre.minted ^ self.webshop.made()
            raise Violation(f"{len(strangers)} documents are not what the webshop was told it made")
        if not settled:
            raise Violation(f"the network is quiet, yet it does not settle (I21): {self.unsettled()}")
        for (station, epoch), row in store.epochs.items():
            head = journal.genesis(f"T{station}", epoch)
            for seq in range(1, row.last + 1):
                if (station, epoch, seq) not in store.journal:
                    raise Violation(f"station {station} epoch {epoch.hex()[:6]} has a hole at {seq} (I3)")
                doc_no, stored = store.journal[station, epoch, seq]
                document = store.bodies[doc_no][1]
                head = journal.link(head, seq, document.header_hash, document.payload_hash)
                if head != stored:
                    raise Violation(f"station {station} epoch {epoch.hex()[:6]} breaks at {seq} (I4)")
            if head != row.head:
                raise Violation("a stored head is not the chain's (I4)")
        for doc_id, (doc_no, _) in store.gate.items():
            if doc_no in store.waiting:
                continue
            if store.rows[doc_no] != 1 or store.deliveries.get(doc_no) != "done" or erp.effects[doc_id] != 1:
                raise Violation(
                    f"{doc_id}: rows {store.rows[doc_no]}, ERP effects {erp.effects[doc_id]}, not one of each (I2)"
                )

    def unsettled(self) -> str:
        store = self.centre.store
        facts = {
            "pending": len(store.pending),
            "held": store.held,
            "quarantined": [no for no, row in store.stations.items() if row.quarantined],
            "deliveries open": sum(state != "done" for state in store.deliveries.values()),
            "catalog differs": [till.name for till in self.tills if not self.catalog_equal(till)],
            "webshop": f"{self.webshop.answered} of {len(self.webshop.posts)} answered",
            "down": [till.name for till in self.tills if not till.up],
        }
        return str(facts)
