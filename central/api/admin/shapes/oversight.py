"""Shapes of status, totals and verify."""

from __future__ import annotations

from pydantic import Field

from central.api.admin.shapes.shape import Shape


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


class IntegrationStatus(Shape):
    name: str
    enabled: bool
    problem: str | None
    ready: int = Field(description="deliveries without a batch yet")
    unfinished: dict[str, int] = Field(
        description="deliveries in batches that are not done, by the batch's state"
    )
    gathering: int = Field(
        description="deliveries that wait for their group's close or their schedule's time"
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
