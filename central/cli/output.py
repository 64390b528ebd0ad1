"""What the command line prints: tables that read well, JSON that machines read, and errors that say what to do.

Tables go to stdout with two spaces between columns, numbers to the right, so that they can be cut and sorted too.
On a terminal the last column is cut to what fits; into a pipe or a file nothing is.
"""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

import orjson
import typer

from shared.canonical import parse, parse_object
from shared.clock import from_rfc3339
from shared.errors import BadInput, CounterflowError
from shared.money import exponent_of

P = ParamSpec("P")
R = TypeVar("R")

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Limit = Annotated[int, typer.Option(help="At most so many.", min=1)]
Station = Annotated[str | None, typer.Option(help="Of this station.", show_default=False)]
GAP = "  "
FAULTS_SHOWN = 50


def table(headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows under their headers; None is a dash, and nothing at all is said so."""
    if not rows:
        say("none")
        return
    cells = [["-" if cell is None else _one_line(str(cell)) for cell in row] for row in rows]
    right = [_is_numbers([row[column] for row in rows]) for column in range(len(headers))]
    shown_headers = [header.upper() for header in headers]
    widths = [max(_width(text) for text in column) for column in zip(shown_headers, *cells, strict=True)]
    limit = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in [shown_headers, *cells]:
        parts = [
            " " * (width - _width(text)) + text if to_right else text + " " * (width - _width(text))
            for text, width, to_right in zip(line, widths, right, strict=True)
        ]
        text = GAP.join(parts).rstrip()
        typer.echo(_cut(text, limit) if limit else text)


def fields(pairs: Sequence[tuple[str, Any]]) -> None:
    """Print one thing, a line for each of its fields."""
    width = max(len(name) for name, _ in pairs) + 1
    for name, value in pairs:
        typer.echo(f"{name + ':':<{width}} {'-' if value is None or value == '' else value}")


def json(value: Any) -> None:
    """Print a value as indented JSON."""
    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def object_in(path: Path) -> dict[str, Any]:
    """The JSON object that a file holds.

    Raises:
        BadInput: there is no such file, or something else in it.
    """
    try:
        return parse_object(path.read_bytes(), str(path))
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from None


def say(text: str) -> None:
    """Talk: to stderr, so that it is never taken for data."""
    typer.echo(text, err=True)


def done(text: str) -> None:
    """Say that an act was done."""
    say(f"done: {text}")


def money(minor: int | None, currency: str | None) -> str | None:
    """`12.50` for 1250 minor units of a currency."""
    if minor is None:
        return None
    places = exponent_of(currency or "")
    if places == 0:
        return str(minor)
    whole, part = divmod(abs(minor), 10**places)
    return f"{'-' if minor < 0 else ''}{whole}.{part:0{places}d}"


def short_time(text: str | None) -> str | None:
    """`2026-11-21 10:00:00` (UTC) of an RFC 3339 time."""
    return None if text is None else text[:19].replace("T", " ")


def ago(text: str | None, now: str) -> str | None:
    """How long before *now* a time was, in the largest unit that fits."""
    if text is None:
        return None
    seconds = max(0, (from_rfc3339(now) - from_rfc3339(text)) // 1000)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def duration(ms: int | None) -> str | None:
    """`1.3 s`, `4 min`, `2 h` of milliseconds."""
    if ms is None:
        return None
    if ms < 60_000:
        return f"{ms / 1000:.1f} s"
    return f"{ms // 60_000} min" if ms < 7_200_000 else f"{ms // 3_600_000} h"


def told(command: Callable[P, R]) -> Callable[P, R]:
    """Make a command tell our errors in words and end with their exit code."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except CounterflowError as error:
            say(error.told(*_faults(error.extra.get("rows"))))
            raise typer.Exit(error.exit_code) from None

    return run


def _faults(rows: Any) -> list[str]:
    """The wrong lines of a list."""
    if not isinstance(rows, list):
        return []
    shown = [
        f'line {row.get("line")}, {row.get("column")} "{row.get("value")}": {row.get("why")}'
        for row in rows[:FAULTS_SHOWN]
    ]
    return shown + ([f"... and {len(rows) - FAULTS_SHOWN} more"] if len(rows) > FAULTS_SHOWN else [])


def _is_numbers(cells: Sequence[Any]) -> bool:
    given = [str(cell) for cell in cells if cell is not None]
    return bool(given) and all(text.replace(".", "", 1).removeprefix("-").isdigit() for text in given)


def _one_line(text: str) -> str:
    return " ".join(text.split()) if any(char in text for char in "\n\r\t") else text


def _width(text: str) -> int:
    """Columns of a terminal that a text takes: signs of East Asian scripts take two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def _cut(text: str, limit: int) -> str:
    if _width(text) <= limit:
        return text
    kept = ""
    for char in text:
        if _width(kept + char) >= limit:
            break
        kept += char
    return kept + "…"


def assignment(text: str) -> tuple[str, Any]:
    """PATH=VALUE of a correction or a setting."""
    path, equals, value = text.partition("=")
    if not equals or not path:
        raise BadInput(
            f'--set "{text}" has no path', hint="write it like --set customer=C-17 or --set folder=/srv/erp"
        )
    try:
        return path, parse(value)
    except BadInput:
        return path, value  # a bare word is text
