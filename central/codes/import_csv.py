"""Read a list of codes: one CSV, whatever spreadsheet wrote it.

Pure. The header names the columns `kind,ours,system,theirs` and, for local codes, `outlet`. Every fault names its line
and column, all are told at once; two lines that contradict each other are a fault too.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

from central.codes.cross_reference import Match
from central.mapping.lookups import KINDS
from central.registry.import_csv import LineError, decode, delimiter
from shared.errors import BadInput

ROWS_MAX = 20_000
CODE_MAX = 100
_NEEDED = ("kind", "ours", "system", "theirs")
_OPTIONAL = ("outlet",)


@dataclass(frozen=True, slots=True)
class CodeRow:
    """A line: what a system calls one of ours."""

    line: int
    system: str
    match: Match


def parse(data: bytes) -> tuple[list[CodeRow], list[LineError]]:
    """Rows in the file's order, and every fault that the file alone shows.

    Raises:
        BadInput: it is no such list at all: not UTF-8, no header, too large.
    """
    lines = csv.reader(io.StringIO(decode(data), newline=""), delimiter=delimiter(data), strict=True)
    columns: list[str] | None = None
    rows: list[CodeRow] = []
    errors: list[LineError] = []
    seen: dict[tuple[str, ...], CodeRow] = {}
    try:
        for cells in lines:
            if not any(cell.strip() for cell in cells):
                continue
            if columns is None:
                columns = _header(cells)
                continue
            if len(rows) >= ROWS_MAX:
                raise BadInput(f"line {lines.line_num}: more than {ROWS_MAX} codes", hint="split the list")
            row, faults = _row(lines.line_num, columns, cells)
            errors += faults
            one = row.match
            before = seen.setdefault((one.kind, row.system, one.outlet, one.theirs), row)
            if before.match.ours != one.ours and not faults:
                why = f"stands in line {before.line} for {before.match.ours}"
                errors.append(LineError(row.line, "theirs", one.theirs, why))
            rows.append(row)
    except csv.Error as error:
        raise BadInput(f"line {lines.line_num}: {error}", hint="check the quotes in this line") from None
    if columns is None:
        raise BadInput("the list is empty", hint='its first line is the header: "kind,ours,system,theirs"')
    return rows, errors


def _header(cells: list[str]) -> list[str]:
    columns = [cell.strip().lower() for cell in cells]
    wrong = [name for name in columns if name not in _NEEDED + _OPTIONAL or columns.count(name) > 1]
    missing = [name for name in _NEEDED if name not in columns]
    if wrong or missing:
        faults = [f'missing "{name}"' for name in missing] + [
            f'"{name}" is unknown or twice' for name in wrong
        ]
        raise BadInput(
            f"the header is wrong: {'; '.join(faults)}",
            hint='write "kind,ours,system,theirs" and, for local codes, "outlet"',
        )
    return columns


def _row(line: int, columns: list[str], cells: list[str]) -> tuple[CodeRow, list[LineError]]:
    values = {name: cell.strip() for name, cell in zip(columns, cells, strict=False)}
    match = Match(
        values.get("kind", ""), values.get("ours", ""), values.get("theirs", ""), values.get("outlet", "")
    )
    row = CodeRow(line, values.get("system", ""), match)
    errors = []
    if len(cells) > len(columns):
        why = f"{len(cells)} values for {len(columns)} columns; quote a value that holds the separator"
        errors.append(LineError(line, "(line)", cells[len(columns)], why))
    if match.kind not in KINDS:
        errors.append(LineError(line, "kind", match.kind, f"is none of {', '.join(KINDS)}"))
    for column, value in (("ours", match.ours), ("system", row.system), ("theirs", match.theirs)):
        if not value:
            errors.append(LineError(line, column, value, "is empty"))
    errors += [
        LineError(line, column, values[column][:40], f"has more than {CODE_MAX} characters")
        for column in ("ours", "system", "theirs", "outlet")
        if len(values.get(column, "")) > CODE_MAX
    ]
    return row, errors
