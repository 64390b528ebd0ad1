"""What holds for every mapping and every record: exact, pure, bounded, and an error names field and value."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from central.mapping.compile import compile_fields
from central.mapping.errors import FieldError, MappingErrors
from central.mapping.filters import FILTERS
from central.mapping.lookups import LookUp
from shared.errors import BadInput

NAMES = ("a", "b", "c", "lines", "товар")
numbers = st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**12), max_value=10**12)
scalars = st.none() | st.booleans() | st.integers() | numbers | st.text(max_size=20)
anything = scalars | st.decimals() | st.floats() | st.dates() | st.datetimes()
records = st.recursive(
    st.dictionaries(st.sampled_from(NAMES), anything, max_size=5),
    lambda inner: st.dictionaries(
        st.sampled_from(NAMES), anything | inner | st.lists(inner | anything, max_size=4)
    ),
    max_leaves=20,
)
# fmt: off
paths = st.sampled_from([
    "a", "b", "c", "lines", "товар", "@", "$", "#", "a.b", "lines[0]", "lines[-1].a", "$.lines", "lines[*].a", "a || b",
    "length(lines)", "sum(lines[*].a)", "to_string(@)", "a > b", "sort_by(lines, &a)", "[a, b][]", "keys(@)",
    "avg([a, b])", "max_by(lines, &b)", "to_number(a)", "join('', [a, b])", "merge(a, b)", "{a: @, b: @}",
    "contains(lines, a)", "type(a)",
])
CALLS = {
    "cut": "cut(3)", "pad": "pad(5, '0')", "replace": "replace('a', 'bb')", "part": "part(' ', 1)",
    "join": "join(',')", "round": "round(2)", "times": "times(1.07)", "divide": "divide(3, 4)", "plus": "plus(0.01)",
    "minor": "minor('KWD')", "date": "date('%d.%m.%Y')", "read_date": "read_date('%d.%m.%Y')",
    "zone": "zone('Asia/Tokyo')", "default": "default('x')", "map": "map('m')", "from_epoch": "from_epoch('ms')",
}
# fmt: on
filters = st.sampled_from([CALLS.get(name, name) for name in FILTERS])
templates = st.builds(
    lambda before, path, calls: f"{before}{{{{{path}{''.join(f' | {call}' for call in calls)}}}}}",
    st.sampled_from(["", "", "x "]),
    paths,
    st.lists(filters, max_size=3),
)
tables = partial(st.dictionaries, st.sampled_from(NAMES), max_size=3)
specs = st.recursive(
    templates
    | st.integers()
    | st.booleans()
    | st.none()
    | st.builds(lambda value: {"value": value, "map": "m", "default": "d"}, templates)
    | st.builds(lambda value: {"ref": "item", "value": value}, templates)
    | st.builds(lambda value, when: {"value": value, "required": True, "when": when}, templates, paths),
    lambda inner: (
        st.builds(lambda path, fields: {"each": path, "fields": fields}, paths, tables(inner))
        | st.builds(lambda choices: {"first": choices}, st.lists(inner, min_size=1, max_size=3))
        | st.lists(inner, max_size=3)
        | tables(inner)
    ),
    max_leaves=6,
)


class _EveryCode(dict[LookUp, str]):
    def get(self, key: Any, default: Any = None) -> Any:
        return f"their-{key.code}"


def _shares(made: Any, record: Any) -> bool:
    """Whether a list or table of the one is one of the other."""

    def containers(value: Any) -> dict[int, Any]:
        found: dict[int, Any] = {}
        stack = [value]
        while stack:
            part = stack.pop()
            if isinstance(part, dict | list):
                found[id(part)] = part
                stack += part.values() if isinstance(part, dict) else part
        return found

    return bool(containers(made).keys() & containers(record).keys())


@given(specs, records)
def test_a_mapping_gives_a_record_or_field_errors_and_never_touches_its_input(spec: Any, record: Any) -> None:
    """Whatever the spec and the record: nothing but MappingErrors comes out, and the record is as it was."""
    mapping = compile_fields({"f": spec}, maps={"m": {"1": "one", "*": "other"}}, source=None, target=None)
    # repr, because NaN differs from itself.
    before = repr(record)
    kept = copy.deepcopy(spec)
    mapping.look_ups(record)
    made: Any = {}
    errors: Sequence[FieldError] = ()
    try:
        made = mapping.apply(record, _EveryCode())
    except MappingErrors as error:
        errors = error.errors
    assert all(one.field.startswith("f") and one.what for one in errors)
    assert repr(record) == before
    assert spec == kept
    assert not _shares(made, record)
    assert not _shares(made, spec)


@given(st.dictionaries(st.sampled_from(NAMES), scalars, min_size=1))
def test_a_lone_path_hands_a_value_on_as_it_is(record: dict[str, Any]) -> None:
    fields = {f"x_{name}": "{{" + name + "}}" for name in record}
    made = compile_fields(fields, maps={}, source=None, target=None).apply(record, {})
    assert made == {f"x_{name}": value for name, value in record.items() if value is not None}
    assert [type(value) for value in made.values()] == [type(v) for v in record.values() if v is not None]


@given(numbers, numbers)
def test_numbers_are_exact(left: Decimal, right: Decimal) -> None:
    """No float anywhere: sums, comparisons, texts and amounts agree with Decimal to the last digit."""
    fields = {
        "sum": "{{sum([a, b])}}",
        "more": "{{a > b}}",
        "text": "{{a}} {{b}}",
        "back": "{{text | number}}",
        "there": "{{a | times(100) | times('0.01') | plus(0)}}",
        "negative": "{{a | negate}}",
    }
    made = compile_fields(fields, maps={}, source=None, target=None).apply(
        {"a": left, "b": right, "text": str(left)}, {}
    )
    assert made == {
        "sum": left + right,
        "more": left > right,
        "text": f"{left:f} {right:f}",
        "back": left,
        "there": left,
        "negative": -left,
    }


@given(st.integers(-(10**15), 10**15), st.sampled_from(["EUR", "JPY", "KWD"]))
def test_minor_units_and_amounts_are_each_others_inverse(minor: int, currency: str) -> None:
    made = compile_fields(
        {"f": "{{m | amount('" + currency + "') | minor('" + currency + "')}}"},
        maps={},
        source=None,
        target=None,
    ).apply({"m": minor}, {})
    assert made == {"f": minor}


def refusals(spec: Any) -> list[str]:
    """The fields that are refused, when it is compiled or applied to a record without anything."""
    try:
        compile_fields({"f": spec}, maps={}, source=None, target=None).apply({}, {})
    except BadInput as error:
        return [one["field"] for one in error.extra["errors"]]
    return []


@given(st.text(max_size=60))
def test_any_text_is_a_template_or_refused(text: str) -> None:
    """Nothing that a person can write there does anything but compile or be refused with a reason."""
    for spec in (text, "{{" + text + "}}", {"value": "x", "when": text}):
        assert set(refusals(spec)) <= {"f"}


junk = st.recursive(
    scalars | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "const",
                    "value",
                    "map",
                    "ref",
                    "each",
                    "first",
                    "fields",
                    "when",
                    "default",
                    "required",
                    "x",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(junk)
def test_any_value_is_a_spec_or_refused(spec: Any) -> None:
    assert all(field.startswith("f") for field in refusals(spec))
