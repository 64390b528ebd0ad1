"""Whoever writes a mapping or sends a record cannot hold a node up or fill its memory: all is refused with a reason."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

import pytest

from central.mapping.compile import compile_fields
from central.mapping.conditions import Condition
from central.mapping.errors import MappingErrors
from shared.errors import BadInput

TOO_LONG_S = 20
"""Generous for a slow machine; what is unbounded takes hours, or all of the memory."""


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"f": "x" * 10_001}, "longer than 10,000"),
        ({"f": "{{a}} " * 101}, "more than 100 parts"),
        ({"f": "{{" + "a." * 600 + "a}}"}, "longer than 1000"),
        ({"f": "{{a" + " | upper" * 11 + "}}"}, "at most 10 filters"),
        ({"f": "{{" + "(" * 490 + "a" + ")" * 490 + "}}"}, "nests too deep"),
        ({"f": "{{" + "!" * 900 + "a}}"}, "too deep"),
        ({"f": "{{a" + "[]" * 400 + "}}"}, "too deep"),
        ({"f": "{{a" + "||a" * 300 + "}}"}, "too deep"),
        ({"f": "{{[" + "a," * 250 + "a]}}"}, "too large"),
        ({"f": "{{a | cut(99999999999)}}"}, "a length is"),
        ({"f": "{{a | pad(10001)}}"}, "a length is"),
        ({"f": "{{a | replace('a', '" + "b" * 201 + "')}}"}, "longer than 200"),
        ({"f": "{{a | times(1" + "0" * 50 + ")}}"}, "cannot take"),
        ({"f": "{{`1e400`}}"}, "no number"),
        ({"f": "{{`0.12345678901234567890`}}"}, "at most 15 digits"),
        ({"f": nested(11)}, "nested 10 deep"),
        ({"f": nested(900)}, "nested 10 deep"),
        ({"f": {"const": nested(11)}}, "nested 10 deep"),
        ({"f": {"const": ["x"] * 10_001}}, "at most 10,000"),
        ({f"f{n}": "x" for n in range(2_001)}, "at most 2,000 specs"),
        ({"f": {"value": "{{a}}", "map": {str(n): "x" for n in range(10_001)}}}, "at most 10,000"),
    ],
)
def test_a_mapping_that_is_too_large_is_refused_when_it_is_loaded(fields: dict[str, Any], part: str) -> None:
    with pytest.raises(BadInput) as caught:
        compile_fields(fields, maps={}, source=None, target=None)
    assert part in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "record", "part"),
    [
        pytest.param({"each": "a", "value": "x"}, {"a": [0] * 1_000_000}, "1,000,000 elements", id="million"),
        pytest.param(
            {"each": "a", "fields": {"b": {"each": "$.a", "value": "{{@}}"}}},
            {"a": [0] * 20_000},
            "too much work",
            id="list-in-list",
        ),
        pytest.param(
            {"each": "a", "value": "{{$}}"}, {"a": ["x" * 50] * 20_000}, "too much work", id="whole-in-each"
        ),
        pytest.param(
            {"each": "a", "value": "{{$.b}}{{$.b}}"},
            {"a": [0] * 9_999, "b": "x" * 9_999},
            "too much",
            id="text",
        ),
        pytest.param("{{([@,@][]" + "|[@,@][]" * 24 + ")}}", {"a": 1}, "too much work", id="doubling-lists"),
        pytest.param(
            "{{(" + "|".join(["[@,@]"] * 24) + ")}}", {"a": 1}, "too much work", id="doubling-tables"
        ),
        pytest.param(
            "{{(" + "|".join(["to_string([@,@])"] * 22) + ")}}",
            {"a": 1},
            "characters would",
            id="doubling-text",
        ),
        pytest.param(
            "{{(a|" + "|".join(["join('',[@,@])"] * 20) + ")}}", {"a": "x"}, "characters would", id="join"
        ),
        pytest.param(
            "{{a" + " | replace('x', 'xxxxxxxxxxxxxxxxxxxx')" * 10 + "}}",
            {"a": "xx"},
            "characters would",
            id="replace",
        ),
        pytest.param("{{a}}" * 100, {"a": "x" * 50_000}, "characters would", id="long-text"),
        pytest.param(
            {"each": "a", "value": "{{$.a[?@ == `5`] | count}}"},
            {"a": list(range(9_999))},
            "too much work",
            id="search-in-each",
        ),
        pytest.param("{{a}}", {"a": nested(60)}, "deeper than 50", id="deep"),
        pytest.param("{{to_string(a)}}", {"a": nested(5_000)}, "deep", id="very-deep"),
        pytest.param("{{a == b}}", {"a": nested(5_000), "b": nested(5_000)}, "too deep", id="compare-deep"),
        pytest.param("x{{a}}", {"a": Decimal("1E+999999")}, "digits", id="huge-decimal"),
        pytest.param("{{a | whole}}", {"a": "1E+999999"}, "digits", id="huge-whole"),
        pytest.param("{{ceil(a)}}", {"a": Decimal("1E+999999")}, "digits", id="huge-ceil"),
        pytest.param("x{{a}}", {"a": 10**5_000}, "digits", id="huge-int"),
        pytest.param(
            "{{a | times(9999999999)" + " | times(9999999999)" * 4 + "}}", {"a": 1}, "digits", id="grow"
        ),
    ],
)
def test_a_record_that_is_too_much_work_is_refused(spec: Any, record: Any, part: str) -> None:
    mapping = compile_fields({"f": spec}, maps={}, source=None, target=None)
    since = time.monotonic()
    if isinstance(record, str):
        mapping = compile_fields(
            {"f": spec.replace("[@,@]", "[a||@,a||@]", 1)}, maps={}, source=None, target=None
        )
        record = {"a": record}
    with pytest.raises(MappingErrors) as caught:
        mapping.apply(record, {})
    assert part in str(caught.value)
    assert caught.value.errors[0].field.startswith("f")
    assert time.monotonic() - since < TOO_LONG_S


def test_a_records_errors_are_told_up_to_a_hundred() -> None:
    mapping = compile_fields(
        {"f": {"each": "a", "value": "{{@ | number}}"}}, maps={}, source=None, target=None
    )
    with pytest.raises(MappingErrors) as caught:
        mapping.apply({"a": ["x"] * 1_000}, {})
    assert "more than 100 errors" in str(caught.value)


def test_looking_codes_up_is_bounded_too() -> None:
    spec = {"each": "a", "fields": {"b": {"each": "$.a", "fields": {"c": {"ref": "item", "value": "{{@}}"}}}}}
    mapping = compile_fields({"f": spec}, maps={}, source=None, target=None)
    since = time.monotonic()
    mapping.look_ups({"a": list(range(20_000))})
    assert time.monotonic() - since < TOO_LONG_S


def test_a_condition_is_bounded_and_says_what_it_cannot_compare() -> None:
    condition = Condition("lines[?quantity > `5`]")
    assert condition.holds({"lines": [{"quantity": 6}]})
    assert not condition.holds({"lines": [{"quantity": 5}]})
    assert not condition.holds({})
    with pytest.raises(MappingErrors, match="to_number"):
        condition.holds({"lines": [{"quantity": "6"}]})
    with pytest.raises(BadInput, match="longer"):
        Condition("a" * 1_001)
