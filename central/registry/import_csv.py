"""Read HQ's list of stations: one CSV, whatever spreadsheet wrote it.

Pure: bytes in, rows and errors out. The header line names the columns and decides the separator (comma, semicolon or
tab); `code` and `store` are needed, `groups` (separated by spaces or "|") and `name` may follow. Every error names
its line and column, and all of them are told at once, so that a list is corrected in one go.
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass

from shared.errors import BadInput
from shared.ids import CODE_PATTERN

ROWS_MAX = 10_000
BYTES_MAX = 2 << 20
NAME_MAX = 200
_NEEDED = ("code", "store")
_OPTIONAL = ("groups", "name")
_CODE = re.compile(CODE_PATTERN)
_CODE_RULE = 'must be 1 to 40 letters, digits, ".", "_" or "-", and start with a letter or digit'


@dataclass(frozen=True, slots=True)
class StationRow:
    """A station as HQ wants it."""

    line: int
    code: str
    store: str
    groups: tuple[str, ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class LineError:
    """What is wrong where. `value` is what stands there."""

    line: int
    column: str
    value: str
    why: str


def parse(data: bytes) -> tuple[list[StationRow], list[LineError]]:
    """Rows in the file's order, and every fault that the file alone shows (a faulty row may be among the rows too).

    Raises:
        BadInput: it is no such list at all: not UTF-8, no header, too large.
    """
    lines = csv.reader(io.StringIO(decode(data), newline=""), delimiter=delimiter(data), strict=True)
    columns: list[str] | None = None
    rows: list[StationRow] = []
    errors: list[LineError] = []
    seen: dict[str, int] = {}
    try:
        for cells in lines:
            if not any(cell.strip() for cell in cells):
                continue
            if columns is None:
                columns = _header(cells)
                continue
            if len(rows) >= ROWS_MAX:
                raise BadInput(f"line {lines.line_num}: more than {ROWS_MAX} stations", hint="split the list")
            row, faults = _row(lines.line_num, columns, cells)
            if row.code in seen and not faults:
                faults = [LineError(row.line, "code", row.code, f"stands in line {seen[row.code]} already")]
            seen.setdefault(row.code, row.line)
            errors += faults
            if row.store:
                rows.append(row)
    except csv.Error as error:
        raise BadInput(f"line {lines.line_num}: {error}", hint="check the quotes in this line") from None
    if columns is None:
        raise BadInput("the list is empty", hint='its first line is the header: "code,store,groups,name"')
    return rows, errors


def decode(data: bytes) -> str:
    """The text of a list, within bounds."""
    if len(data) > BYTES_MAX:
        raise BadInput(
            f"the list has {len(data)} bytes; at most {BYTES_MAX} are taken", hint="split the list"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise BadInput(
            f"line {line}: byte 0x{data[error.start]:02x} is not UTF-8",
            hint='save the list as "CSV UTF-8 (comma delimited)"',
        ) from None


def delimiter(data: bytes) -> str:
    """Comma, semicolon or tab, whichever the header line has most of."""
    first = data.split(b"\n", 1)[0]
    return max(",;\t", key=lambda candidate: first.count(candidate.encode()))


def _header(cells: list[str]) -> list[str]:
    columns = [cell.strip().lower() for cell in cells]
    missing = [name for name in _NEEDED if name not in columns]
    unknown = [name for name in columns if name not in _NEEDED + _OPTIONAL]
    doubled = sorted({name for name in columns if columns.count(name) > 1})
    faults = []
    if missing:
        faults.append(f"missing {' and '.join(missing)}")
    if unknown:
        faults.append("unknown " + ", ".join(f'"{name}"' for name in unknown))
    if doubled:
        faults.append("twice " + ", ".join(doubled))
    if faults:
        raise BadInput(
            f"the header is wrong: {'; '.join(faults)}",
            hint='write "code,store,groups,name" (the last two are optional)',
        )
    return columns


def _row(line: int, columns: list[str], cells: list[str]) -> tuple[StationRow, list[LineError]]:
    if len(cells) > len(columns):
        extra = cells[len(columns)]
        why = f"{len(cells)} values for {len(columns)} columns; quote a value that holds the separator"
        return StationRow(line, cells[0].strip(), ""), [LineError(line, "(line)", extra, why)]
    values = {name: cell.strip() for name, cell in zip(columns, cells, strict=False)}
    groups = tuple(dict.fromkeys(part for part in re.split(r"[\s|]+", values.get("groups", "")) if part))
    row = StationRow(line, values.get("code", ""), values.get("store", ""), groups, values.get("name", ""))
    errors = []
    for column, value in (("code", row.code), ("store", row.store), *(("groups", group) for group in groups)):
        if not value:
            errors.append(LineError(line, column, value, "is empty"))
        elif not _CODE.match(value):
            errors.append(LineError(line, column, value, _CODE_RULE))
    if len(row.name) > NAME_MAX:
        errors.append(LineError(line, "name", row.name[:40] + "...", f"has more than {NAME_MAX} characters"))
    return row, errors
