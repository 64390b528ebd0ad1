"""The gallery: every ready-made integration loads, fits its connector, and makes what the other system takes."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from central.connectors import CONNECTORS
from central.connectors.tryton.sales import Known, Method, Point, values
from central.integrations.build import check_names
from central.integrations.definition import Definition
from central.integrations.solutions import all_solutions, copy
from central.integrations.ways import compile_ways
from central.mapping.documents import document_of
from shared.errors import BadInput, Conflict

SOLUTIONS = all_solutions()


def test_every_connector_has_one():
    """Nobody begins with an empty file."""
    assert {one.definition.connector for one in SOLUTIONS.values()} == CONNECTORS.keys()


@pytest.mark.parametrize("name", SOLUTIONS)
def test_its_names_are_the_connectors(name: str):
    """Sources, targets and fields exist over there; the first lines say what to change."""
    one = SOLUTIONS[name]
    check_names(CONNECTORS[one.definition.connector], one.definition)
    assert "# Change:" in one.text.partition("name =")[0]


def test_a_sale_becomes_what_tryton_takes():
    """From the receipt as the till sealed it to the lines of Tryton's sale, exact to the cent."""
    payload: dict[str, Any] = {
        "currency": "EUR",
        "lines": [
            {
                "n": 1,
                "product": "A",
                "quantity": "0.333",
                "amount_minor": 499,
                "taxes": [{"code": "V", "rate_bp": 2000, "amount_minor": 83}],
            },
            {"n": 2, "product": "A", "quantity": "-1", "amount_minor": -100},
        ],
        "payments": [{"n": 1, "type": "CARD", "amount_minor": 399}],
        "total_minor": 399,
    }
    header = {"kind": "sale", "number": "T-1-1", "business_date": "2026-11-22"}
    way = compile_ways(SOLUTIONS["tryton-shops"].definition, CONNECTORS["tryton"])["sale"]
    (record,) = way.records(document_of(header, payload, station="T-1", store="S1"), {})
    cent = Decimal("0.01")
    known = Known({"S1": Point(1, 1, "EUR", cent)}, {"Card": Method(2, cash=False)}, {"A": [3]})
    made = values(record, known, None)
    assert [(line["quantity"], line["unit_gross_price"]) for line in made["lines"][0][1]] == [
        (0.333, Decimal("14.9850")),
        (-1.0, Decimal("1.0000")),
    ]
    assert made["payments"][0][1] == [{"method": 2, "amount": Decimal("3.99")}]


def test_a_copy_overwrites_nothing(tmp_path: Path):
    """It is the file as it is, comments included."""
    target = copy("files", tmp_path / "mine.toml")
    assert target.read_text(encoding="utf-8") == SOLUTIONS["files"].text
    with pytest.raises(Conflict, match="there already"):
        copy("files", target)
    with pytest.raises(BadInput, match="known are"):
        copy("sap", tmp_path / "x.toml")


def test_what_tryton_takes_one_by_one_only_is_not_delivered_to():
    """A customer that is delivered would be taken for a sale; it is made where a sale lacks it."""
    written = SOLUTIONS["tryton-shops"].definition.model_dump(exclude_unset=True)
    written["deliver"] = [
        {"name": "c", "entity": "customer", "target": "party", "fields": {"name": "{{payload.row.name}}"}}
    ]
    with pytest.raises(BadInput, match=r"only where a \[\[match\]\] lacks one"):
        check_names(CONNECTORS["tryton"], Definition.model_validate(written))
