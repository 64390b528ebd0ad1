"""Shapes of sources of documents."""

from __future__ import annotations

from pydantic import Field

from central.api.admin.shapes.shape import Shape, code_field
from central.intake.duplicates import Policy


class NewSource(Shape):
    source: str = code_field()


class NewPolicy(Policy):
    """What is done with duplicates of a kind, from the next document on."""

    kind: str


class OutletOfSource(Shape):
    outlet: str
    documents: int
    last: str | None


class SourceRow(Shape):
    """`policies` by kind; a kind that is not named refuses duplicates by the source's own id."""

    source: str
    created: str | None = Field(description="null: no keys, an integration brings its documents")
    policies: dict[str, Policy]
    outlets: list[OutletOfSource]
    duplicates: int = Field(description="refused or skipped")


class SourceList(Shape):
    items: list[SourceRow]


class DuplicateRow(Shape):
    """A document that came again and was refused or skipped."""

    kind: str
    key: str = Field(description="the values that count, as JSON")
    doc_id: str | None
    number: str | None
    repeats: int
    last: str


class Duplicates(Shape):
    items: list[DuplicateRow]
