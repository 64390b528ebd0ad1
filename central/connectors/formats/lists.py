"""Read a dropped list row by row: what it says of itself, and every row with its line.

A list says what it is in its first line (CSV: `#counterflow entity=price scope=pricelist/P mode=complete`), in its
first cell (Excel: the same words), in its first object (NDJSON: `{"counterflow": {...}}`), in its envelope (JSON:
`{"counterflow": {...}, "rows": [...]}`), in its outermost element (XML: `counterflow="entity=price"`), or in a file
beside it, `<name>.about.json`. Invariant: a row that cannot be read is a row with a reason, never the end of the list.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel

from central.connectors.base import ListAbout, SourceRow
from central.connectors.formats.cells import CellError, read_cells
from central.connectors.formats.dialect import SUFFIXES, form_of
from central.connectors.formats.header import ListHeader, from_fields, from_line, from_ndjson_line
from central.connectors.formats.reading import LINE_MAX_BYTES, read_records, sheet_rows, whole_json
from central.connectors.formats.record import Record
from central.connectors.formats.xml import root_attributes
from shared.canonical import parse_object
from shared.catalog.entities import ENTITIES
from shared.errors import BadInput

SIDECAR = ".about.json"
DELETED = "deleted"
"""The column or field that makes a row a deletion."""
MARK = "counterflow"
_TRUE = {"1", "true", "yes", "y", "x"}
_FALSE = {"", "0", "false", "no", "n"}
Rows = Callable[[], Iterator[SourceRow]]


def open_list(path: Path, sidecar: Path | None) -> tuple[ListAbout, Rows]:
    """What the list is, and how to read its rows.

    Raises:
        BadInput: it does not say what it is, says it twice, or is of no form that is read here.
    """
    form = form_of(path.name)
    if form is None:
        raise BadInput(
            f"{path.name}: files ending in {path.suffix or 'nothing'} are not read",
            hint=f"name it {', '.join(SUFFIXES)}",
        )
    aside = None
    if sidecar is not None:
        aside = from_fields(parse_object(sidecar.read_bytes(), sidecar.name), sidecar.name)
    own, skip = _own_header(path, form, aside)
    header = _one_of(aside, own, path)
    dialect = header.dialect(form)
    texts = form in ("csv", "xlsx", "xml")

    def rows() -> Iterator[SourceRow]:
        model = ENTITIES[header.entity].model
        for record in read_records(path, dialect, skip, _json_of):
            yield _text_row(record, model, header) if texts else _json_row(record)

    return header.about(), rows


def _own_header(path: Path, form: str, aside: ListHeader | None) -> tuple[ListHeader | None, int]:
    """What the list says of itself, and how many lines of it that takes up."""
    match form:
        case "json":
            envelope, _ = whole_json(path, _json_of)
            return (from_fields(envelope[MARK], path.name) if MARK in envelope else None), 0
        case "xml":
            words = root_attributes(path).get(MARK)
            return (None if words is None else from_line(f"#{MARK} {words}", path.name)), 0
        case "xlsx":
            first = next(sheet_rows(path, aside.sheet if aside else None), None) or [""]
            own = from_line(first[0].strip(), path.name)
        case _:
            with open(path, "rb") as file:
                line = file.readline(LINE_MAX_BYTES).removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace")
            own = (from_line if form == "csv" else from_ndjson_line)(line.strip(), path.name)
    return own, int(own is not None)


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


def _json_of(raw: bytes | str) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadInput(str(error)) from None


def _json_row(record: Record) -> SourceRow:
    line, value, why = record
    if value is None:
        return SourceRow(line, None, why=why)
    deleted = value.pop(DELETED, False)
    if not isinstance(deleted, bool):
        return SourceRow(line, value, why=f'"{DELETED}" must be true or false')
    return SourceRow(line, value, deleted)


def _text_row(record: Record, model: type[BaseModel], header: ListHeader) -> SourceRow:
    line, cells, why = record
    if cells is None:
        return SourceRow(line, None, why=why)
    mark = str(cells.pop(DELETED, "")).strip().lower()
    if mark not in _TRUE | _FALSE:
        return SourceRow(line, None, why=f'{DELETED} "{mark}" is neither yes nor no')
    try:
        values = read_cells(cells, model, header.decimal, header.currency)
    except CellError as error:
        return SourceRow(line, error.values, mark in _TRUE, why=error.why)
    return SourceRow(line, values, mark in _TRUE)
