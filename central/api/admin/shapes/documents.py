"""Shapes of documents, and of those that are stuck."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from central.api.admin.shapes.shape import Shape
from shared.documents.fields import DocId, Text


class DocumentRow(Shape):
    """`state`: applied, pending, waiting, parked, held or discarded; `why` it is not applied."""

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
    header: dict[str, Any] | None = Field(description="as sealed at the till")
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
    paper: dict[str, Any] | None = Field(
        description="status, party, warehouses of an order, stock or money document"
    )
    based_on: list[dict[str, Any]]
    units: list[dict[str, Any]] = Field(description="lots, serial numbers and marks of the lines")
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


class Decision(Shape):
    """What becomes of held documents: `discard` (no effect, kept) or `apply` (a document of its own).

    `doc_nos` or `why` chooses, `station` narrows `why`. Where a document's bytes are damaged, `header` and `payload`
    say what is read in their place, for one document.
    """

    decision: Literal["apply", "discard"]
    reason: Annotated[Text, Field(min_length=1, max_length=500)]
    doc_nos: list[int] | None = Field(None, min_length=1, max_length=10_000)
    why: Literal["conflict", "damaged"] | None = None
    station: Text | None = None
    header: dict[str, Any] | None = None
    payload: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _one_choice(self) -> Decision:
        if (self.doc_nos is None) == (self.why is None):
            raise ValueError("choose by doc_nos or by why")
        if self.station is not None and self.why is None:
            raise ValueError("a station narrows a choice by why")
        if self.header is None and self.payload is None:
            return self
        if self.decision == "discard":
            raise ValueError("what is discarded needs no header and no payload")
        if self.doc_nos is None or len(self.doc_nos) != 1:
            raise ValueError("header and payload are those of one document: name it in doc_nos")
        return self


class StaysHeld(Shape):
    doc_no: int
    why: str


class Decided(Shape):
    """What was decided, by number; `refused` stay held."""

    applied: list[int]
    discarded: list[int]
    refused: list[StaysHeld]
