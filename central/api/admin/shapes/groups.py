"""Shapes of documents that are delivered together."""

from __future__ import annotations

from pydantic import Field

from central.api.admin.shapes.shape import Shape


class DeliveryGroupRow(Shape):
    group_no: int
    integration: str
    effect: str
    group: str = Field(description="what its documents have in common, for people")
    group_key: str = Field(description="the same as JSON")
    correction: int = Field(description="0: the group itself; n: its n-th correction")
    state: str = Field(description="open, done, or the state of the delivery that carries it")
    documents: int
    since: str
    closes: str | None = Field(description="null: not known before its shift is closed")
    closed: str | None
    by: str | None = Field(description="who closed it; null: its time had come")
    waits_for: str


class GroupRows(Shape):
    items: list[DeliveryGroupRow]
    next: str | None


class GroupDocument(Shape):
    doc_no: int
    doc_id: str | None
    station: str
    kind: str
    number: str
    currency: str | None
    total_minor: int


class GroupDocuments(Shape):
    items: list[GroupDocument]
    next: str | None


class GroupDone(Shape):
    group_no: int
