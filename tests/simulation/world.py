"""Time, network and crashes of a simulated chain; one seed decides everything.

Actors are generators. What they yield is what they wait for: `Sleep`, a `Point` (a place between two durable steps,
where their machine may die), a `Lock`, or a `Call` over the network, which may lose, double or delay it. Only the
world's queue moves time, so that the same seed gives the same log, byte for byte.
"""

from __future__ import annotations

import hashlib
import heapq
import random
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

CALL_TIMEOUT_MS = 8_000

Wait = Any
Work = Generator[Wait, Any, Any]


class Violation(AssertionError):
    """An invariant of docs/protocol does not hold in this world."""


@dataclass(frozen=True, slots=True)
class Sleep:
    ms: int


@dataclass(frozen=True, slots=True)
class Point:
    name: str


@dataclass(frozen=True, slots=True)
class Lock:
    key: object


@dataclass(frozen=True, slots=True)
class Call:
    """A request to any node; the answer is None when none came in time."""

    operation: str
    body: Any


class Host:
    """Something that can lose power: its tasks vanish, what it has committed stays."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.up = False
        self.tasks: set[Task] = set()

    def start(self) -> None:
        raise NotImplementedError

    def crash(self, restart: bool = True) -> None:
        """Power off; on again after a while unless it is for good."""
        if not self.up:
            return
        self.up = False
        for task in sorted(self.tasks, key=lambda task: task.no):
            task.kill()
        self.tasks.clear()
        self.world.note("crash", self.name)
        if restart:
            self.world.at(self.world.rng.randint(200, 6_000), self.power_on)

    def power_on(self) -> None:
        if not self.up:
            self.up = True
            self.start()


class Task:
    """A running generator on a host."""

    def __init__(
        self, world: World, host: Host, work: Work, on_end: Callable[[Any], None] | None = None
    ) -> None:
        world.task_count += 1
        self.no = world.task_count
        self.world, self.host, self.work, self.on_end = world, host, work, on_end
        self.alive = True
        self.locks: list[object] = []
        host.tasks.add(self)

    def kill(self) -> None:
        self.alive = False
        self.work.close()
        self.release()

    def release(self) -> None:
        for key in self.locks:
            self.world.unlock(key)
        self.locks.clear()

    def resume(self, value: Any = None) -> None:
        if not self.alive:
            return
        try:
            wait = self.work.send(value)
        except StopIteration as end:
            self.alive = False
            self.host.tasks.discard(self)
            self.release()
            if self.on_end:
                self.on_end(end.value)
            return
        self.wait_for(wait)

    def wait_for(self, wait: Wait) -> None:
        world = self.world
        if isinstance(wait, Sleep):
            world.at(wait.ms, self.resume)
        elif isinstance(wait, Point):
            world.events += 1
            if world.draw_crash(wait.name):
                world.reached[f"crash at {wait.name}"] += 1
                self.host.crash()
            else:
                world.at(world.rng.randint(0, 3), self.resume)
        elif isinstance(wait, Lock):
            world.lock(wait.key, self)
        elif isinstance(wait, Call):
            world.call(wait, self)
        else:
            raise TypeError(wait)


@dataclass
class Network:
    """How often each thing happens to a request."""

    lose_request: float = 0.04
    lose_answer: float = 0.05
    double: float = 0.04
    late: float = 0.03


@dataclass
class World:
    """The queue of what happens next, the network, and what has happened so far."""

    seed: int
    network: Network = field(default_factory=Network)
    crash_rate: float = 0.006

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.now = 0
        self.events = 0
        self.task_count = 0
        self.order = 0
        self.queue: list[tuple[int, int, Callable[[], None]]] = []
        self.reached: Counter[str] = Counter()
        self.locks: dict[object, tuple[Task, list[Task]]] = {}
        self.nodes: list[Any] = []
        self.quiet = False
        self._log = hashlib.sha256()
        self.tail: list[str] = []

    # ---- log ----

    def note(self, *what: object) -> None:
        """One line of the log; its hash is what two runs of a seed must share."""
        line = f"{self.now} " + " ".join(str(part) for part in what)
        self._log.update(line.encode() + b"\n")
        self.tail.append(line)
        if len(self.tail) > 400:
            del self.tail[:200]

    @property
    def log_hash(self) -> str:
        return self._log.hexdigest()

    # ---- time ----

    def at(self, delay_ms: int, action: Callable[[], None]) -> None:
        self.order += 1
        heapq.heappush(self.queue, (self.now + delay_ms, self.order, action))

    def run_until(self, end_ms: int, done: Callable[[], bool] | None = None) -> bool:
        """Let time pass; true as soon as *done* holds (looked at every second), false at the end."""
        next_look = self.now
        while self.queue and self.queue[0][0] <= end_ms:
            self.now, _, action = heapq.heappop(self.queue)
            self.events += 1
            action()
            if done is not None and self.now >= next_look:
                if done():
                    return True
                next_look = self.now + 1_000
        self.now = end_ms
        return done is not None and done()

    def spawn(self, host: Host, work: Work, on_end: Callable[[Any], None] | None = None) -> None:
        task = Task(self, host, work, on_end)
        self.at(self.rng.randint(0, 5), task.resume)

    # ---- crashes ----

    def draw_crash(self, point: str) -> bool:
        return not self.quiet and self.rng.random() < self.crash_rate

    # ---- locks (rows of the centre's database) ----

    def lock(self, key: object, task: Task) -> None:
        if key in self.locks:
            self.locks[key][1].append(task)
        else:
            self.grant(key, task)

    def grant(self, key: object, task: Task) -> None:
        waiting = self.locks[key][1] if key in self.locks else []
        self.locks[key] = (task, waiting)
        task.locks.append(key)
        self.at(0, task.resume)

    def unlock(self, key: object) -> None:
        waiting = [task for task in self.locks[key][1] if task.alive]
        if waiting:
            self.locks[key] = (waiting[0], waiting[1:])
            self.grant(key, waiting[0])
        else:
            del self.locks[key]

    # ---- network ----

    def call(self, call: Call, task: Task) -> None:
        rng, faults = self.rng, self.network
        answered = False

        def answer(value: Any) -> None:
            nonlocal answered
            if not answered:
                answered = True
                task.resume(value)

        def give_up() -> None:
            answer(None)

        def drawn(name: str, rate: float) -> bool:
            hit = not self.quiet and rng.random() < rate
            if hit:
                self.reached[name] += 1
            return hit

        self.at(CALL_TIMEOUT_MS, give_up)
        delays = [rng.randint(1, 60)]
        if drawn("request lost", faults.lose_request):
            delays = []
        elif drawn("request doubled", faults.double):
            delays.append(rng.randint(1, 20_000))
        elif drawn("request late", faults.late):
            delays = [rng.randint(CALL_TIMEOUT_MS, 60_000)]
        answer_lost = drawn("answer lost", faults.lose_answer)

        def back(value: Any) -> None:
            if not answer_lost:
                self.at(rng.randint(1, 40), lambda: answer(value))

        for delay in delays:
            self.at(delay, lambda: self.deliver(call, back))

    def deliver(self, call: Call, back: Callable[[Any], None]) -> None:
        node = self.nodes[self.rng.randrange(len(self.nodes))]
        if not node.up:
            self.reached["node down"] += 1
            return
        self.spawn(node, node.serve(call.operation, call.body, back), back)
