"""Definitions as TOML files: what is written reads the same, and what is wrong is told with its line."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central.integrations import toml
from central.integrations.definition import read_definition
from central.integrations.difference import differences, written
from central.integrations.toml import BadFile

FILE = """name = "erp"
connector = "drop_folder"

[settings]
folder = "/srv/erp"

[maps.units]
PCE = "pc"

[[pull]]
name = "goods"
source = "product"
entity = "product"

[pull.fields]
code = "{{ code }}"
name = { value = "{{ name }}", default = "?" }

[[deliver]]
name = "document"
kinds = ["sale"]
"""


def test_what_is_written_reads_the_same():
    """Export and import are each other's way back."""
    definition = toml.read(FILE, "erp.toml")
    assert definition.pull[0].fields["name"] == {"value": "{{ name }}", "default": "?"}
    again = toml.read(toml.write(definition), "erp.toml")
    assert written(again) == written(definition)


@pytest.mark.parametrize(
    ("before", "after", "line", "why"),
    [
        ('folder = "/srv/erp"', "folder = /srv/erp", 5, "Invalid value"),
        ('kinds = ["sale"]', 'kinds = ["sales"]', 21, '"sales" is no kind of document'),
        ('source = "product"', 'sauce = "product"', 10, "pull.source: Field required"),
        ('entity = "product"', 'every = "soon"', 13, '"soon" is no duration'),
        ('name = "document"', 'name = "document"\ncolour = 1', 21, "deliver.colour"),
        ('connector = "drop_folder"', "", None, "connector: Field required"),
    ],
)
def test_a_mistake_is_told_with_its_line(before: str, after: str, line: int | None, why: str):
    """The file, the line, and why."""
    with pytest.raises(BadFile) as caught:
        toml.read(FILE.replace(before, after), "erp.toml")
    assert caught.value.line == line
    assert why in caught.value.what
    assert caught.value.what.startswith("erp.toml")


NAMES = st.text(min_size=1, max_size=5)
VALUES: Any = st.recursive(
    st.text(max_size=8) | st.integers(-(2**62), 2**62) | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(NAMES, VALUES, max_size=4), st.dictionaries(NAMES, VALUES, max_size=4))
def test_any_definition_survives_its_file(fields: dict[str, Any], settings: dict[str, Any]):
    """Whatever names, texts and nesting: nothing differs after export and import."""
    definition = read_definition(
        {
            "name": "erp",
            "connector": "x",
            "settings": {"all": settings},
            "pull": [{"name": "p", "source": "s", "entity": "product", "fields": fields}],
            "deliver": [{"name": "d", "kinds": ["sale"], "fields": fields}],
        }
    )
    assert not differences(definition, toml.read(toml.write(definition), "erp.toml"))
