"""What a connector is: the only form in which the centre knows another system.

A connector carries bytes and answers questions; it never sees our database. Which batch is sent when, what is asked
before, and what a failure means is decided in `central/deliveries/plan.py`, alike for all of them. In return every
connector says how a repeated send is kept from doubling (`Idempotency`), and raises one of the four failures below
for everything that is not a plain answer: they are what keeps a lost answer from becoming a second sale.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import BaseModel

from shared.clock import Clock
from shared.errors import BadInput, CounterflowError, Unavailable


class Idempotency(StrEnum):
    """How a system keeps a send that is repeated from having a second effect."""

    NATIVE_KEY = "native_key"  # it takes our delivery key and answers a repeat with the first result
    LOOK_UP = "look_up"  # it can be asked for a record by our delivery key
    DETERMINISTIC_ID = (
        "deterministic_id"  # the record's id follows from the delivery key, a repeat overwrites
    )
    FILE_DROP = "file_drop"  # files whose name is the batch id
    AT_LEAST_ONCE = "at_least_once"  # nothing of this: a person decides on what is unknown

    @property
    def probes(self) -> bool:
        """Whether every send, the first included, is preceded by a look at what is there already."""
        return self not in (Idempotency.NATIVE_KEY, Idempotency.AT_LEAST_ONCE)


# ---- what a system has ----


@dataclass(frozen=True, slots=True)
class Trait:
    """A field of the other system's records; mappings are checked against these when they are loaded."""

    type: Literal["text", "integer", "decimal", "boolean", "date", "time", "list", "object"] = "text"
    required: bool = False
    about: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """Something that can be read. `fields` empty: not known beforehand (files), so anything may be named.

    `cursor` says how a later run goes on: `sequence` misses nothing; `time` may miss what was committed late, so it is
    read with an overlap; None: only a full run tells.
    """

    title: str
    fields: Mapping[str, Trait] = field(default_factory=dict)
    key: str = "id"
    cursor: Literal["sequence", "time"] | None = None
    complete: bool = True  # a full run brings all there is, so that what it lacks is absent
    entity: str | None = None  # the catalog entity that it usually becomes
    statuses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """Something that can be written. `undo`: what was created can be taken back.

    `find` names the fields that `Connector.find` searches by, `create` says that `Connector.create` makes one; without
    `deliver` there is no other way to make one.
    """

    title: str
    fields: Mapping[str, Trait] = field(default_factory=dict)
    kinds: tuple[str, ...] = ()  # of documents that it usually gets
    undo: bool = False
    find: tuple[str, ...] = ()
    create: bool = False
    deliver: bool = True


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that `check` looked at: can it be reached, are we signed in, may we, is it there."""

    what: str
    ok: bool
    detail: str = ""
    hint: str = ""


# ---- what is read ----


@dataclass(frozen=True, slots=True)
class Read:
    """One run over a source. `since` is the cursor of the run before, None for all of it."""

    source: str
    since: str | None = None
    overlap_s: int = 0
    page: int = 500
    statuses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """Records as the other system has them, numbers as Decimal or int, never float.

    `cursor` is where a later run may begin once all pages up to this one are durable here; None: no such place.
    """

    records: Sequence[Mapping[str, Any]]
    deleted: Sequence[str] = ()  # keys
    cursor: str | None = None
    unreadable: Sequence[str] = ()  # why, for each record of which nothing can be told, not even its key


# ---- what goes out ----


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its answer, kept beside the attempt; masked and cut to size by whoever keeps it."""

    request: str
    answer: str


class Delivery(NamedTuple):
    """One effect of one document in one system. `header` and `payload` are the exact bytes as sealed at the till.

    `record` is what the mapping made of it for `target`; both are absent for an integration that takes documents as
    they are. Of a group of documents `kind` is "group", `doc_id` and `number` are the group's, and there is the record
    alone.
    """

    key: str
    effect: str
    doc_id: str
    kind: str
    number: str
    station: str
    store: str
    header: bytes
    payload: bytes
    target: str | None = None
    record: Mapping[str, Any] | None = None


def tell_nobody(_exchange: Exchange) -> None:
    """For batches whose exchanges nobody keeps."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Deliveries that are sent together, in order; id and members were stored before the first byte left.

    A connector calls `tell` with each request and answer, before it judges the answer.
    """

    batch_id: str
    deliveries: Sequence[Delivery]
    tell: Callable[[Exchange], None] = tell_nobody


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a system will not have one delivery. Deliveries with the same *reason* are repaired together."""

    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Written:
    """How the other system calls what a delivery made there; it is written back to us."""

    id: str
    number: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a system said to a batch: every delivery that is not in *rejected* took effect. Both by delivery key."""

    rejected: Mapping[str, Rejection] = field(default_factory=dict)
    written: Mapping[str, Written] = field(default_factory=dict)


UnknownBatches = Callable[[Collection[str]], Awaitable[set[str]]]
"""Which of these batch ids the centre does not know: it was restored from a backup and forgot that it sent them."""


class TargetAway(Unavailable):
    """The system was not reached or is busy, and nothing was sent: all its deliveries wait, no attempt is used.

    Args:
        retry_after_s: as extra field, where the system said when to come back.
    """

    code = "target-away"


