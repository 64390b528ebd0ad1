"""Records as files of every form: read back they are what was written."""

from __future__ import annotations

import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central.connectors.formats.dialect import Dialect
from central.connectors.formats.reading import read_records
from central.connectors.formats.writing import compose_file, unfit

words = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp")), min_size=1, max_size=20
)
numbers = st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**12), max_value=10**12)
records = st.lists(
    st.fixed_dictionaries({"code": words, "sum": numbers, "n": st.integers(0, 10**14)}),
    min_size=1,
    max_size=5,
)


def read_back(content: bytes, dialect: Dialect) -> list[Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"a.{dialect.form}")
        path.write_bytes(content)
        return [one.values for one in read_records(path, dialect)]


@given(records, st.sampled_from(["csv", "json", "ndjson", "xml"]))
def test_what_is_written_is_read_back(found: list[dict[str, Any]], form: Any) -> None:
    dialect = Dialect(form=form, delimiter=";")
    back = read_back(compose_file(found, dialect), dialect)
    typed = form in ("json", "ndjson")
    assert back == (found if typed else [{name: str(value) for name, value in one.items()} for one in found])


def test_xml_has_the_root_the_namespace_and_the_encoding_that_are_wished() -> None:
    dialect = Dialect(form="xml", root="Товары", record="Товар", namespace="urn:1C", encoding="cp1251")
    content = compose_file([{"Код": "7", "Цена": [Decimal("1.50"), 2]}], dialect)
    assert content.decode("cp1251") == (
        "<?xml version='1.0' encoding='cp1251'?>\n"
        '<Товары xmlns="urn:1C">\n  <Товар>\n    <Код>7</Код>\n    <Цена>1.50</Цена>\n    <Цена>2</Цена>\n'
        "  </Товар>\n</Товары>\n"
    )
    assert read_back(content, dialect) == [{"Код": "7", "Цена": ["1.50", "2"]}]
    with pytest.raises(ValueError, match="no name of an element"):
        Dialect(form="xml", root="two words")


def test_excel_holds_numbers_as_numbers_and_texts_as_texts() -> None:
    """A formula, a link or leading zeros in a text stay what they are; a number that Excel would round is a text."""
    record = {
        "a": "=1+1",
        "b": "007",
        "c": Decimal("12.50"),
        "d": 12345678901234567890,
        "e": "http://x",
        "f": True,
        "g": [1],
    }
    dialect = Dialect(form="xlsx")
    assert read_back(compose_file([record, {"h": 1}], dialect), dialect)[0] == {
        "a": "=1+1", "b": "007", "c": "12.5", "d": "12345678901234567890", "e": "http://x", "f": "true",
        "g": "[1]", "h": "",
    }  # fmt: skip


def test_columns_stand_in_the_order_that_is_wished() -> None:
    dialect = Dialect(form="csv", decimal=",", delimiter=";", encoding="cp1251")
    content = compose_file([{"b": Decimal("1.50"), "x": None}, {"a": "Молоко; 1 л"}], dialect, ["a", "b"])
    assert content.decode("cp1251") == 'a;b;x\n;1,50;\n"Молоко; 1 л";;\n'


@pytest.mark.parametrize(
    ("record", "dialect", "why"),
    [
        ({"a": "牛奶"}, Dialect(encoding="cp1251"), "cannot be written in cp1251"),
        ({"a": "x" * 40_000}, Dialect(form="xlsx"), "at most 32,767"),
        ({"a b": "x"}, Dialect(form="xml"), "Invalid tag name"),
        ({"a": "\x00"}, Dialect(form="xml"), "XML compatible"),
    ],
)
def test_what_a_form_cannot_hold_is_told(record: dict[str, Any], dialect: Dialect, why: str) -> None:
    assert why in (unfit(record, dialect) or "")
    assert unfit({"a": "x"}, dialect) is None
