"""Shapes of the admin API: what HQ sends and what it gets, in one place for code, `/openapi.json` and the CLI.

Times are RFC 3339 in UTC, money is minor units, lists are pages: `next` is the cursor of the next page, or null.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared.documents.fields import Code, DocId, Name, Text
from shared.ids import CODE_PATTERN

DAY_S = 86_400
CODE_DAYS = 14
"""How long an enrolment code may be used unless HQ says otherwise: time to post a letter and to install a till."""


class Shape(BaseModel):
    """A request: a field that nobody knows is a typing error and is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _code_field(default: Any = ..., description: str = "") -> Any:
    # Told in the schema, checked in words by `shared.ids.check_code` where the code is used.
    schema: dict[str, Any] = {"pattern": CODE_PATTERN} if default is ... else {}
    return Field(default, max_length=200, description=description, json_schema_extra=schema)


# ---- stores and groups ----


class NewStore(Shape):
    code: str = _code_field()
    name: Name = ""
    zone: str = Field(max_length=60, description="IANA time zone, e.g. Asia/Tashkent")
    currency: str = Field(max_length=200, json_schema_extra={"pattern": "^[A-Z]{3}$"})
    price_list: str | None = _code_field(None)


class StoreChanges(Shape):
    """Only the fields that are given are changed."""

    name: Name | None = None
    zone: str | None = Field(None, max_length=60)
    currency: str | None = Field(None, max_length=200)
    price_list: str | None = _code_field(None, "null takes the price list away")


class StoreRow(Shape):
    code: str
    name: str
    zone: str
    currency: str
    price_list: str | None
    stations: int


class NewGroup(Shape):
    code: str = _code_field()
    name: Name = ""
    priority: int = Field(
        0, ge=-1_000_000, le=1_000_000, description="where two groups differ, the higher one wins"
    )
    price_list: str | None = _code_field(None)


class GroupChanges(Shape):
    """Only the fields that are given are changed."""

    name: Name | None = None
    priority: int | None = Field(None, ge=-1_000_000, le=1_000_000)
    price_list: str | None = _code_field(None, "null takes the price list away")


class GroupRow(Shape):
    code: str
    name: str
    priority: int
    price_list: str | None
    stations: int


class Stores(Shape):
    items: list[StoreRow]


class Groups(Shape):
    items: list[GroupRow]


# ---- stations ----


class NewStation(Shape):
    code: str = _code_field()
    store: str = _code_field()
    groups: list[str] = Field(default_factory=list, max_length=100)
    name: Name = ""
    code_days: int = Field(CODE_DAYS, ge=1, le=366, description="how long the enrolment code may be used")


class EnrolmentCode(Shape):
    """A code as the station's installer types it; shown once."""

    enrolment_code: str
    expires: str
    station: str | None = None


class StationRow(Shape):
    """`state`: new (not enrolled), waiting (for approval), active, revoked."""

    code: str
    name: str
    store: str
    groups: list[str]
    state: str
    quarantined: bool
    last_seen: str | None
    reported: str | None
    backlog: int | None = Field(description="documents not sent yet, by its last report")
    version: str | None = Field(description="of its agent")
    alarms: list[str]


class Stations(Shape):
    items: list[StationRow]
    next: str | None


class KeyOfStation(Shape):
    public_key: str
    state: str
    created: str


class EpochRow(Shape):
    """One unbroken run of the station's journal, as the centre holds it."""

    epoch: str
    last: int
    safe: int
    created: str
    updated: str
    current: bool
    parent: str | None = None
    parent_last: int | None = None


class StationDetail(StationRow):
    created: str
    last_number: int
    keys: list[KeyOfStation]
    epochs: list[EpochRow]
    report: dict[str, Any] | None


class Move(Shape):
    store: str = _code_field()
    force: bool = Field(False, description="also while the station says that it has documents to send")


class GroupsChange(Shape):
    add: list[str] = Field(default_factory=list, max_length=100)
    remove: list[str] = Field(default_factory=list, max_length=100)


class StationGroups(Shape):
    groups: list[str]


class Poke(Shape):
    """One of them, or none for all stations."""

    station: str | None = None
    store: str | None = None
    group: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Poke:
        if sum(value is not None for value in (self.station, self.store, self.group)) > 1:
            raise ValueError("name one of station, store and group, or none for all")
        return self