class TargetDenies(CounterflowError):
    """The system does not let us in (credentials, rights): all its deliveries wait for a person, nothing is parked."""

    code = "target-denies"


class TargetRejects(BadInput):
    """The system refuses the batch for what is in it and cannot say for which delivery.

    Its connector has `batch_documents` 1, so that nobody is parked for another one's fault. `reason`, the root cause,
    stands in the extra fields.
    """

    code = "target-rejects"


class NoAnswer(Unavailable):
    """Bytes left and no answer came: it may have taken effect."""

    code = "no-answer"


# ---- what comes in ----


@dataclass(frozen=True, slots=True)
class ListAbout:
    """What a list says of itself.

    `scope` None sends each row to its entity's own scope; a complete list must state one. `absence` None takes the
    entity's rule.
    """

    entity: str
    scope: str | None = None
    mode: Literal["changes", "complete"] = "changes"
    on_error: Literal["skip", "stop"] = "skip"
    absence: Literal["keep", "delete", "zero", "ended"] | None = None
    allow_empty: bool = False


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One row of a list. `why` is set where it cannot be read; `values` is then what could be, if anything."""

    line: int
    values: dict[str, Any] | None
    deleted: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A list that another system handed in.

    `refusal` says why it cannot be read at all (`about` is then None). `resumed` is set when it was under way when the
    centre died. `rows` reads it from its beginning; it blocks and is called outside the event loop.
    """

    name: str
    sha256: bytes
    about: ListAbout | None
    rows: Callable[[], Iterator[SourceRow]]
    refusal: str = ""
    resumed: bool = False


# ---- the interface ----


class Connector(ABC):
    """One connected system.

    Args:
        name: of the integration; it stands first in its delivery keys and batch ids.
        settings: as `Settings` describes them.
    """

    title: ClassVar[str]
    Settings: ClassVar[type[BaseModel]]
    idempotency: ClassVar[Idempotency]
    sources: ClassVar[Mapping[str, Source]] = {}
    targets: ClassVar[Mapping[str, Target]] = {}
    writes: ClassVar[bool] = True
    """False: it only reads, and no definition with a `[[deliver]]` may use it."""
    tested: ClassVar[str] = "documents only"
    """What it was tested against: a real system, an emulator proven by an independent client, documents only."""
    whole: ClassVar[bool] = False
    """A batch takes effect as a whole or not at all. Else a document is never in one batch with what it refers to."""
    timeout_s: float = 30.0
    """The longest that one `deliver` takes; a send starts only while its lease outlives it."""
    batch_bytes: ClassVar[int] = 16 << 20
    """Headers and payloads of one batch together, except where a single document is larger."""

    def __init__(self, name: str, settings: BaseModel, clock: Clock) -> None:
        self.name = name
        self.reads = self.sources_of(settings.model_dump())

    @classmethod
    def sources_of(cls, settings: Mapping[str, Any]) -> Mapping[str, Source]:
        """The sources of an integration with these settings, for connectors whose settings name them.

        Raises:
            BadInput: the settings that name them are wrong.
        """
        return cls.sources

    @property
    @abstractmethod
    def batch_documents(self) -> int:
        """Most deliveries of one batch."""

    @property
    @abstractmethod
    def resource(self) -> str:
        """What no second integration may use: a folder, an account."""

    @abstractmethod
    async def prepare(self) -> None:
        """Make in the other system what this connector needs; called once, when the integration is made."""

    @abstractmethod
    async def check(self) -> Sequence[Finding]:
        """Look whether the settings work: reached? signed in? which rights? what is there? Makes nothing.

        Called before an integration is enabled, and again on a schedule; one finding that is not ok refuses.
        """

    @abstractmethod
    async def probe(self, batch: Batch, unknown_batches: UnknownBatches) -> Collection[str]:
        """The delivery keys of *batch* that have taken effect already.

        A mapping from key to `Written` (or None) where the system says how it calls them: so what a lost answer would
        have told is written back too.
        """

    @abstractmethod
    async def deliver(self, batch: Batch) -> Answer:
        """Send a batch; it returns when the effect is durable over there, and else raises one of the four failures."""

    def read(self, request: Read) -> AsyncIterator[Page]:
        """Records of a source, page by page; raises the failures above. Each call goes over the source once."""
        raise NotImplementedError(f"{self.title} declares no source {request.source}")

    async def find(
        self, target: str, field_name: str, values: Collection[str]
    ) -> Mapping[str, Sequence[str]]:
        """Which records of a target bear each of these values: value -> their ids, several where it is doubled."""
        raise NotImplementedError(f"{self.title} cannot be searched for {target}")

    async def create(self, target: str, record: Mapping[str, Any]) -> Written:
        """Make one record (a party, a reference value); only after `find` found none."""
        raise NotImplementedError(f"{self.title} declares no target {target}")

    async def undo(self, target: str, ids: Sequence[str]) -> Mapping[str, Rejection]:
        """Take back records that we made; returns those that the other system would not give up, by id."""
        raise NotImplementedError(f"{self.title} takes nothing back")

    async def pull(self) -> Incoming | None:
        """The next list that the other system hands in, or None; the same one again until it is settled."""
        return None

    async def settle(self, incoming: Incoming, report: dict[str, Any]) -> None:
        """Tell the other system what became of its list, now that this is durable here."""
        raise NotImplementedError(f"{self.title} hands no lists in")
