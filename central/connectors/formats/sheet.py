"""Reads one sheet of an Excel file, in a process of its own: run by path, prints a line of JSON per row.

A sheet with one cell in the far corner lets the reader ask for terabytes and abort; here that ends this process, and
the centre refuses the file. So nothing of ours is imported here.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
from decimal import Decimal
from typing import Any

import python_calamine

MEMORY_MAX_BYTES = 2 << 30
CPU_MAX_S = 300


def main(path: str, name: str) -> None:
    _limit()
    try:
        with python_calamine.CalamineWorkbook.from_path(path) as workbook:
            names = workbook.sheet_names
            if not names or (name and name not in names):
                _say({"no_sheet": names[:20]})
                return
            sheet = workbook.get_sheet_by_name(name or names[0])
            for _ in range(sheet.start[0] if sheet.start else 0):
                _say([])  # calamine begins at the first row that holds something
            for row in sheet.iter_rows():
                cells = [_text(value) for value in row]
                while cells and not cells[-1].strip():
                    cells.pop()
                _say(cells)
    except (python_calamine.CalamineError, OSError) as error:
        _say({"error": str(error)})


def _limit() -> None:
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX_BYTES, MEMORY_MAX_BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_MAX_S, CPU_MAX_S))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _say(line: Any) -> None:
    sys.stdout.write(json.dumps(line) + "\n")


def _text(value: Any) -> str:
    """A cell as it would stand in CSV. Excel knows inexact numbers only; their shortest form is what was typed."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return (
            str(int(value)) if value.is_integer() and abs(value) < 1e15 else format(Decimal(repr(value)), "f")
        )
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    return str(value)


if __name__ == "__main__":
    main(*sys.argv[1:])
