"""Read a dropped list row by row: what it says of itself, and every row with its line.

A list says what it is in its first line (CSV: `#counterflow entity=price scope=pricelist/P mode=complete`), in its
first object (NDJSON: `{"counterflow": {...}}`), in its envelope (JSON: `{"counterflow": {...}, "rows": [...]}`), or in
a file beside it, `<name>.about.json`. Invariants: a row that cannot be read is a row with a reason, never the end of
the list; CSV and NDJSON are read in bounded memory whatever their size.
"""

from __future__ import annotations

import codecs
import csv
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson
from pydantic import BaseModel

from central.connectors.base import ListAbout, SourceRow
from central.connectors.drop_folder.cells import CellError, read_cells
from central.connectors.drop_folder.header import ListHeader, from_csv_line, from_fields, from_ndjson_line
from shared.canonical import parse_object
from shared.catalog.entities import ENTITIES
from shared.errors import BadInput, TooLarge

SIDECAR = ".about.json"
LINE_MAX_BYTES = 1 << 20
JSON_MAX_BYTES = 64 << 20
"""A JSON list is read as a whole; a longer one is sent as NDJSON."""
DELETED = "deleted"
"""The column or field that makes a row a deletion."""
_TRUE = {"1", "true", "yes", "y", "x"}
_FALSE = {"", "0", "false", "no", "n"}


Rows = Callable[[], Iterator[SourceRow]]


def open_list(path: Path, sidecar: Path | None) -> tuple[ListAbout, Rows]:
    """What the list is, and how to read its rows.

    Raises:
        BadInput: it does not say what it is, says it twice, or is of no form that is read here.
    """
    aside = None
    if sidecar is not None:
        aside = from_fields(parse_object(sidecar.read_bytes(), sidecar.name), sidecar.name)
    match path.suffix.lower():
        case ".csv" | ".txt":
            header, skip = _described(path, aside, from_csv_line)
            return header.about(), lambda: _csv_rows(path, header, skip)
        case ".ndjson" | ".jsonl":
            header, skip = _described(path, aside, from_ndjson_line)
            return header.about(), lambda: _ndjson_rows(path, skip)
        case ".json":
            envelope = _whole(path)
            header = _one_of(
                aside,
                from_fields(envelope["counterflow"], path.name) if "counterflow" in envelope else None,
                path,
            )
            return header.about(), lambda: _json_rows(path)
    raise BadInput(
        f"{path.name}: files ending in {path.suffix or 'nothing'} are not read",
        hint="name it .csv, .ndjson or .json",
    )


def _described(
    path: Path, aside: ListHeader | None, inside: Callable[[str, str], ListHeader | None]
) -> tuple[ListHeader, int]:
    """The list's header, and how many lines it takes up in the list itself."""
    with open(path, "rb") as file:
        first = file.readline(LINE_MAX_BYTES).removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace")
    own = inside(first.strip(), path.name)
    return _one_of(aside, own, path), int(own is not None)


def _one_of(aside: ListHeader | None, own: ListHeader | None, path: Path) -> ListHeader:
    if aside and own:
        raise BadInput(
            f"{path.name} says what it is and {path.name}{SIDECAR} says it too", hint="remove one of them"
        )
    header = aside or own
    if header is None:
        raise BadInput(
            f"{path.name} does not say what it is",
            hint="let a CSV begin with a line such as: #counterflow entity=product mode=changes "
            '(NDJSON and JSON: {"counterflow": {"entity": "product", "mode": "changes"}})',
        )
    return header


# ---- rows ----


def _json_row(line: int, value: Any) -> SourceRow:
    if not isinstance(value, dict):
        return SourceRow(line, None, why="a row must be an object")
    deleted = value.pop(DELETED, False)
    if not isinstance(deleted, bool):
        return SourceRow(line, value, why=f'"{DELETED}" must be true or false')
    return SourceRow(line, value, deleted)


def _lines(file: BinaryIO, where: str) -> Iterator[tuple[int, bytes]]:
    number = 0
    while line := file.readline(LINE_MAX_BYTES + 1):
        number += 1
        if len(line) > LINE_MAX_BYTES:
            raise TooLarge(f"{where}, line {number} is longer than {LINE_MAX_BYTES} bytes")
        yield number, line


def _ndjson_rows(path: Path, skip: int) -> Iterator[SourceRow]:
    with open(path, "rb") as file:
        for number, line in _lines(file, path.name):
            if number <= skip or not line.strip():
                continue
            try:
                value = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                yield SourceRow(number, None, why=f"not valid JSON: {error}")
                continue
            yield _json_row(number, value)


