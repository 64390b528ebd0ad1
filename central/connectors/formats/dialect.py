"""How a file writes its records: the form, and within it the encoding, separators, sheet and names."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

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

_UNFINISHED = (".part", ".partial", ".tmp", ".filepart", ".crdownload", ".swp")
_HIDDEN = (".", "~")
_XML_NAME = re.compile(r"[^\W\d][\w.-]{0,99}")


def _xml_name(value: str) -> str:
    if not _XML_NAME.fullmatch(value):
        raise ValueError(f'"{value}" is no name of an element')
    return value


XmlName = Annotated[str, AfterValidator(_xml_name)]


class Dialect(BaseModel):
    """Everything but the form has a usual value; what does not belong to the form is ignored by it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    form: Form = Field("csv", description="csv, xlsx, json, ndjson or xml")
    encoding: str = Field(
        "utf-8", description="of CSV, and of XML that is written; JSON and NDJSON are UTF-8"
    )
    delimiter: str = Field(",", description="of CSV: one character, or \\t")
    decimal: Literal[".", ","] = Field(".", description="of CSV")
    sheet: str | None = Field(None, description="of Excel; the first one when absent")
    record: XmlName = Field("row", description="of XML: the element that is a record")
    root: XmlName = Field("rows", description="of XML that is written: the outermost element")
    namespace: str | None = Field(None, max_length=500, description="of XML that is written")
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


def is_unfinished(name: str) -> bool:
    """Whether copying programs and editors give a file such a name until it is whole."""
    return name.startswith(_HIDDEN) or name.lower().endswith(_UNFINISHED)


def form_of(name: str) -> Form | None:
    """By the end of a file's name."""
    return SUFFIXES.get(PurePath(name).suffix.lower())
