"""Field specs become one closure per record: everything that can be wrong with a spec is told here, all at once.

A field is made of a template, a constant, or a table whose keys say how: `const`, `value`, `ref`, `each`, `first`,
`fields`; any other table is a nested one, field by field. docs/howto/map-fields.md teaches it.
Invariants: a mapping never changes its input nor shares a list or table with it; a field without a value is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from central.connectors.base import Trait
from central.mapping import make as forms
from central.mapping.conditions import compile_holds
from central.mapping.errors import ERRORS_MAX, FieldError, joined, shown
from central.mapping.lookups import KINDS
from central.mapping.make import Mapping_, Part
from central.mapping.names import Names
from central.mapping.paths import compile_path, plain_segments
from central.mapping.templates import Maps, compile_template, nearest, value_map
from shared.errors import BadInput

SPECS_MAX = 2_000
NEST_MAX = 10
MAP_MAX = 10_000
CONST_MAX = 10_000
VERBS = ("const", "value", "ref", "each", "first", "fields")
"""The key that says which form a table is; the first of these that is there."""
_COMMON = {"when", "required", "default"}
_KEYS: dict[str, set[str]] = {
    "const": {"const", "when"},
    "value": {"value", "map", *_COMMON},
    "ref": {"ref", "value", "system", "outlet", *_COMMON},
    "each": {"each", "value", "fields", "map", "when", "required"},
    "first": {"first", *_COMMON},
    "fields": {"fields", "when"},
}


def compile_fields(
    fields: Mapping[str, Any],
    *,
    maps: Mapping[str, Mapping[str, Any]],
    source: Mapping[str, Trait] | None,
    target: Mapping[str, Trait] | None,
    system: str = "",
) -> Mapping_:
    """Compile what a `[[pull]]` or `[[deliver]]` maps.

    Args:
        fields: target's field -> what it is made of.
        maps: value maps that may be named.
        source: fields of the records, None or empty where nobody knows them.
        target: fields of what is made, likewise.
        system: whose codes a `ref` means that names none.
    Raises:
        BadInput: with every error as `errors`, each with field, what, and the nearest known name.
    """
    compiler = _Compiler(maps, Names(source), system)
    part = compiler.table("", fields, compiler.root, Names(target), 0)
    if compiler.errors:
        shown_first = "; ".join(str(error) for error in compiler.errors[:5])
        more = len(compiler.errors) - 5
        raise BadInput(
            shown_first + (f"; and {more} more" if more > 0 else ""),
            code="bad-mapping",
            errors=[{"field": error.field, "what": error.what} for error in compiler.errors[:ERRORS_MAX]],
        )
    return Mapping_(part)


class _Compiler:
    """Goes through the specs once and gathers errors instead of stopping at the first."""

    def __init__(self, maps: Maps, root: Names, system: str) -> None:
        self.errors: list[FieldError] = []
        self.root = root
        self._maps = maps
        self._system = system
        self._specs = 0
        for name, entries in maps.items():
            if len(entries) > MAP_MAX:
                self._error("", f'the value map "{name}" has more than {MAP_MAX:,} entries')

    def table(self, at: str, fields: Any, source: Names, target: Names, depth: int) -> Part:
        if not isinstance(fields, Mapping):
            self._error(at, "fields is a table: field = what it is made of")
            return forms.NOTHING
        parts: dict[str, Part] = {}
        for name, spec in fields.items():
            if len(self.errors) >= ERRORS_MAX:
                break
            field = joined(at, str(name)) if at else str(name)
            trouble = target.trouble((str(name),))
            if trouble:
                self._error(field, trouble)
            parts[str(name)] = self.spec(field, spec, source, target.inside((str(name),)), depth + 1)
        for name in target.required():
            if name not in parts:
                self._error(
                    joined(at, name) if at else name, "the target requires it, and nothing is mapped to it"
                )
        return forms.table(parts)

    def spec(self, at: str, spec: Any, source: Names, target: Names, depth: int) -> Part:
        """What one field is made of; an error is noted and the field stays empty."""
        self._specs += 1
        if self._specs > SPECS_MAX or depth > NEST_MAX:
            if self._specs == SPECS_MAX + 1 or depth == NEST_MAX + 1:
                self._error(at, f"a mapping has at most {SPECS_MAX:,} specs, nested {NEST_MAX} deep")
            return forms.NOTHING
        try:
            if isinstance(spec, str):
                return Part(compile_template(spec, source, self.root, self._maps))
            if isinstance(spec, list | tuple):
                return forms.fixed_list(
                    [self.spec(f"{at}[{n}]", one, source, target, depth + 1) for n, one in enumerate(spec)]
                )
            if isinstance(spec, Mapping):
                verb = next((verb for verb in VERBS if verb in spec), None)
                if "each" in spec or "ref" in spec:
                    verb = "each" if "each" in spec else "ref"
                if verb is None:
                    return self.table(at, spec, source, target, depth)
                return self._form(at, verb, spec, source, target, depth)
            return forms.constant(_constant(spec))
        except BadInput as error:
            self._error(at, str(error))
            return forms.NOTHING

    def _form(
        self, at: str, verb: str, spec: Mapping[str, Any], source: Names, target: Names, depth: int
    ) -> Part:
        for key in spec:
            if key not in _KEYS[verb]:
                raise BadInput(
                    f'"{key}" does not belong to {verb}' + nearest(str(key), dict.fromkeys(_KEYS[verb])),
                    hint=f'if "{verb}" is a field of the target, write {{ fields = {{ … }} }} around the table',
                )
        part: Part = getattr(self, f"_{verb}")(at, spec, source, target, depth)
        if spec.get("default") is not None:
            part = forms.with_default(part, _constant(spec["default"]))
        if _flag(spec, "required"):
            part = forms.must_be_there(part)
        if "when" in spec:
            part = forms.under_condition(part, compile_holds(_text(spec, "when"), source, self.root))
        return part

    def _const(self, _at: str, spec: Mapping[str, Any], *_rest: Any) -> Part:
        return forms.constant(_constant(spec["const"]))

    def _value(self, _at: str, spec: Mapping[str, Any], source: Names, *_rest: Any) -> Part:
        part = Part(compile_template(_text(spec, "value"), source, self.root, self._maps))
        return forms.mapped(part, self._entries(spec["map"])) if "map" in spec else part

    def _entries(self, named: Any) -> Mapping[str, Any]:
        if isinstance(named, str):
            return value_map(named, self._maps)
        if not isinstance(named, Mapping) or len(named) > MAP_MAX:
            raise BadInput(f"map is the name of a value map, or a table of at most {MAP_MAX:,} entries")
        for entry in named.values():
            if isinstance(entry, Mapping | list) or entry is None:
                raise BadInput("a value map gives text, numbers, true or false")
        return {str(key): _constant(entry) for key, entry in named.items()}

    def _ref(self, _at: str, spec: Mapping[str, Any], source: Names, *_rest: Any) -> Part:
        kind, system = _text(spec, "ref"), spec.get("system", self._system)
        if kind not in KINDS:
            raise BadInput(f'nothing called "{kind}" has codes' + nearest(kind, dict.fromkeys(KINDS)))
        if not isinstance(system, str):
            raise BadInput("system is the name of a system")
        code = compile_template(_text(spec, "value"), source, self.root, self._maps)
        outlet = None
        if "outlet" in spec:
            outlet = compile_template(_text(spec, "outlet"), source, self.root, self._maps)
        return forms.reference(kind, system, code, outlet)

    def _each(self, at: str, spec: Mapping[str, Any], source: Names, target: Names, depth: int) -> Part:
        path = _text(spec, "each")
        if ("value" in spec) == ("fields" in spec):
            raise BadInput('each needs either "value" or "fields" for its elements')
        elements = compile_path(path, source, self.root)
        inside = self._inside(path, source)
        if "fields" in spec:
            element = self.table(f"{at}[]", spec["fields"], inside, target, depth + 1)
        else:
            element = self._value(at, {key: spec[key] for key in ("value", "map") if key in spec}, inside)
        return forms.each(elements, element)

    def _inside(self, path: str, source: Names) -> Names:
        plain = plain_segments(path)
        if plain is None:
            return Names(None)
        of_root, segments = plain
        return (self.root if of_root else source).inside(segments)

    def _first(self, at: str, spec: Mapping[str, Any], source: Names, target: Names, depth: int) -> Part:
        choices = spec["first"]
        if not isinstance(choices, list | tuple) or not choices:
            raise BadInput("first is a list; the first that has a value is taken")
        return forms.first([self.spec(at, one, source, target, depth + 1) for one in choices])

    def _fields(self, at: str, spec: Mapping[str, Any], source: Names, target: Names, depth: int) -> Part:
        return self.table(at, spec["fields"], source, target, depth)

    def _error(self, at: str, what: str) -> None:
        self.errors.append(FieldError(at, what))


def _text(spec: Mapping[str, Any], key: str) -> str:
    value = spec.get(key)
    if not isinstance(value, str):
        raise BadInput(f"{key} is a text, not {'missing' if value is None else shown(value)}")
    return value


def _flag(spec: Mapping[str, Any], key: str) -> bool:
    value = spec.get(key, False)
    if not isinstance(value, bool):
        raise BadInput(f"{key} is true or false, not {shown(value)}")
    return value


def _constant(value: Any) -> Any:
    """A constant, checked: bounded, and without a float, which has no exact value."""
    left = CONST_MAX

    def check(part: Any, depth: int) -> None:
        nonlocal left
        left -= len(part) if isinstance(part, str) else 1
        if left < 0 or depth > NEST_MAX:
            raise BadInput(
                f"a constant holds at most {CONST_MAX:,} characters and values, nested {NEST_MAX} deep"
            )
        if isinstance(part, Mapping):
            for one in part.values():
                check(one, depth + 1)
        elif isinstance(part, list | tuple):
            for one in part:
                check(one, depth + 1)
        elif isinstance(part, float):
            raise BadInput(f"{part} is not exact", hint=f"write a number as text: {{{{'{part}' | number}}}}")
        elif part is not None and not isinstance(part, str | int | Decimal):
            raise BadInput(f"{shown(part)} is no constant", hint="write dates as text")

    check(value, 0)
    return value
