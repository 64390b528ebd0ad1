"""A definition as a TOML file: written for its owner, and read with the line of whatever is wrong.

TOML has no null; a definition that holds one cannot be exported, and says where.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from typing import Any

import pydantic

from central.integrations.definition import Definition
from central.integrations.difference import shown
from shared.errors import BadInput

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_AT_LINE = re.compile(r"\(at line (\d+)")
_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(#.*)?")
_KEY = re.compile(
    r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*="""
)
_KEY_PART = re.compile(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""")
WIDTH = 100
"""A list or table that is longer stands on several lines where TOML allows it."""
FILE_MAX_BYTES = 1 << 20


class BadFile(BadInput):
    """A file that holds no definition; `line` is where, as far as that can be told."""

    code = "bad-definition-file"

    def __init__(self, where: str, line: int | None, why: str, hint: str = "") -> None:
        at = f", line {line}" if line else ""
        super().__init__(f"{where}{at}: {why}", hint=hint, line=line)
        self.line = line


# ---- reading ----


def read(text: str, where: str) -> Definition:
    """The definition in a file.

    Raises:
        BadFile: it is not TOML, or not a definition; with line and reason.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _AT_LINE.search(str(error))
        raise BadFile(where, int(found[1]) if found else None, str(error).partition(" (at ")[0]) from None
    try:
        return Definition.model_validate(values)
    except pydantic.ValidationError as error:
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
        path = fault["loc"]
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        why = fault["msg"].removeprefix("Value error, ")
        name = ".".join(str(part) for part in path if not isinstance(part, int))
        raise BadFile(where, line_of(text, path), f"{name}: {why}{more}" if name else why + more) from None


def line_of(text: str, path: Sequence[str | int]) -> int | None:
    """The line at which a value stands; that of the nearest table around it where it is not there."""
    best: tuple[int, int] = (0, 0)  # parts that fit, line
    for number, place in _places(text):
        fits = 0
        while fits < min(len(place), len(path)) and place[fits] == path[fits]:
            fits += 1
        if fits == len(place) and fits > best[0]:
            best = fits, number
    return best[1] or None


def _places(text: str) -> Iterator[tuple[int, list[str | int]]]:
    """Every line that begins a table or a value, with the path of what begins there."""
    table: list[str | int] = []
    counts: dict[tuple[str | int, ...], int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.fullmatch(line):
            table = []
            names = [_unquoted(name) for name in _KEY_PART.findall(header[2])]
            for index, name in enumerate(names):
                table.append(name)
                place = tuple(table)
                if header[1] == "[[" and index == len(names) - 1:
                    counts[place] = counts.get(place, -1) + 1
                if place in counts:
                    table.append(counts[place])
            yield number, list(table)
        elif key := _KEY.match(line):
            yield number, [*table, *(_unquoted(name) for name in _KEY_PART.findall(key[1]))]


def _unquoted(name: str) -> str:
    return name[1:-1] if name[0] in "\"'" else name


# ---- writing ----


def write(definition: Definition) -> str:
    """The definition as its owner would have written it; secrets stand as `***`, which an import leaves as they are."""
    return "".join(f"{line}\n" for line in _table(shown(definition), ())).lstrip("\n")


def _table(values: dict[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    tables: list[tuple[str, Any]] = []
    for name, value in values.items():
        if (isinstance(value, dict) and not _is_short(value)) or (
            isinstance(value, list)
            and value
            and len(path) < 1
            and all(isinstance(one, dict) for one in value)
        ):
            tables.append((name, value))
        else:
            yield from _value_lines(name, value, path)
    for name, value in tables:
        place = (*path, name)
        header = ".".join(map(_name, place))
        for one in value if isinstance(value, list) else [value]:
            yield ""
            yield f"[[{header}]]" if isinstance(value, list) else f"[{header}]"
            yield from _table(one, place)


def _is_short(value: dict[str, Any]) -> bool:
    """What stands better as an inline table, which must be one line: `{env = "X"}`, a field's few words."""
    return not value or (
        len(value) <= 5
        and all(not isinstance(one, dict | list) or not one for one in value.values())
        and "name" not in value
    )


def _value_lines(name: str, value: Any, path: tuple[str, ...]) -> Iterator[str]:
    where = ".".join((*path, name))
    text = _value(value, where)
    if isinstance(value, list) and len(text) > WIDTH:
        yield f"{_name(name)} = ["
        for one in value:
            yield f"    {_value(one, where)},"
        yield "]"
    else:
        yield f"{_name(name)} = {text}"


def _value(value: Any, where: str) -> str:
    if value is None:
        raise BadInput(f"{where} is null, which a TOML file cannot say", hint="export it as JSON: --json")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return f"[{', '.join(_value(one, where) for one in value)}]"
    if isinstance(value, dict):
        inner = ", ".join(f"{_name(name)} = {_value(one, f'{where}.{name}')}" for name, one in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    return repr(value)


def _name(name: str) -> str:
    return name if _BARE.fullmatch(name) else json.dumps(name, ensure_ascii=False).replace("\x7f", "\\u007f")
