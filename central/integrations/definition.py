"""An integration as its owner writes it: which system, what comes in, what goes out, how fields are mapped.

One model for all doors: TOML files, the admin API and the database hold the same shape. Nothing here reaches another
system or the database; whether the named fields exist is checked by `mapping.check` with the connector's own lists.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

import cronsim
import pydantic
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from central.catalog.record_kinds import record_kind
from central.mapping.lookups import KINDS as LOOK_UP_KINDS
from shared.catalog.entities import ENTITIES
from shared.documents import KINDS
from shared.documents.fields import Code, Text
from shared.protocol.problems import from_validation

_DURATION = re.compile(r"(\d{1,6})(s|m|h|d)")
_EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def seconds_of(duration: str) -> int:
    """Seconds of "90s", "15m", "24h" or "7d"."""
    found = _DURATION.fullmatch(duration)
    if found is None or not int(found[1]):
        raise ValueError(f'"{duration}" is no duration; write e.g. 90s, 15m, 24h or 7d')
    return int(found[1]) * _SECONDS[found[2]]


def _duration(value: str) -> str:
    seconds_of(value)
    return value


def _cron(value: str) -> str:
    try:
        cronsim.CronSim(value, _EPOCH)
    except cronsim.CronSimError as error:
        raise ValueError(f'"{value}" is no cron expression: {error}') from None
    return value


def _kind(value: str) -> str:
    if value not in KINDS:
        raise ValueError(f'"{value}" is no kind of document; known are {", ".join(KINDS)}')
    return value


def _look_up_kind(value: str) -> str:
    if value not in LOOK_UP_KINDS:
        raise ValueError(f'"{value}" has no codes in other systems; known are {", ".join(LOOK_UP_KINDS)}')
    return value


def _entity(value: str) -> str:
    if value not in ENTITIES:
        raise ValueError(f'"{value}" is no entity of the catalog; known are {", ".join(ENTITIES)}')
    return value


Duration = Annotated[str, AfterValidator(_duration)]
Cron = Annotated[str, AfterValidator(_cron)]
Kind = Annotated[str, AfterValidator(_kind)]
LookUpKind = Annotated[str, AfterValidator(_look_up_kind)]
Entity = Annotated[str, AfterValidator(_entity)]
FieldSpec = str | int | bool | None | dict[str, Any] | list[Any]
"""What a target's field is made of; `central/mapping` says what may stand here."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Budget(_Part):
    """How often a credential may be used, by all integrations and nodes together; `leave` is left to other software."""

    credential: Code = Field(description="integrations that name the same one share it")
    calls: int = Field(ge=1, le=1_000_000)
    per_s: float = Field(gt=0, le=86_400)
    leave: float = Field(0.2, ge=0, lt=1)


class Pull(_Part):
    """Something that comes in: records of the other system become catalog rows or documents.

    The first run is full, later ones go on from the source's best cursor with `overlap`; `full_every` compares all.
    """

    name: Code = Field(description="its cursor and its history lie under it")
    source: Code = Field(description="what is read, as the connector names it")
    entity: Code | None = Field(None, description="catalog entity that the records become")
    document: Kind | None = Field(None, description="or kind of document that they become")
    enabled: bool = True
    every: Duration | None = None
    cron: Cron | None = None
    on: list[Literal["webhook", "file"]] = Field(default_factory=list)
    full_every: Duration | None = "24h"
    overlap: Duration = "10m"
    page: int = Field(500, ge=1, le=10_000)
    filter: Text | None = Field(None, description="jmespath; a record for which it is false is left out")
    statuses: list[Code] = Field(default_factory=list, description="only records in one of them; empty: all")
    scope: Code | None = Field(None, description="catalog scope; each row's own when absent")
    absence: Literal["keep", "delete", "zero", "ended"] | None = Field(
        None, description="what it means that a full comparison lacks a row; the entity's rule when absent"
    )
    owns: list[Code] | None = Field(
        None, description="fields that this source writes; all mapped ones when absent"
    )
    empty_clears: bool = Field(False, description="whether an empty value of the source empties the field")
    codes: Literal["global", "local"] = Field("global", description="whose codes the records bear (S1)")
    outlet: Code | None = Field(None, description="the outlet whose local codes they are")
    without_code: bool = Field(
        False, description="take records that have no code (S5), under the source's id"
    )
    duplicate: Literal["error", "update", "skip", "off"] = Field("update", description="of a document (S3)")
    duplicate_key: list[Code] = Field(
        default_factory=list, description="payload fields; the source's id when empty"
    )
    fields: dict[str, FieldSpec] = Field(description="field of the target -> what it is made of")

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if (self.entity is None) == (self.document is None):
            raise ValueError(f'pull "{self.name}": name either an entity or a document')
        if self.every and self.cron:
            raise ValueError(f'pull "{self.name}": every and cron exclude each other')
        if (self.codes == "local") != (self.outlet is not None):
            raise ValueError(f'pull "{self.name}": local codes belong to an outlet, global ones do not')
        return self


class Group(_Part):
    """Many documents into one of the target (W10): receipts per shift, shop and day; a late one makes a correction."""

    by: list[Literal["shift", "store", "station", "business_date", "kind", "currency"]] = Field(min_length=1)
    close: Literal["shift_close", "day_end"] = "day_end"
    after: Duration = Field("1h", description="how long after its close a group still waits for late sales")

    @model_validator(mode="after")
    def _closes(self) -> Self:
        if self.close == "shift_close" and "shift" not in self.by:
            raise ValueError('a group that closes with its shift is `by` "shift"')
        if self.close == "day_end" and not {"business_date", "shift"} & set(self.by):
            raise ValueError('a group that closes at the end of a day is `by` "business_date" or "shift"')
        return self


