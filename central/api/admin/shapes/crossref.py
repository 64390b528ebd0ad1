"""Shapes of the cross-reference, and of parties that are unclear."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from central.api.admin.shapes.shape import Shape


class NewCounterpart(Shape):
    kind: str = Field(max_length=100, description="item, warehouse, party, organisation, ...")
    ours: str = Field(max_length=200)
    system: str = Field(max_length=200, description="the integration whose code it is")
    theirs: str = Field(max_length=200)
    outlet: str = Field("", max_length=200, description="of a local code; empty: it holds everywhere")


class CodeRow(Shape):
    kind: str
    ours: str
    system: str
    theirs: str
    outlet: str
    main: bool = Field(description="of several for one of ours: the one that is sent")
    by: str
    at: str


class CodeList(Shape):
    items: list[CodeRow]
    next: str | None = None


class UnmatchedRow(Shape):
    kind: str
    system: str
    outlet: str
    ours: str | None = Field(description="a code of ours that the system lacks")
    theirs: str | None = Field(description="or one of theirs without ours")
    seen: int = Field(description="how often it was looked up in vain")
    since: str
    last: str
    why: str | None = Field(None, description="why its [[match]] searched in vain")
    next: str | None = Field(None, description="when it searches again")


class SearchNow(Shape):
    system: str | None = Field(None, max_length=200, description="only of this one; of all when absent")


class UnmatchedList(Shape):
    items: list[UnmatchedRow]
    next: str | None = None


class DoubledRow(Shape):
    kind: str
    system: str
    outlet: str
    ours: list[str]
    theirs: list[str]


class DoubledList(Shape):
    items: list[DoubledRow]


class Merge(Shape):
    kind: str = Field(max_length=100)
    gone: str = Field(max_length=200, description="our code that is no more")
    into: str = Field(max_length=200, description="our code that stays")


class MergeDone(Shape):
    survivor: str
    moved: int = Field(description="codes of other systems; 0 when it was done before")


class CodesImported(Shape):
    dry_run: bool
    codes: int


class UnclearRow(Shape):
    system: str
    party: str = Field(description="its code with whoever asks")
    name: str
    tax_id: str
    why: str
    candidates: list[str] = Field(description="records of the system that it may be")
    since: str
    last: str
    decision: Literal["use", "create", "ignore"] | None
    chosen: str | None
    by: str | None


class UnclearList(Shape):
    items: list[UnclearRow]
    next: str | None = None


class CodeDecision(Shape):
    system: str = Field(max_length=200)
    party: str = Field(max_length=200)
    decision: Literal["use", "create", "ignore"]
    id: str | None = Field(None, max_length=200, description="with use: the record that it is")


class CodeDecided(CodeDecision):
    deliveries: int = Field(description="that need it: they go now, once it is made, or are parked")


class ReferenceRow(Shape):
    system: str
    target: str
    value: str
    id: str | None = Field(description="null while it is being made")
    made: bool = Field(description="by us")


class ReferenceList(Shape):
    items: list[ReferenceRow]
