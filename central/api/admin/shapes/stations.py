"""Shapes of stations and enrolment codes."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from central.api.admin.shapes.shape import CODE_DAYS, Shape, code_field
from shared.documents.fields import Name


class NewStation(Shape):
    code: str = code_field()
    store: str = code_field()
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
    store: str = code_field()
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