class Poked(Shape):
    stations: int


class Release(Shape):
    was_quarantined: bool
    documents: int = Field(description="held documents that are applied now")


class ImportedRow(Shape):
    line: int
    code: str
    store: str
    result: str = Field(description="created, new code (known, not enrolled yet), or already enrolled")
    enrolment_code: str | None


class Imported(Shape):
    dry_run: bool
    expires: str
    items: list[ImportedRow]


class NewCode(Shape):
    """For one station, or for a group: then stations that use it are put into `store` and wait for approval."""

    station: str | None = None
    group: str | None = None
    store: str | None = None
    replace: bool = Field(False, description="the station's PC was replaced: its old key is retired")
    uses: int = Field(1, ge=1, le=10_000)
    code_days: int = Field(CODE_DAYS, ge=1, le=366)


class OpenCode(Shape):
    """A code that may still be used. `id` names it; the code itself is never shown again."""

    id: str
    station: str | None
    group: str | None
    store: str | None
    replace: bool
    uses_left: int
    created: str
    expires: str


class OpenCodes(Shape):
    items: list[OpenCode]


class Reinstate(Shape):
    code_days: int = Field(CODE_DAYS, ge=1, le=366)


# ---- documents ----


class DocumentRow(Shape):
    """`state`: applied, pending, waiting, parked or held; `why` it is not applied."""

    doc_no: int
    doc_id: str | None
    station: str
    store: str
    kind: str | None
    number: str | None
    business_date: str | None
    received: str
    state: str
    why: str | None
    total_minor: int | None
    currency: str | None


class Documents(Shape):
    items: list[DocumentRow]
    next: str | None


class Position(Shape):
    epoch: str
    seq: int
    reference: str = Field(description="as printed on the receipt")


class DeliveryOfDocument(Shape):
    integration: str
    effect: str
    state: str
    batch: str | None


class Event(Shape):
    at: str
    what: str


class DocumentDetail(DocumentRow):
    header: dict[str, Any] | None
    payload: dict[str, Any] | None = Field(
        description="as sealed at the till; null when it is damaged beyond reading"
    )
    repaired: dict[str, Any] | None = Field(description="what is applied in its place, where HQ repaired it")
    repaired_by: str | None
    detail: str | None
    attempts: int | None
    history: list[Event]
    waits_for: str | None
    positions: list[Position]
    lines: list[dict[str, Any]]
    payments: list[dict[str, Any]]
    deliveries: list[DeliveryOfDocument]


class StuckRow(Shape):
    """A document that waits or is held."""

    doc_no: int
    doc_id: str | None
    station: str
    kind: str | None
    number: str | None
    why: str
    since: str
    waits_for: str | None = None


class Stuck(Shape):
    items: list[StuckRow]
    next: str | None


class ParkedGroup(Shape):
    """Documents with one root cause."""

    reason: str
    documents: int
    stations: int
    since: str
    example: str = Field(description="what one of them says exactly")


class ParkedGroups(Shape):
    items: list[ParkedGroup]


class ParkedRow(StuckRow):
    detail: str
    attempts: int


class ParkedList(Shape):
    items: list[ParkedRow]
    next: str | None


class Repair(Shape):
    """Which parked documents, and what is done before they are tried again.

    `reason` or `doc_ids` chooses. Without `set` and `payload` they are only tried again. `set` puts values at paths
    such as `lines[*].product`; `payload` replaces the whole payload of one document. What the till sealed stays.
    """

    reason: Text | None = None
    doc_ids: list[DocId] | None = Field(None, min_length=1, max_length=10_000)
    set: dict[str, Any] | None = Field(None, min_length=1, max_length=100)
    payload: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _one_choice(self) -> Repair:
        if (self.reason is None) == (self.doc_ids is None):
            raise ValueError("choose by reason or by doc_ids")
        if self.set is not None and self.payload is not None:
            raise ValueError("either set values or replace the payload")
        if self.payload is not None and (self.doc_ids is None or len(self.doc_ids) != 1):
            raise ValueError("a payload replaces that of one document: name it in doc_ids")
        return self


class Repaired(Shape):
    """Documents that were tried again; of them applied (or waiting for another one), and still parked."""

    tried: int
    applied: int
    still_parked: int


# ---- integrations and deliveries ----


