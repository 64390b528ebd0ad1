"""One record on its way through a mapping, and how much work it may be.

Every value made, every character of text built and every step of an expression is charged, so neither a huge record
nor a clever expression can hold a node up or fill its memory (I24): the record is refused with a reason instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jmespath.visitor import TreeInterpreter

from central.mapping.errors import FieldError, TooMuch
from central.mapping.lookups import LookUp

WORK_MAX = 1_000_000
"""Steps per record, a few seconds of work; a receipt of 10,000 lines of 20 fields takes about 250,000."""
CHARS_PER_STEP = 32
EACH_MAX = 100_000
"""Elements of one list that is gone through."""
TEXT_MAX = 100_000
"""Characters of a text that a mapping builds; a text that it only passes on may be longer."""


class Work:
    """What all closures of one mapping share while it is applied to one record."""

    __slots__ = ("codes", "errors", "interpreter", "left", "position", "root")

    def __init__(self, root: Any, codes: Mapping[LookUp, str]) -> None:
        self.root = root
        self.codes = codes
        self.left = WORK_MAX
        self.errors: list[FieldError] = []
        self.position = 0
        self.interpreter: TreeInterpreter | None = None

    def spend(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise TooMuch(f"the record is too much work for one record (more than {WORK_MAX:,} steps)")

    def text(self, value: str) -> str:
        """Charge a text that was built."""
        if len(value) > TEXT_MAX:
            raise TooMuch(f"a text of more than {TEXT_MAX:,} characters would be built")
        self.spend(1 + len(value) // CHARS_PER_STEP)
        return value


Make = Callable[[Any, Work], Any]
"""(the element or record that names are looked for in, the work) -> value; None where there is none."""
Ask = Callable[[Any, Work, set[LookUp]], None]
"""Adds what `Make` will want to know of the cross-reference."""
