"""`text with {{path | filter('x')}}`, compiled to one closure.

A template that is one pair of braces and nothing else keeps the value's type; any other makes text. A bar in braces
leads to a filter; jmespath's own bar needs brackets around it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from difflib import get_close_matches
from typing import Any

from central.mapping.errors import shown
from central.mapping.expressions import outside_quotes
from central.mapping.filters import FILTERS, Argument, Change
from central.mapping.names import Names
from central.mapping.paths import compile_path
from central.mapping.values import copy_of, text_of
from central.mapping.work import CHARS_PER_STEP, Make, Work
from shared.errors import BadInput

TEMPLATE_MAX = 10_000
PARTS_MAX = 100
FILTERS_MAX = 10
ARGUMENT_MAX = 200
Maps = Mapping[str, Mapping[str, Any]]

_CALL = re.compile(r"\s*([a-z_]+)\s*(?:\((.*)\))?\s*", re.DOTALL)
_ARGUMENT = re.compile(r"""\s*(?:'([^']*)'|"([^"]*)"|(-?\d{1,40}(?:\.\d{1,40})?))\s*(,|$)""")


def compile_template(text: str, source: Names, root: Names, maps: Maps) -> Make:
    """A closure that makes what the template says.

    Raises:
        BadInput: it is too long, not closed, or names a field, filter or value map that is not there.
    """
    if len(text) > TEMPLATE_MAX:
        raise BadInput(f"the template is longer than {TEMPLATE_MAX:,} characters")
    parts = _split(text)
    if len(parts) > PARTS_MAX:
        raise BadInput(f"the template has more than {PARTS_MAX} parts")
    made = [part if literal else _braces(part, source, root, maps) for literal, part in parts]
    if len(made) == 1:
        only = made[0]
        return (lambda _here, _work: only) if isinstance(only, str) else _lone(only)
    return _text([part for part in made if part != ""])


def _split(text: str) -> list[tuple[bool, str]]:
    """(is it literal, literal or what stands in the braces), in order."""
    parts: list[tuple[bool, str]] = []
    position = 0
    while (start := text.find("{{", position)) >= 0:
        if start > position:
            parts.append((True, text[position:start]))
        end = next(
            (
                at
                for at, char in outside_quotes(text, start + 2)
                if char == "}" and text[at + 1 : at + 2] == "}"
            ),
            None,
        )
        if end is None:
            raise BadInput(f'"{shown(text[start:])}" is not closed', hint="write {{path}}")
        parts.append((False, text[start + 2 : end]))
        position = end + 2
    if position < len(text) or not parts:
        parts.append((True, text[position:]))
    return parts


def _braces(inside: str, source: Names, root: Names, maps: Maps) -> Make:
    path, *calls = _bars(inside)
    get = compile_path(path, source, root)
    if not calls:
        return get
    if len(calls) > FILTERS_MAX:
        raise BadInput(f"a value passes through at most {FILTERS_MAX} filters")
    changes = [_filter(call, maps) for call in calls]

    def make(here: Any, work: Work) -> Any:
        value = get(here, work)
        for takes_absent, change in changes:
            if value is None and not takes_absent:
                continue
            work.spend(1)
            value = change(value)
            if value.__class__ is str:
                work.text(value)
        return value

    return make


def _bars(inside: str) -> list[str]:
    """Split at single bars; a double one is jmespath's `or`."""
    cuts = []
    for at, char in outside_quotes(inside):
        if char == "|" and inside[at + 1 : at + 2] != "|" and inside[at - 1 : at] != "|":
            cuts.append(at)
    starts, ends = [0, *(at + 1 for at in cuts)], [*cuts, len(inside)]
    return [inside[start:end] for start, end in zip(starts, ends, strict=True)]


def _filter(call: str, maps: Maps) -> tuple[bool, Change]:
    found = _CALL.fullmatch(call)
    if found is None:
        raise BadInput(f'"{shown(call.strip())}" is no filter', hint="write e.g. {{name | cut(40)}}")
    name = found[1]
    known = FILTERS.get(name)
    if known is None:
        raise BadInput(f'there is no filter "{name}"' + nearest(name, FILTERS))
    arguments: list[Any] = _arguments(name, found[2])
    most = len(known.arguments)
    if not most - known.optional <= len(arguments) <= most:
        raise BadInput(f"the filter {name} takes {most or 'no'} arguments, not {len(arguments)}")
    if name == "map":
        arguments = [value_map(str(arguments[0]), maps)]
    for argument, kind in zip(arguments, known.arguments, strict=False):
        if not isinstance(argument, kind):
            raise BadInput(f'the filter {name} does not take "{shown(argument)}"')
    return known.takes_absent, known.make(*arguments)


def _arguments(name: str, text: str | None) -> list[Argument]:
    if text is None or not text.strip():
        return []
    arguments: list[Argument] = []
    position = 0
    while True:
        found = _ARGUMENT.match(text, position)
        if found is None:
            raise BadInput(
                f'the filter {name} cannot take "{shown(text[position:])}"', hint="quote a text: 'x'"
            )
        single, double, number, after = found.groups()
        if number is not None:
            arguments.append(Decimal(number) if "." in number else int(number))
        else:
            arguments.append(single if single is not None else double)
        if len(str(arguments[-1])) > ARGUMENT_MAX:
            raise BadInput(f"an argument of {name} is longer than {ARGUMENT_MAX} characters")
        if after != ",":
            return arguments
        position = found.end()


def value_map(name: str, maps: Maps) -> Mapping[str, Any]:
    found = maps.get(name)
    if found is None:
        raise BadInput(f'there is no value map "{name}"' + nearest(name, maps))
    return found


def nearest(name: str, known: Mapping[str, Any]) -> str:
    near = get_close_matches(name, known, 1)
    if near:
        return f'; did you mean "{near[0]}"?'
    return f"; known are {', '.join(sorted(known)[:20])}" if known else ""


def _lone(get: Make) -> Make:
    def make(here: Any, work: Work) -> Any:
        value = get(here, work)
        if value.__class__ is str:
            work.spend(1 + len(value) // CHARS_PER_STEP)
        elif isinstance(value, list | dict):
            return copy_of(value, work)
        return value

    return make


def _text(parts: list[str | Make]) -> Make:
    def make(here: Any, work: Work) -> str:
        return work.text(
            "".join([part if isinstance(part, str) else text_of(part(here, work)) for part in parts])
        )

    return make
