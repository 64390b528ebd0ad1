"""Shapes of deliveries that need somebody: groups, history, repair."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from central.api.admin.shapes.shape import Shape


class DeliveryGroup(Shape):
    integration: str
    reason: str
    deliveries: int
    stations: int | None = Field(description="from how many stations; null where it is not counted")
    since: str
    example: int = Field(description="doc_no of one of them")
    waits: bool = Field(description="true: they go by themselves once the code is known")


class DeliveryGroups(Shape):
    items: list[DeliveryGroup]


class ParkedDelivery(Shape):
    doc_no: int
    doc_id: str | None
    effect: str
    station: str
    kind: str | None
    number: str | None
    since: str
    reason: str
    batch_id: str
    record: list[dict[str, Any]] | None = Field(
        description="what was refused, a record for each part; null where none could be made"
    )


class ParkedDeliveries(Shape):
    items: list[ParkedDelivery]
    next: str | None


class SendAgain(Shape):
    reason: str | None = Field(None, description="only those that were refused for this reason")
    doc_ids: list[str] | None = Field(None, min_length=1, max_length=1_000, description="only of these")
    set: dict[str, Any] | None = Field(
        None, max_length=100, description="path -> value, put into each record; none: made anew"
    )
    record: dict[str, Any] | None = Field(None, description="replaces the record of one delivery")

    @model_validator(mode="after")
    def _one_correction(self) -> Self:
        if self.set is not None and self.record is not None:
            raise ValueError("set and record exclude each other")
        return self


class OutlookRow(Shape):
    left: int = Field(description="ready or under way")
    per_minute: float
    through: str | None = Field(description="null: nothing is left, or nobody can tell")
    gathering: int = Field(description="not under way yet: they wait for their group or their schedule")


class AttemptRow(Shape):
    at: str
    integration: str | None
    effect: str | None
    batch_id: str
    sent: bool = Field(description="whether bytes of the batch left, or it was only asked for")
    outcome: str | None = Field(
        description="ok, away, denied, rejected, no_answer, again (a person); null: under way, or its node died"
    )
    took_ms: int | None
    done: int
    error: str | None
    exchanges: list[tuple[str, str]] = Field(description="requests and answers, masked and cut")


class Attempts(Shape):
    items: list[AttemptRow]


class WrittenRow(Shape):
    integration: str
    effect: str
    part: int
    id: str
    number: str | None
    at: str


class InGroup(Shape):
    integration: str
    effect: str
    group_no: int
    group: str
    state: str = Field(description="open, closed (it is carried), done")
    documents: int


class DeliveryHistory(Shape):
    attempts: list[AttemptRow] = Field(
        description="at the document's deliveries, and at groups that it is in"
    )
    written: list[WrittenRow]
    groups: list[InGroup]
