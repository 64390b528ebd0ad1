"""Templates: what a person fills in is read without a word of help."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from typer.testing import CliRunner

from central.cli import app
from central.connectors.formats.lists import open_list
from central.connectors.formats.reading import sheet_rows
from central.connectors.formats.templates import template
from shared.catalog.entities import ENTITIES
from shared.errors import NotFound


@pytest.mark.parametrize("form", ["csv", "xlsx"])
@pytest.mark.parametrize("entity", sorted(ENTITIES))
def test_every_template_is_a_list_of_its_entity(
    tmp_path: Path, entity: str, form: Literal["csv", "xlsx"]
) -> None:
    path = tmp_path / f"list.{form}"
    path.write_bytes(template(entity, form))
    about, rows = open_list(path, None)
    assert (about.entity, about.mode, list(rows())) == (entity, "changes", [])


def test_a_filled_in_price_list_is_read(tmp_path: Path) -> None:
    path = tmp_path / "price.csv"
    text = template("price", "csv").decode()
    columns = text.splitlines()[1].split(",")
    cells = {"price_list": "retail", "product": "A", "amount": "12.50", "currency": "EUR"}
    path.write_text(text + ",".join(cells.get(name, "") for name in columns) + "\n")
    _, rows = open_list(path, None)
    (row,) = rows()
    assert row.values == {"price_list": "retail", "product": "A", "amount_minor": 1250, "currency": "EUR"}


def test_an_excel_template_explains_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "product.xlsx"
    path.write_bytes(template("product", "xlsx"))
    explained = {row[0]: row[1:] for row in sheet_rows(path, "Columns")}
    assert explained["code"] == ["yes"]
    assert explained["measured"] == ["", "item code inside weight and price barcodes"]
    with pytest.raises(NotFound, match="product"):
        template("produkt", "csv")


def test_the_command_makes_a_file_and_overwrites_none(tmp_path: Path) -> None:
    path = tmp_path / "mine.xlsx"
    words = ["templates", "product", "--format", "xlsx", "--to", str(path)]
    assert CliRunner().invoke(app, words).exit_code == 0
    made = path.read_bytes()
    assert CliRunner().invoke(app, words).exit_code != 0
    assert path.read_bytes() == made
