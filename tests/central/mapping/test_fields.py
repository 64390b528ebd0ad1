"""What each form of field makes of a record, and what is told when it cannot."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from central.connectors.base import Trait
from central.mapping.compile import compile_fields
from central.mapping.errors import MappingErrors
from central.mapping.lookups import LookUp
from central.mapping.make import Mapping_
from shared.errors import BadInput

RECORD: dict[str, Any] = {
    "code": "A-1",
    "name": " Milk ",
    "price": Decimal("12.50"),
    "unit": "796",
    "active": True,
    "buyer": {"code": "C7", "inn": "7707083893"},
    "lines": [
        {"product": "P1", "quantity": "2", "tags": ["x", "y"]},
        {"product": "P2", "quantity": "0.350"},
    ],
}
MAPS = {"units": {"796": "PCE", "166": "KGM"}}


def compiled(fields: dict[str, Any], **more: Any) -> Mapping_:
    return compile_fields(fields, **{"maps": MAPS, "source": None, "target": None, **more})


def made(spec: Any, record: dict[str, Any] | None = None, codes: dict[LookUp, str] | None = None) -> Any:
    """What the field `f` becomes; a field that is left out is "absent"."""
    return compiled({"f": spec}, system="erp").apply(record or RECORD, codes or {}).get("f", "absent")


def errors_of(spec: Any, record: dict[str, Any] | None = None) -> list[tuple[str, str]]:
    with pytest.raises(MappingErrors) as caught:
        made(spec, record)
    return [(error.field, error.what) for error in caught.value.errors]


def refused(spec: Any, **more: Any) -> str:
    with pytest.raises(BadInput) as caught:
        compiled({"f": spec}, **more)
    return str(caught.value)


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        ("just text", "just text"),
        ("{{code}}", "A-1"),
        ("{{price}}", Decimal("12.50")),
        ("{{active}}", True),
        ("{{ buyer.code }}", "C7"),
        ("{{lines[1].product}}", "P2"),
        ("{{lines[-1].product}}", "P2"),
        ("{{$.code}}", "A-1"),
        ("{{lines[?product=='P2'].quantity | first}}", "0.350"),
        ("{{missing || code}}", "A-1"),
        ("{{missing}}", "absent"),
        ("{{buyer.missing.deeper}}", "absent"),
        ("{{lines[9].product}}", "absent"),
        ("No {{code}} of {{price}}", "No A-1 of 12.50"),
        ("<{{missing}}>", "<>"),
        ("{{'{{'}}", "{{"),
        ("{{lines[*].{p: product} | first}}", {"p": "P1"}),
        ("{{name | trim | upper}}", "MILK"),
        ("{{unit | map('units')}}", "PCE"),
        (7, 7),
        (True, True),
        (Decimal("0.1"), Decimal("0.1")),
        (None, None),
        ({"const": "{{code}}"}, "{{code}}"),
        ({"const": {"a": [1]}}, {"a": [1]}),
        ({"value": "{{unit}}", "map": "units"}, "PCE"),
        ({"value": "{{active}}", "map": {"true": 1, "false": 0}}, 1),
        ({"value": "{{code}}", "map": {"*": "other"}}, "other"),
        ({"value": "{{missing}}", "map": "units", "default": "PCE"}, "PCE"),
        ({"value": "{{missing}}", "default": "-"}, "-"),
        ({"value": "{{code}}", "default": "-"}, "A-1"),
        ({"value": "{{code}}", "when": "active"}, "A-1"),
        ({"value": "{{code}}", "when": "price > `12.4`"}, "A-1"),
        ({"value": "{{code}}", "when": "price == `12.5` && unit != '796'"}, "absent"),
        ({"first": [{"value": "{{code}}", "when": "!active"}, "{{missing}}", "{{unit}}"]}, "796"),
        ({"id": "{{code}}", "deep": {"n": "{{missing}}"}}, {"id": "A-1", "deep": {}}),
        ({"fields": {"value": "{{code}}", "name": "Colour"}}, {"value": "A-1", "name": "Colour"}),
        ({"fields": {"a": "b"}, "when": "!active"}, "absent"),
        (["create", "{{code}}", "{{missing}}"], ["create", "A-1", None]),
        ({"each": "lines", "value": "{{product}}"}, ["P1", "P2"]),
        ({"each": "lines[?quantity == '2']", "value": "{{product}}"}, ["P1"]),
        ({"each": "lines", "value": "{{tags | first}}"}, ["x"]),
        ({"each": "missing", "value": "{{@}}"}, "absent"),
        (
            {"each": "lines", "fields": {"n": "{{#}}", "of": "{{$.code}}", "q": "{{quantity | number}}"}},
            [{"n": 1, "of": "A-1", "q": Decimal(2)}, {"n": 2, "of": "A-1", "q": Decimal("0.350")}],
        ),
        (
            {"each": "lines", "fields": {"n": "{{#}}", "t": {"each": "tags", "value": "{{@}}{{#}}"}}},
            [{"n": 1, "t": ["x1", "y2"]}, {"n": 2}],
        ),
    ],
)
def test_a_spec_makes_its_value(spec: Any, value: Any) -> None:
    assert made(spec) == value


def test_numbers_keep_their_places_and_are_written_without_exponent() -> None:
    record = {"n": Decimal("1E+3"), "small": Decimal("0.000000100")}
    assert made("{{n}} {{small}}", record) == "1000 0.000000100"
    assert str(made("{{small}}", record)) == "1.00E-7"


def test_codes_are_gathered_first_and_answered_in_one_go() -> None:
    mapping = compiled(
        {
            "party": {"ref": "party", "value": "{{buyer.code}}", "when": "active"},
            "other": {"ref": "party", "value": "{{buyer.code}}", "system": "crm", "when": "!active"},
            "none": {"ref": "party", "value": "{{missing}}", "default": "RETAIL"},
            "lines": {
                "each": "lines",
                "fields": {"item": {"ref": "item", "value": "{{product}}", "outlet": "{{$.code}}"}},
            },
        },
        system="erp",
    )
    wanted = {
        LookUp("party", "erp", "C7"): "77",
        LookUp("item", "erp", "P1", "A-1"): "101",
        LookUp("item", "erp", "P2", "A-1"): "102",
    }
    assert set(mapping.look_ups(RECORD)) == set(wanted)
    assert mapping.apply(RECORD, wanted) == {
        "party": "77",
        "none": "RETAIL",
        "lines": [{"item": "101"}, {"item": "102"}],
    }


def test_every_error_of_a_record_is_told_with_field_and_value() -> None:
    mapping = compiled(
        {
            "unit": {"value": "{{code}}", "map": "units"},
            "buyer": {"id": {"ref": "party", "value": "{{buyer.code}}", "default": "X"}},
            "lines": {
                "each": "lines",
                "fields": {"q": {"value": "{{product | number}}"}, "t": ["{{tags | count}}"]},
            },
            "date": {"value": "{{missing}}", "required": True},
        },
        system="erp",
    )
    with pytest.raises(MappingErrors) as caught:
        mapping.apply(RECORD, {})
    assert [(error.field, error.value) for error in caught.value.errors] == [
        ("unit", "A-1"),
        ("buyer.id", "C7"),
        ("lines[0].q", "P1"),
        ("lines[1].q", "P2"),
        ("date", None),
    ]
    assert "in system erp" in caught.value.errors[1].what


@pytest.mark.parametrize(
    ("spec", "record", "field", "part"),
    [
        ("x{{f}}", {"f": 0.1}, "f", "float"),
        ("x{{f}}", {"f": [1]}, "f", "cannot stand inside a text"),
        ("{{f | number}}", {"f": "12,50"}, "f", "write it with a dot"),
        ("{{f | number}}", {"f": Decimal("NaN")}, "f", "no number"),
        ("{{f | number}}", {"f": True}, "f", "no number"),
        ({"each": "f", "value": "{{@}}"}, {"f": {"a": 1}}, "f", "is no list"),
        ({"value": "{{f}}", "required": True}, {"f": ""}, "f", "required"),
        ({"value": "y", "when": "f > `5`"}, {"f": "10"}, "f", "to_number"),
        ({"value": "{{sum(f)}}"}, {"f": ["a"]}, "f", "sum()"),
        ([{"value": "{{f | boolean}}"}], {"f": "maybe"}, "f[0]", "neither yes nor no"),
    ],
)
def test_a_value_that_cannot_be_used_is_told(
    spec: Any, record: dict[str, Any], field: str, part: str
) -> None:
    assert [(where, part in what) for where, what in errors_of(spec, record)] == [(field, True)]


@pytest.mark.parametrize(
    ("spec", "part"),
    [
        ("{{code", "not closed"),
        ("{{}}", "empty"),
        ("{{code | uper}}", 'did you mean "upper"'),
        ("{{code | cut}}", "takes"),
        ("{{code | cut('x')}}", "does not take"),
        ("{{code | cut(x)}}", "quote a text"),
        ("{{code | map('unit')}}", 'did you mean "units"'),
        ("{{code | date('%B')}}", "%B"),
        ("{{code | zone('Mars/Base')}}", "no time zone"),
        ("{{lines[?}}", "not closed"),
        ("{{lines[?a}] }}", "no expression"),
        ("{{lenght(code)}}", "did you mean length"),
        ("{{length(code, code)}}", "takes 1 arguments"),
        ({"value": "{{code}}", "mapp": "units"}, 'did you mean "map"'),
        ({"value": "Red", "name": "Colour"}, "{ fields ="),
        ({"value": 5}, "value is a text"),
        ({"value": "{{code}}", "required": "yes"}, "true or false"),
        ({"ref": "itm", "value": "{{code}}"}, 'did you mean "item"'),
        ({"ref": "item"}, "value is a text"),
        ({"each": "lines"}, "needs either"),
        ({"each": "lines", "value": "a", "fields": {}}, "needs either"),
        ({"each": "lines", "fields": "x"}, "is a table"),
        ({"first": "x"}, "is a list"),
        ({"const": 0.1}, "not exact"),
        (0.1, "not exact"),
        ({"value": "{{code}}", "map": {"a": [1]}}, "gives text"),
        ({"value": "{{code}}", "when": "a =="}, "no expression"),
    ],
)
def test_a_wrong_spec_is_refused_when_it_is_loaded(spec: Any, part: str) -> None:
    assert part in refused(spec)


def test_names_are_checked_against_both_sides_and_all_errors_are_told_at_once() -> None:
    source = {
        "code": Trait(),
        "lines": Trait("list"),
        "lines.product": Trait(),
        "note": Trait("object"),
    }
    target = {
        "id": Trait(required=True),
        "name": Trait(),
        "rows": Trait("list"),
        "rows.item": Trait(required=True),
    }
    with pytest.raises(BadInput) as caught:
        compiled(
            {
                "nmae": "{{cdoe}}",
                "name": "{{code.inner}} {{note.anything}} {{x_own}} {{length(lnes)}}",
                "rows": {"each": "lines", "fields": {"itm": "{{prodct}}", "x_mine": "{{$.code}}"}},
            },
            source=source,
            target=target,
        )
    assert [(error["field"], error["what"]) for error in caught.value.extra["errors"]] == [
        ("nmae", 'there is no field "nmae"; did you mean "name"?'),
        ("nmae", 'there is no field "cdoe"; did you mean "code"?'),
        ("name", '"code" is a text and has no fields inside'),
        ("rows[].itm", 'there is no field "itm" in "rows"; did you mean "item"?'),
        ("rows[].itm", 'there is no field "prodct" in "lines"; did you mean "product"?'),
        ("rows[].item", "the target requires it, and nothing is mapped to it"),
        ("id", "the target requires it, and nothing is mapped to it"),
    ]
    assert 'did you mean "lines"' in refused("{{length(lnes)}}", source=source)