class NewIntegration(Shape):
    name: str = _code_field()
    connector: Code
    settings: dict[str, Any] = Field(default_factory=dict)
    kinds: list[Code] = Field(
        default_factory=list, max_length=100, description="document kinds that it takes"
    )
    from_time: str | None = Field(
        None, description="deliver documents received from here on; default: from now"
    )
    enabled: bool = True


class IntegrationRow(Shape):
    name: str
    connector: str
    settings: dict[str, Any]
    kinds: list[str]
    enabled: bool
    from_time: str
    paused_until: str | None
    problem: str | None
    deliveries: dict[str, int] = Field(description="by state: ready, leased, done, parked")


class Integrations(Shape):
    items: list[IntegrationRow]


class BatchRow(Shape):
    batch_id: str
    integration: str
    state: str
    documents: int
    attempts: int
    created: str
    done: str | None
    error: str | None


class Batches(Shape):
    items: list[BatchRow]


class Enable(Shape):
    from_time: str | None = Field(
        None, description="deliver documents received from here on; default: as before"
    )


class RetryDeliveries(Shape):
    reason: str | None = Field(None, description="only those that were refused for this reason")


class BatchOutcome(Shape):
    arrived: bool


class DeliveriesMoved(Shape):
    deliveries: int


# ---- oversight ----


class TotalRow(Shape):
    """One station, business date and payment type. Null: nothing is known there; `agrees` null: not comparable yet."""

    station: str
    business_date: str
    type: str
    currency: str
    station_count: int | None
    station_minor: int | None
    centre_count: int
    centre_minor: int
    delivered_count: int | None
    delivered_minor: int | None
    agrees: bool | None
    note: str = ""


class Totals(Shape):
    items: list[TotalRow]
    agree: bool


class FindingRow(Shape):
    check: str
    what: str
    station: str | None = None
    epoch: str | None = None
    seq: int | None = None
    doc_id: str | None = None
    scope: str | None = None
    hint: str = ""


class VerifyReport(Shape):
    ok: bool
    checked: dict[str, int]
    findings: list[FindingRow]
    more: int = Field(description="findings beyond those listed")
    took_ms: int


class NewKey(Shape):
    name: str = _code_field()
    role: Literal["read", "admin", "feed"]
    consumer: str | None = None


class NewKeyReply(Shape):
    name: str
    role: str
    key: str = Field(description="shown once")


class KeyRow(Shape):
    name: str
    role: str
    consumer: str | None
    created: str
    revoked: str | None


class Keys(Shape):
    items: list[KeyRow]


class NewConsumer(Shape):
    name: str = _code_field()
    store: str = _code_field()
    groups: list[str] = Field(default_factory=list, max_length=100)


class ConsumerCursor(Shape):
    entity: str
    confirmed: str
    rejected: list[dict[str, Any]]


class ConsumerRow(Shape):
    name: str
    store: str
    groups: list[str]
    created: str
    entities: list[ConsumerCursor]


class Consumers(Shape):
    items: list[ConsumerRow]


class AuditRow(Shape):
    audit_no: int
    at: str
    who: str
    what: str
    detail: Any


class Audit(Shape):
    items: list[AuditRow]
    next: str | None


class IntegrationStatus(Shape):
    name: str
    enabled: bool
    problem: str | None
    ready: int = Field(description="deliveries without a batch yet")
    unfinished: dict[str, int] = Field(
        description="deliveries in batches that are not done, by the batch's state"
    )


class ScopeHead(Shape):
    scope: str
    gen: str
    head: int
    rows: int
    digest: str = Field(description="of the live rows; a station's is equal when its rows are")
    snapshot_seq: int | None = Field(description="of the newest snapshot on offer")


class StationCounts(Shape):
    all: int
    new: int
    waiting: int
    active: int
    revoked: int
    quarantined: int
    silent: int = Field(description="active, and not seen for five minutes")


class Status(Shape):
    """The centre at a glance."""

    version: str
    centre: str
    database: str
    time: str
    stations: StationCounts
    documents: int
    pending: int
    oldest_pending_s: int
    waiting: int
    parked: int
    held: int
    backlog_at_stations: int
    integrations: list[IntegrationStatus]
    scopes: list[ScopeHead]
    attention: list[str] = Field(description="what somebody should look at, in words")