def _whole(path: Path) -> dict[str, Any]:
    if path.stat().st_size > JSON_MAX_BYTES:
        raise TooLarge(
            f"{path.name} has {path.stat().st_size >> 20} MiB; a JSON list has at most {JSON_MAX_BYTES >> 20}",
            hint="send it as NDJSON, one row a line",
        )
    envelope = parse_object(path.read_bytes().removeprefix(codecs.BOM_UTF8), path.name)
    if not isinstance(envelope.get("rows"), list):
        raise BadInput(f'{path.name}: "rows" must be a list')
    return envelope


def _json_rows(path: Path) -> Iterator[SourceRow]:
    starts = row_lines(path.read_text(encoding="utf-8-sig"))
    for line, value in zip(starts, _whole(path)["rows"], strict=True):
        yield _json_row(line, value)


def row_lines(text: str) -> list[int]:
    """The line on which each element of the `rows` of a valid JSON object begins."""
    space = re.compile(r"\s*")
    decoder = json.JSONDecoder()

    def after_space(at: int) -> int:
        found = space.match(text, at)
        assert found
        return found.end()

    lines: list[int] = []
    at = after_space(0) + 1  # behind the brace
    while text[after_space(at)] != "}":
        name, at = decoder.raw_decode(text, after_space(at))
        at = after_space(after_space(at) + 1)  # behind the colon
        if name != "rows":
            _, at = decoder.raw_decode(text, at)
        else:
            lines = []
            line, counted = 1, 0
            at += 1
            while text[at := after_space(at)] != "]":
                line += text.count("\n", counted, at)
                counted = at
                lines.append(line)
                _, at = decoder.raw_decode(text, at)
                at = after_space(at)
                at += text[at] == ","
            at += 1
        at = after_space(at)
        at += text[at] == ","
    return lines


@dataclass(slots=True)
class _Decoded:
    """The lines of a CSV file as text, for the csv module; remembers the newest one that was not in its encoding."""

    file: BinaryIO
    where: str
    encoding: str
    skip: int
    undecodable: int = 0

    def __iter__(self) -> Iterator[str]:
        for number, line in _lines(self.file, self.where):
            if number <= self.skip:
                continue
            raw = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
            try:
                yield raw.decode(self.encoding)
            except UnicodeDecodeError:
                self.undecodable = number
                yield raw.decode(self.encoding, "replace")


def _csv_rows(path: Path, header: ListHeader, skip: int) -> Iterator[SourceRow]:
    entity = ENTITIES[header.entity]
    with open(path, "rb") as file:
        source = _Decoded(file, path.name, header.encoding, skip)
        delimiter = "\t" if header.delimiter == r"\t" else header.delimiter
        reader = csv.reader(source, delimiter=delimiter, strict=True)
        columns: list[str] | None = None
        while True:
            line = reader.line_num + skip + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield SourceRow(line, None, why=f"not valid CSV: {error}")
                continue
            if not any(cells):
                continue
            if columns is None:
                columns = [cell.strip() for cell in cells]
                _check_columns(columns, path.name, line)
                continue
            if source.undecodable >= line:
                yield SourceRow(line, None, why=f"not {header.encoding} text")
            elif len(cells) != len(columns):
                yield SourceRow(line, None, why=f"{len(cells)} cells, but there are {len(columns)} columns")
            else:
                yield _csv_row(line, dict(zip(columns, cells, strict=True)), entity.model, header)


def _check_columns(columns: list[str], where: str, line: int) -> None:
    doubled = {name for name in columns if columns.count(name) > 1}
    if doubled or "" in columns:
        what = f"the column {min(doubled)} stands there twice" if doubled else "a column has no name"
        raise BadInput(f"{where}, line {line}: {what}")


def _csv_row(line: int, cells: dict[str, str], model: type[BaseModel], header: ListHeader) -> SourceRow:
    mark = cells.pop(DELETED, "").strip().lower()
    if mark not in _TRUE | _FALSE:
        return SourceRow(line, None, why=f'{DELETED} "{mark}" is neither yes nor no')
    try:
        values = read_cells(cells, model, header.decimal, header.currency)
    except CellError as error:
        return SourceRow(line, error.values, mark in _TRUE, why=error.why)
    return SourceRow(line, values, mark in _TRUE)
