"""What an integration says of another system's files: where they are, how they are called, how they are written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from central.connectors.files.names import NamePattern
from central.connectors.formats.dialect import Dialect
from shared.documents.fields import Code


def _pattern(text: str) -> str:
    NamePattern(text)
    return text


Pattern = Annotated[str, AfterValidator(_pattern)]
KEY = "key"
"""The field that records get whose key is made of several."""


class FileList(BaseModel):
    """One sort of record, as `[settings.lists.NAME]`; NAME is the `source` of a `[[pull]]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    full: Pattern | None = Field(None, description="Names of files that hold all records: * ? {field}.")
    changes: Pattern | None = Field(None, description="Names of files that hold what changed since.")
    key: list[Code] | Code = Field(description="Field that tells records apart; several make one.")
    dialect: Dialect = Field(Dialect(), description="How the files are written.")
    skip: int = Field(0, ge=0, le=1_000, description="Lines above the column names, or rows of a sheet.")
    fields: list[Code] = Field(
        default_factory=list, description="Fields that records have, so that a misspelt one is told."
    )
    order: Code = Field("time", description="By arrival (time), by name, or by a field of the name.")
    parts: list[Code] = Field(
        default_factory=list, description="Fields of the name; each value has full files of its own."
    )
    deleted: dict[Code, list[str]] = Field(
        default_factory=dict, description="Values of fields by which a record says that it is gone."
    )
    ready: str | None = Field(
        None, max_length=20, description='A file counts once one with this ending is beside it, e.g. ".ok".'
    )
    shrink_percent: int = Field(
        50, ge=0, le=100, description="A full file with less of its forerunner's bytes is refused."
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        stated = [pattern for pattern in (self.full, self.changes) if pattern is not None]
        if not stated:
            raise ValueError("say with full or changes how the files are called")
        for name in {*self.parts, *({self.order} - {"time", "name"})}:
            if any(name not in NamePattern(pattern).fields for pattern in stated):
                raise ValueError(f'"{name}" is no field of the names; write {{{name}}} in each pattern')
        return self

    @property
    def keys(self) -> list[str]:
        return [self.key] if isinstance(self.key, str) else self.key

    @property
    def key_field(self) -> str:
        """The field that a record is known by."""
        return self.key if isinstance(self.key, str) else KEY


class FilesSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: Path = Field(description="Absolute path of the folder; it is only read.")
    lists: dict[Code, FileList] = Field(min_length=1, max_length=100, description="The sorts of files there.")
    settle_s: float = Field(2.0, ge=0, le=3_600, description="A file is whole once it rested for so long.")
