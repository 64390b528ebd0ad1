"""Where a value is found: a plain path, or an expression of jmespath where a path is more than names and positions.

Plain paths are compiled to a closure each; they are nearly all, and a hundred times as quick. `$` is the record that
is mapped, `@` the element that is gone through (outside `each` both are the same), `#` its position from 1.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from central.mapping import expressions
from central.mapping.names import Names
from central.mapping.work import Make
from shared.errors import BadInput

_NAME = r"[^\W\d]\w*"
_PLAIN = re.compile(rf"(?:\$|@|{_NAME})(?:\.{_NAME}|\[\d{{1,6}}\])*")
_SEGMENT = re.compile(rf"({_NAME})|\[(\d+)\]")


def compile_path(text: str, source: Names, root: Names) -> Make:
    """A closure that finds the value of a path or expression.

    Args:
        source: the fields of what names are looked for in.
        root: those of the whole record.
    Raises:
        BadInput: not a path, or it names a field that is not there.
    """
    text = text.strip()
    if not text:
        raise BadInput("a path is empty", hint="write e.g. {{name}}")
    if text == "#":
        return lambda _here, work: work.position
    if len(text) <= expressions.EXPRESSION_MAX and _PLAIN.fullmatch(text):
        return _plain(text, source, root)
    of_root = text.startswith(("$.", "$["))
    tree = expressions.parse(text[2:] if text.startswith("$.") else text[1:] if of_root else text)
    for segments in expressions.named_fields(tree):
        _must_be_known(root if of_root else source, segments)
    if of_root:
        return lambda _here, work: expressions.evaluate(tree, work.root, work)
    return lambda here, work: expressions.evaluate(tree, here, work)


def plain_segments(text: str) -> tuple[bool, list[str]] | None:
    """Whether a plain path begins at the whole record, and the names in it; None for an expression."""
    text = text.strip()
    if not _PLAIN.fullmatch(text):
        return None
    return text.startswith("$"), [found[1] for found in _SEGMENT.finditer(text) if found[1]]


def _plain(text: str, source: Names, root: Names) -> Make:
    of_root = text.startswith("$")
    steps: list[str | int] = [found[1] or int(found[2]) for found in _SEGMENT.finditer(text.lstrip("$@"))]
    _must_be_known(root if of_root else source, tuple(step for step in steps if isinstance(step, str)))
    find = _finder(steps)
    if of_root:
        return lambda _here, work: find(work.root)
    return lambda here, _work: find(here)


def _finder(steps: list[str | int]) -> Callable[[Any], Any]:
    if not steps:
        return lambda value: value
    if len(steps) == 1:
        only = steps[0]

        def one(value: Any) -> Any:
            try:
                return value[only]
            except (LookupError, TypeError):
                return None

        return one

    def find(value: Any) -> Any:
        try:
            for step in steps:
                value = value[step]
        except (LookupError, TypeError):
            return None
        return value

    return find


def _must_be_known(names: Names, segments: tuple[str, ...]) -> None:
    trouble = names.trouble(segments)
    if trouble:
        raise BadInput(trouble)