class Deliver(_Part):
    """Something that goes out: documents of some kinds, or rows of the catalog as they change.

    `name` is the delivery's effect.
    """

    name: Code
    kinds: list[Kind] = Field(default_factory=list, description="of documents that go out")
    entity: Entity | None = Field(None, description="or the catalog entity whose rows go out as they change")
    scope: Code | None = Field(None, description="catalog scope; those of the entity itself when absent")
    codes: LookUpKind | None = Field(
        None, description="what the other system calls such a row is its code of this kind there"
    )
    target: Code | None = Field(
        None, description="as the connector names it; absent: the document as it was sealed"
    )
    enabled: bool = True
    every: Duration | None = Field(None, description="sent at this interval; in real time when absent (S6)")
    cron: Cron | None = Field(None, description="or at these times (UTC)")
    filter: Text | None = Field(None, description="jmespath over the document; false: it has no such effect")
    statuses: list[Code] = Field(default_factory=list, description="order statuses that are exported (S2)")
    group: Group | None = None
    split: Text | None = Field(
        None, description="jmespath to a list: one record of the target for each element"
    )
    needs: list[Code] = Field(
        default_factory=list, description="effects of the same document that come first"
    )
    fields: dict[str, FieldSpec] = Field(default_factory=dict)

    @property
    def document_kinds(self) -> list[str]:
        """The kinds of document that have this effect; changes of the catalog are documents too."""
        return self.kinds if self.entity is None else [record_kind(self.entity)]

    @property
    def gathers(self) -> bool:
        """Whether its documents wait for their group or for a time, and are not ready as soon as they are applied."""
        return bool(self.group or self.every or self.cron)

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        where = f'deliver "{self.name}"'
        if bool(self.kinds) == (self.entity is not None):
            raise ValueError(f"{where}: name either the kinds of documents or an entity")
        if self.entity is None and (self.scope or self.codes):
            raise ValueError(f"{where}: scope and codes belong to an entity; documents have none")
        if self.codes and self.split:
            raise ValueError(f"{where}: a row in parts has no one code over there; leave codes or split out")
        if self.entity is not None and (self.group or self.statuses):
            raise ValueError(f"{where}: rows of the catalog have no status and are not grouped")
        if self.every and self.cron:
            raise ValueError(f"{where}: every and cron exclude each other")
        if self.group and (self.every or self.cron):
            raise ValueError(
                f"{where}: a group has a time of its own, `close` and `after`; leave every and cron out"
            )
        if self.group and self.needs:
            raise ValueError(f"{where}: a group is many documents and cannot need an effect of one")
        return self


class Matching(_Part):
    """How what this system has no known code for is found over there, and made once where it is not there.

    A party is found by its tax id, never by its name; anything else by `field`. What is in doubt waits for HQ.
    """

    kind: LookUpKind = Field(description="of look-up: party, currency, unit, legal_form, ...")
    entity: Code | None = Field(
        None,
        description="catalog entity whose row with this code says who or what it is; absent: only the code is known",
    )
    target: Code = Field(description="as the connector names it")
    field: Code | None = Field(None, description="of the target: what it is found by; a party by its tax id")
    tax_id: Code | None = Field(None, description="of the target, for parties: holds the tax id")
    branch: Code | None = Field(None, description="of the target, for parties: holds the KPP")
    origin: Code | None = Field(
        None, description="of the target, for parties: holds our code, and nothing else"
    )
    create: bool = Field(False, description="make it where it is not there")
    fields: dict[str, FieldSpec] = Field(
        default_factory=dict, description="field of the target -> what it is made of, of the entity's row"
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        where = f'match "{self.kind}"'
        if self.kind == "party":
            if self.tax_id is None or self.entity is None or self.field is not None:
                raise ValueError(f"{where}: a party needs entity and tax_id, and no field")
        elif self.field is None or self.tax_id or self.branch or self.origin:
            raise ValueError(f"{where}: needs field; tax_id, branch and origin are for parties")
        found_by = self.field or self.origin or self.tax_id
        if self.create and found_by not in self.fields and (self.kind == "party" or self.fields):
            # Or a lost answer would make it a second time.
            raise ValueError(f'{where}: what is made must have "{found_by}", by which it is found again')
        return self


class Definition(_Part):
    """An integration. `settings` are the connector's; a secret is written as `{env = "NAME"}` or `{file = "path"}`."""

    name: Code = Field(description="stands in delivery keys for ever")
    title: Text = ""
    connector: Code
    settings: dict[str, Any] = Field(default_factory=dict)
    budget: Budget | None = None
    check_every: Duration = Field("6h", description="how often settings and rights are checked again (S9)")
    pull: list[Pull] = Field(default_factory=list, max_length=100)
    deliver: list[Deliver] = Field(default_factory=list, max_length=100)
    match: list[Matching] = Field(default_factory=list, max_length=100)
    maps: dict[str, dict[str, str]] = Field(default_factory=dict, description="value maps that fields name")

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        for what, names in (
            ("pull", [one.name for one in self.pull]),
            ("deliver", [one.name for one in self.deliver]),
            ("match", [one.kind for one in self.match]),
        ):
            doubled = sorted({name for name in names if names.count(name) > 1})
            if doubled:
                raise ValueError(f'two [[{what}]] are named "{doubled[0]}"')
        return self


def read_definition(written: Any) -> Definition:
    """A definition from JSON values; `BadInput` names every wrong field."""
    try:
        return Definition.model_validate(written)
    except pydantic.ValidationError as error:
        raise from_validation(error, "definition") from None
