"""A `[[match]]` is checked when it is stated: what is searched, made and mapped must be there."""

from __future__ import annotations

import re
from typing import Any

import pytest

from central.integrations import toml
from central.integrations.build import check_names
from central.integrations.definition import read_definition
from central.integrations.difference import differences, same
from shared.errors import BadInput
from tests.support.directory_connector import DirectoryConnector

MATCH: dict[str, Any] = {"kind": "party", "entity": "customer", "target": "parties", "tax_id": "inn"}
MADE: dict[str, Any] = {**MATCH, "create": True, "fields": {"inn": "{{tax_id}}"}}
CURRENCY: dict[str, Any] = {"kind": "currency", "target": "currencies", "field": "code"}
CHANGES: dict[str, Any] = {"name": "change", "kinds": ["customer_change"], "target": "parties", "fields": {}}


@pytest.mark.parametrize(
    ("match", "why"),
    [
        ({**MATCH, "tax_id": None}, "a party needs entity and tax_id"),
        ({**MATCH, "entity": None}, "a party needs entity and tax_id"),
        ({**CURRENCY, "field": None}, "needs field"),
        ({**CURRENCY, "kind": "colour"}, "has no codes in other systems"),
        ({**MADE, "fields": {"name": "{{name}}"}}, 'must have "inn"'),
        ({**MADE, "origin": "ours"}, 'must have "ours"'),
        ({**MATCH, "target": "partys"}, 'did you mean "parties"'),
        ({**MATCH, "tax_id": "name"}, 'has no search of "parties" by "name"'),
        ({**CURRENCY, "create": True}, 'cannot be told to make a "currencies"'),
        ({**MATCH, "entity": "price"}, "no entity of the catalog that has a row for each code"),
        ({**MATCH, "entity": "warehouse"}, "bear no tax id"),
        ({**MADE, "fields": {"inn": "{{tax_idd}}"}}, 'did you mean "tax_id"'),
        ({**MADE, "fields": {"inn": "{{tax_id}}", "nam": "x"}}, 'did you mean "name"'),
    ],
)
async def test_a_match_that_cannot_work_is_refused(match: dict[str, Any], why: str) -> None:
    """What it searches, makes and maps is known beforehand."""
    with pytest.raises(BadInput, match=re.escape(why)):
        check_names(
            DirectoryConnector, read_definition({"name": "erp", "connector": "directory", "match": [match]})
        )


async def test_a_party_has_one_way_to_come_to_be() -> None:
    """A customer that a till makes is delivered; made by a match as well, it would come twice."""
    written = {"name": "erp", "connector": "directory", "deliver": [CHANGES], "match": [MADE]}
    with pytest.raises(BadInput, match="might come twice"):
        check_names(DirectoryConnector, read_definition(written))
    forms = {"kind": "legal_form", "target": "forms", "field": "name", "create": True}
    rows = {"name": "rows", "entity": "dictionary", "target": "forms", "codes": "legal_form", "fields": {}}
    with pytest.raises(BadInput, match="might come twice"):
        check_names(DirectoryConnector, read_definition(written | {"deliver": [rows], "match": [forms]}))
    check_names(DirectoryConnector, read_definition(written | {"match": [MATCH]}))
    with pytest.raises(BadInput, match="two"):
        read_definition(written | {"match": [MATCH, MATCH]})


def test_a_match_is_written_as_a_file_and_compared_by_its_kind() -> None:
    """What is exported is read again as it was; what differs is named by the kind it stands under."""
    written = {"name": "erp", "connector": "directory", "match": [MADE, CURRENCY]}
    definition = read_definition(written)
    assert same(toml.read(toml.write(definition), "erp.toml"), definition)
    other = read_definition(written | {"match": [CURRENCY, MADE | {"branch": "kpp"}]})
    assert [(one.path, one.after) for one in differences(definition, other)] == [
        ("match[party].branch", "kpp")
    ]
