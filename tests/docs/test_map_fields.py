"""The page on field mapping: every example gives what it says, and no filter is left out."""

from __future__ import annotations

import json
import re
import tomllib
from decimal import Decimal
from typing import Any

import pytest

from central.mapping.compile import compile_fields
from central.mapping.filters import FILTERS
from tests.docs.markdown import ROOT

PAGE = (ROOT / "docs/howto/map-fields.md").read_text(encoding="utf-8")
FENCE = r"^```{}\n(.*?)^```\n+"
TRIPLES = re.findall(
    "".join(FENCE.format(kind) for kind in ("json", "toml", "json")), PAGE, re.MULTILINE | re.DOTALL
)
SPECS = re.findall(FENCE.format("toml"), PAGE, re.MULTILINE | re.DOTALL)
ROWS = re.findall(r"^\| (.*?) \| `(\{\{.*?\}\})` \| `(.*?)` \|$", PAGE, re.MULTILINE)
MAPS = {"units": {"796": "PCE", "166": "KGM"}}

pytestmark = pytest.mark.docs


def exact(text: str) -> Any:
    return json.loads(text, parse_float=Decimal)


def made(fields: dict[str, Any], record: dict[str, Any]) -> dict[str, Any]:
    return compile_fields(fields, maps=MAPS, source=None, target=None).apply(record, {})


@pytest.mark.parametrize(("record", "fields", "result"), TRIPLES)
def test_an_example_gives_what_it_says(record: str, fields: str, result: str) -> None:
    assert made(tomllib.loads(fields), exact(record)) == exact(result)


@pytest.mark.parametrize(("template", "result"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_filter_does_what_its_row_says(template: str, result: str) -> None:
    found = made({"f": template.replace("\\|", "|")}, {})["f"]
    assert (found, str(found)) == (exact(result), str(exact(result)))


def test_every_field_spec_of_the_page_can_be_loaded() -> None:
    for text in SPECS:
        compile_fields(tomllib.loads(text), maps=MAPS, source=None, target=None)
    assert len(TRIPLES) >= 4


def test_every_filter_has_a_row() -> None:
    assert {name for row in ROWS for name in re.findall(r"`(\w+)", row[0])} == set(FILTERS)
