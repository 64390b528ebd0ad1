"""How a file writes its records: the form, and within it the encoding, separators, sheet and names."""

from __future__ import annotations

from pathlib import PurePath
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Form = Literal["csv", "xlsx", "json", "ndjson", "xml"]
SUFFIXES: dict[str, Form] = {
    ".csv": "csv",
    ".txt": "csv",
    ".xlsx": "xlsx",
    ".json": "json",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".xml": "xml",
}


class Dialect(BaseModel):
    """Everything but the form has a usual value; what does not belong to the form is ignored by it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    form: Form = Field("csv", description="csv, xlsx, json, ndjson or xml")
    encoding: str = Field("utf-8", description="of CSV; JSON and NDJSON are UTF-8, XML says it itself")
    delimiter: str = Field(",", description="of CSV: one character, or \\t")
    decimal: Literal[".", ","] = Field(".", description="of CSV")
    sheet: str | None = Field(None, description="of Excel; the first one when absent")
    record: str = Field("row", description="of XML: the element that is a record")
    lists: list[str] = Field(
        default_factory=list, description="of XML: elements that are a list even where there is one"
    )

    @model_validator(mode="after")
    def _can_be_used(self) -> Self:
        if len(self.delimiter) != 1 and self.delimiter != r"\t":
            raise ValueError(f'delimiter "{self.delimiter}" must be one character (or \\t)')
        try:
            wide = len("\n".encode(self.encoding)) != 1
        except (LookupError, UnicodeError):
            wide = True
        if wide:
            raise ValueError(
                f'encoding "{self.encoding}" is not known, or has more than one byte for a line feed; '
                "save the file as UTF-8"
            )
        return self

    @property
    def separator(self) -> str:
        return "\t" if self.delimiter == r"\t" else self.delimiter


def form_of(name: str) -> Form | None:
    """By the end of a file's name."""
    return SUFFIXES.get(PurePath(name).suffix.lower())
