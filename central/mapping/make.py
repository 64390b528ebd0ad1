"""How each form of field is made, and the mapping that a record is put through.

A part is two closures: `make` gives the value, `ask` gathers the codes that `make` will want; parts without a `ref`
inside have no `ask` and cost nothing in that pass.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from central.mapping.conditions import Holds
from central.mapping.errors import (
    ERRORS_MAX,
    Fault,
    FieldError,
    MappingErrors,
    TooMuch,
    joined,
    shown,
)
from central.mapping.filters import FILTERS
from central.mapping.lookups import LookUp, unknown
from central.mapping.values import copy_of, text_of
from central.mapping.work import EACH_MAX, Ask, Make, Work

_QUESTION = 4
"""Steps."""
NULL = object()
"""A constant null; None stands for a value that is not there, whose field is left out."""


@dataclass(frozen=True, slots=True)
class Part:
    make: Make
    ask: Ask | None = None


NOTHING = Part(lambda _here, _work: None)


class Mapping_:  # noqa: N801 - `Mapping` is every dictionary
    """A compiled mapping. It may be used by several threads at once: what a record needs lies in its `Work`."""

    def __init__(self, part: Part) -> None:
        self._part = part

    def look_ups(self, record: Mapping[str, Any]) -> Collection[LookUp]:
        """What the cross-reference must answer before `apply`; what is wrong with a record is told there."""
        wanted: set[LookUp] = set()
        if self._part.ask is not None:
            try:
                self._part.ask(record, Work(record, {}), wanted)
            except (Fault, TooMuch):
                return wanted
        return wanted

    def apply(self, record: Mapping[str, Any], codes: Mapping[LookUp, str]) -> dict[str, Any]:
        """The target's record.

        Raises:
            MappingErrors: with every field that could not be made.
        """
        work = Work(record, codes)
        try:
            made: dict[str, Any] = self._part.make(record, work)
        except TooMuch as error:
            raise MappingErrors([FieldError(error.field, error.what)]) from None
        if work.errors:
            raise MappingErrors(work.errors)
        return made


def table(parts: Mapping[str, Part]) -> Part:
    items = [(name, part.make) for name, part in parts.items()]
    asks = [part.ask for part in parts.values() if part.ask is not None]
    steps = 1 + len(items)

    def make(here: Any, work: Work) -> dict[str, Any]:
        work.spend(steps)
        errors = work.errors
        made = {}
        for name, make_field in items:
            before = len(errors)
            try:
                value = make_field(here, work)
            except Fault as fault:
                note(work, FieldError(name, fault.what, fault.value))
                continue
            except TooMuch as error:
                error.under(name)
                raise
            if len(errors) > before:
                _under(errors, before, name)
            elif value is not None:
                made[name] = None if value is NULL else value
        return made

    return Part(make, _ask_all(asks))


def note(work: Work, error: FieldError) -> None:
    if len(work.errors) >= ERRORS_MAX:
        raise TooMuch(f"the record has more than {ERRORS_MAX} errors; one of them: {error}")
    work.errors.append(error)


def _under(errors: list[FieldError], before: int, name: str) -> None:
    """Errors of a nested field get the name of what it stands in."""
    for position in range(before, len(errors)):
        error = errors[position]
        errors[position] = FieldError(joined(name, error.field), error.what, error.value)


def _ask_all(asks: list[Ask]) -> Ask | None:
    if not asks:
        return None

    def ask(here: Any, work: Work, wanted: set[LookUp]) -> None:
        for one in asks:
            try:
                one(here, work, wanted)
            except Fault:
                continue  # its field is reported by `apply`; the others still need their codes

    return ask


def constant(value: Any) -> Part:
    if value is None:
        return Part(lambda _here, _work: NULL)
    if isinstance(value, list | tuple | Mapping):
        return Part(lambda _here, work: copy_of(value, work))
    return Part(lambda _here, _work: value)


def fixed_list(parts: list[Part]) -> Part:
    """A list whose places have a meaning: one without a value stays, as null."""
    makes = [part.make for part in parts]

    def make(here: Any, work: Work) -> list[Any]:
        work.spend(1 + len(makes))
        made = []
        for position, make_one in enumerate(makes):
            before = len(work.errors)
            try:
                value = make_one(here, work)
            except Fault as fault:
                note(work, FieldError(f"[{position}]", fault.what, fault.value))
                continue
            if len(work.errors) > before:
                _under(work.errors, before, f"[{position}]")
            made.append(None if value is NULL else value)
        return made

    return Part(make, _ask_all([part.ask for part in parts if part.ask is not None]))


def each(elements: Make, element: Part) -> Part:
    make_element, ask_element = element.make, element.ask

    def found(here: Any, work: Work) -> list[Any] | None:
        value = elements(here, work)
        if value is None:
            return None
        if not isinstance(value, list | tuple):
            raise Fault(f"{shown(value)} is no list", value)
        if len(value) > EACH_MAX:
            raise TooMuch(f"a list has {len(value):,} elements; {EACH_MAX:,} are gone through at most")
        work.spend(len(value))
        return list(value)

    def make(here: Any, work: Work) -> list[Any] | None:
        value = found(here, work)
        if value is None:
            return None
        outer, made, errors = work.position, [], work.errors
        for position, one in enumerate(value):
            work.position = position + 1
            before = len(errors)
            try:
                result = make_element(one, work)
            except Fault as fault:
                note(work, FieldError(f"[{position}]", fault.what, fault.value))
                continue
            except TooMuch as error:
                error.under(f"[{position}]")
                raise
            if len(errors) > before:
                _under(errors, before, f"[{position}]")
            elif result is not None:
                made.append(result)
        work.position = outer
        return made

    if ask_element is None:
        return Part(make)

    def ask(here: Any, work: Work, wanted: set[LookUp]) -> None:
        outer = work.position
        for position, one in enumerate(found(here, work) or ()):
            work.position = position + 1
            ask_element(one, work, wanted)
        work.position = outer

    return Part(make, ask)


def reference(kind: str, system: str, code: Make, outlet: Make | None) -> Part:
    def question(here: Any, work: Work) -> LookUp | None:
        work.spend(_QUESTION)
        found = text_of(code(here, work))
        if not found:
            return None
        return LookUp(kind, system, found, text_of(outlet(here, work)) if outlet else "")

    def make(here: Any, work: Work) -> str | None:
        asked = question(here, work)
        if asked is None:
            return None
        answer = work.codes.get(asked)
        if answer is None:
            raise Fault(unknown(asked), asked.code)
        return answer

    def ask(here: Any, work: Work, wanted: set[LookUp]) -> None:
        asked = question(here, work)
        if asked is not None:
            wanted.add(asked)

    return Part(make, ask)


def mapped(part: Part, entries: Mapping[str, Any]) -> Part:
    """A value map names no code, so it never asks."""
    change: Callable[[Any], Any] = FILTERS["map"].make(entries)
    inner = part.make

    def make(here: Any, work: Work) -> Any:
        value = inner(here, work)
        return None if value is None else change(value)

    return Part(make)


def with_default(part: Part, default: Any) -> Part:
    """The default stands in for what is absent or empty, never for what is wrong."""
    inner, instead = part.make, constant(default).make

    def make(here: Any, work: Work) -> Any:
        value = inner(here, work)
        return instead(here, work) if value is None or value == "" else value

    return Part(make, part.ask)


def must_be_there(part: Part) -> Part:
    inner = part.make

    def make(here: Any, work: Work) -> Any:
        value = inner(here, work)
        if value is None or value in ("", []):
            raise Fault("it is required, and the record has no value for it", value)
        return value

    return Part(make, part.ask)


def under_condition(part: Part, holds: Holds) -> Part:
    inner, inner_ask = part.make, part.ask

    def make(here: Any, work: Work) -> Any:
        return inner(here, work) if holds(here, work) else None

    if inner_ask is None:
        return Part(make)

    def ask(here: Any, work: Work, wanted: set[LookUp]) -> None:
        if holds(here, work):
            inner_ask(here, work, wanted)

    return Part(make, ask)


def first(parts: list[Part]) -> Part:
    makes = [part.make for part in parts]

    def make(here: Any, work: Work) -> Any:
        for make_one in makes:
            value = make_one(here, work)
            if value is not None and value != "":
                return value
        return None

    return Part(make, _ask_all([part.ask for part in parts if part.ask is not None]))
