"""What a `[[deliver]]` may ask for is told when it is stated, not when the first document is on its way."""

from __future__ import annotations

from typing import Any

import pytest

from central.integrations.build import check_names
from central.integrations.definition import Definition, read_definition
from shared.errors import BadInput
from tests.support.scripted_connector import PlainConnector, ScriptedConnector

PLAIN: dict[str, Any] = {"name": "order", "kinds": ["sale"], "target": "orders", "fields": {"a": "b"}}


@pytest.mark.parametrize(
    ("delivers", "told"),
    [
        ([PLAIN | {"filter": "payload.["}], 'deliver "order"'),
        ([PLAIN | {"split": "lines["}], 'deliver "order"'),
        ([PLAIN | {"fields": {"a": {"ref": "nothing", "value": "x"}}}], 'deliver "order"'),
        ([PLAIN | {"group": {"by": ["shift"]}, "target": None}], "a record of its own"),
        ([PLAIN | {"fields": {"a": "{{payload.totl_minor}}"}}], 'did you mean "total_minor"'),
        ([PLAIN | {"fields": {"a": "{{nubmer}}"}}], 'did you mean "number"'),
        ([PLAIN | {"filter": "payload.custmer != null"}], 'did you mean "customer"'),
        ([PLAIN | {"split": "payload.paymnts"}], 'did you mean "payments"'),
        ([PLAIN | {"split": "payload.lines", "fields": {"a": "{{part.prodct}}"}}], 'did you mean "product"'),
        ([PLAIN | {"fields": {"a": "{{part.product}}"}}], 'no field "part"'),
        ([PLAIN | {"fields": {"a": "{{refs_written[0].oder.id}}"}}], 'did you mean "order"'),
        ([PLAIN | {"needs": ["b"]}, PLAIN | {"name": "b", "needs": ["order"]}], "ever be sent"),
    ],
)
def test_what_cannot_be_delivered_is_refused_when_it_is_stated(delivers: list[dict[str, Any]], told: str):
    """Filters, splits, mappings, circles of needs: with the part that is wrong, and the nearest name there is."""
    definition = Definition.model_validate({"name": "erp", "connector": "scripted", "deliver": delivers})
    with pytest.raises(BadInput, match=told):
        check_names(ScriptedConnector, definition)


@pytest.mark.parametrize(
    ("deliver", "told"),
    [
        ({"every": "1h", "cron": "0 3 * * *"}, "exclude each other"),
        ({"every": "1h", "group": {"by": ["shift"]}}, "a time of its own"),
        ({"needs": ["other"], "group": {"by": ["shift"]}}, "cannot need"),
        ({"group": {"by": ["store"], "close": "shift_close"}}, "closes with its shift"),
        ({"group": {"by": ["store"]}}, "closes at the end of a day"),
    ],
)
def test_a_time_or_a_group_that_makes_no_sense_is_refused(deliver: dict[str, Any], told: str):
    with pytest.raises(BadInput, match=told):
        read_definition({"name": "erp", "connector": "scripted", "deliver": [PLAIN | deliver]})


def test_a_system_that_cannot_be_asked_gets_no_groups():
    """After a restore of the centre nobody could tell which documents a group over there holds."""
    group = PLAIN | {"group": {"by": ["shift"]}}
    definition = Definition.model_validate({"name": "erp", "connector": "plain", "deliver": [group]})
    with pytest.raises(BadInput, match="cannot be sent in groups"):
        check_names(PlainConnector, definition)


@pytest.mark.parametrize(
    "deliver",
    [
        {"fields": {"a": "{{payload.x_loyalty}}", "b": "{{payload.fiscal.key}}"}},
        {
            "kinds": ["sale", "return"],
            "fields": {"a": "{{payload.returns}}", "b": "{{written.order.number}}"},
        },
        {"split": "payload.lines[?amount_minor > `0`]", "fields": {"a": "{{part.anything}}"}},
        {"split": "payload.lines", "fields": {"a": "{{part.taxes[0].rate_bp}}", "b": "{{part_number}}"}},
    ],
)
def test_what_a_document_may_hold_may_be_named(deliver: dict[str, Any]):
    """A chain's own fields, the inside of what is carried unchanged, a field of one of the kinds, parts."""
    definition = Definition.model_validate(
        {"name": "erp", "connector": "scripted", "deliver": [PLAIN | deliver]}
    )
    check_names(ScriptedConnector, definition)


def test_nothing_is_split_for_a_system_that_cannot_be_asked():
    """Of a document in parts, some may have arrived: only a system that can be asked tells which."""
    definition = Definition.model_validate(
        {"name": "erp", "connector": "plain", "deliver": [PLAIN | {"split": "payload.lines"}]}
    )
    check_names(ScriptedConnector, definition)
    with pytest.raises(BadInput, match="cannot be asked"):
        check_names(PlainConnector, definition)
