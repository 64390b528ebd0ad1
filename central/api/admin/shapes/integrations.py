"""Shapes of definitions, their versions, and what their pulls do."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from central.api.admin.shapes.shape import Shape
from central.integrations import toml
from central.integrations.definition import Definition, read_definition


class Stated(Shape):
    """A definition, as JSON or as the text of a TOML file."""

    definition: dict[str, Any] | None = None
    toml: str | None = Field(None, max_length=toml.FILE_MAX_BYTES)

    @model_validator(mode="after")
    def _once(self) -> Self:
        if self.definition is not None and self.toml is not None:
            raise ValueError("state the definition once: as definition or as toml")
        return self

    def read(self) -> Definition | None:
        """The definition, if one was stated."""
        if self.toml is not None:
            return toml.read(self.toml, "the definition")
        return None if self.definition is None else read_definition(self.definition)


class NewDefinition(Stated):
    note: str = Field("", max_length=500, description="why; stands in the history")
    enabled: bool = Field(True, description="whether a new integration starts at once")
    from_time: str | None = Field(None, description="of a new one: deliver what was received from then on")
    abandon: bool = Field(False, description="effects may go though some of their deliveries are not done")


class DifferenceRow(Shape):
    path: str
    before: Any
    after: Any


class DefinitionStated(Shape):
    name: str
    result: str = Field(description="created, changed or unchanged")
    version: int
    enabled: bool
    differences: list[DifferenceRow]


class Compare(Stated):
    """From one version to another, or to a definition that is not stated yet."""

    old: int | None = Field(None, ge=1, description="default: the version that holds")
    new: int | None = Field(None, ge=1)


class Differences(Shape):
    items: list[DifferenceRow]


class VersionRow(Shape):
    version: int
    by: str
    at: str
    note: str


class VersionRows(Shape):
    items: list[VersionRow]


class Back(Shape):
    version: int | None = Field(None, ge=1, description="default: the one before")


class CheckFinding(Shape):
    what: str
    ok: bool
    detail: str
    hint: str


class Findings(Shape):
    items: list[CheckFinding]


class PullRow(Shape):
    pull: str
    source: str
    becomes: str
    enabled: bool
    last: str | None = Field(description="start of the newest run")
    full: str | None = Field(description="start of the newest full run that ended well")
    next: str | None = Field(description="when it runs by itself")
    cursor: str | None
    failures: int
    problem: str | None


class IntegrationDetail(Shape):
    name: str
    version: int
    enabled: bool
    definition: dict[str, Any] = Field(description="secrets stand as ***")
    checked: str | None
    findings: list[CheckFinding]
    pulls: list[PullRow]


class TomlText(Shape):
    toml: str


class TriggerSecret(Shape):
    path: str
    secret: str = Field(description="shown once; another one takes its place at the next call")


class RunNow(Shape):
    pull: str | None = Field(None, description="default: all that are on")
    full: bool = Field(False, description="compare all instead of going on from the cursor")


class DryRun(Stated):
    pull: str


class UndoSince(Shape):
    since: str = Field(description="RFC 3339")


class RunRow(Shape):
    run: int
    pull: str
    version: int
    why: str
    full: bool
    started: str
    ended: str | None
    result: str | None = Field(description="taken, failed, stopped; null while it is under way")
    report: dict[str, Any] | None


class Runs(Shape):
    items: list[RunRow]


class Asked(Shape):
    pulls: list[str]
