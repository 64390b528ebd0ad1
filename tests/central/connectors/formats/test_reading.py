"""Excel and XML as lists and as records: exact, bounded, and nothing of them is ever run or fetched."""

from __future__ import annotations

import zipfile
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter

from central.connectors.base import ListAbout
from central.connectors.formats import reading, xml
from central.connectors.formats.dialect import Dialect
from central.connectors.formats.lists import open_list
from central.connectors.formats.reading import read_records
from shared.errors import BadInput, TooLarge


def sheet(path: Path, rows: list[list[Any]], name: str = "Sheet1") -> Path:
    with xlsxwriter.Workbook(path) as book:
        book.add_worksheet("Notes") if name != "Sheet1" else None
        page = book.add_worksheet(name)
        for number, row in enumerate(rows):
            for column, value in enumerate(row):
                if isinstance(value, date):
                    page.write_datetime(number, column, value, book.add_format({"num_format": "yyyy-mm-dd"}))
                else:
                    page.write(number, column, value)
    return path


def records(path: Path, **dialect: Any) -> list[tuple[int, Any, str]]:
    return [tuple(one) for one in read_records(path, Dialect(**dialect))]


def test_an_excel_list_is_read_like_csv(tmp_path: Path) -> None:
    """Prices that were typed with a point stay what was typed, though Excel has inexact numbers only."""
    path = sheet(
        tmp_path / "prices.xlsx",
        [
            ["#counterflow entity=price scope=pricelist/P mode=complete currency=EUR"],
            ["product", "amount", "valid_from", "deleted"],
            ["A", 0.305],
            [4006381333931, 12.5, "2026-11-21T00:00:00Z"],
            [],
            ["B", 7, None, True],
            ["C", "dear"],
        ],
    )
    about, rows = open_list(path, None)
    assert about == ListAbout("price", "pricelist/P", "complete")
    assert [(row.line, row.values, row.deleted, row.why) for row in rows()][1:3] == [
        (4, {"product": "4006381333931", "amount_minor": 1250, "valid_from": "2026-11-21T00:00:00Z", "currency": "EUR"},
         False, ""),
        (6, {"product": "B", "amount_minor": 700, "currency": "EUR"}, True, ""),
    ]  # fmt: skip
    first, *_, last = rows()
    assert "more than 2 decimals" in first.why
    assert (last.line, "not a number" in last.why) == (7, True)


def test_a_sheet_is_chosen_by_its_name(tmp_path: Path) -> None:
    path = sheet(tmp_path / "a.xlsx", [["code", "born"], ["A", date(2026, 8, 9)]], "Goods")
    assert records(path, form="xlsx", sheet="Goods") == [(2, {"code": "A", "born": "2026-08-09"}, "")]
    with pytest.raises(BadInput, match="Notes, Goods"):
        records(path, form="xlsx", sheet="Prices")


def test_an_excel_file_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    """Whatever it says of its own size."""
    monkeypatch.setattr(reading, "UNPACKED_MAX_BYTES", 1 << 20)
    path = tmp_path / "bomb.xlsx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("xl/workbook.xml", b"0" * (2 << 20))
    with pytest.raises(TooLarge, match="unpacks"):
        records(path, form="xlsx")


def test_a_cell_in_the_far_corner_takes_nothing_down(tmp_path: Path) -> None:
    """The reader would ask for terabytes and abort: it is a process of its own, and the file is refused."""
    path = tmp_path / "far.xlsx"
    with xlsxwriter.Workbook(path) as book:
        page = book.add_worksheet()
        page.write(0, 0, "code")
        page.write(1_048_575, 16_383, "x")
    with pytest.raises(BadInput, match="too much memory"):
        records(path, form="xlsx")


def write(folder: Path, text: str) -> Path:
    path = folder / "a.xml"
    path.write_text(text, encoding="utf-8")
    return path


def test_an_xml_list_says_what_it_is_in_its_outermost_element(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '<?xml version="1.0"?>\n<goods xmlns="urn:x" counterflow="entity=product mode=changes record=item">\n'
        "<item><code>A</code><name>Milk &amp; more</name><barcodes>1|2</barcodes></item>\n"
        '<item code="B" deleted="1"/>\n'
        "<item><code>C</code><name>x</name><packs><code>box</code></packs></item></goods>",
    )
    about, rows = open_list(path, None)
    assert about.entity == "product"
    assert [(row.line, row.values, row.deleted) for row in rows()] == [
        (3, {"code": "A", "name": "Milk & more", "barcodes": ["1", "2"]}, False),
        (4, {"code": "B"}, True),
        (5, {"code": "C", "name": "x", "packs": {"code": "box"}}, False),
    ]


def test_elements_become_tables_and_lists(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '<r><row id="1"><line n="1">x</line><line/><tag>a</tag><row>inner</row></row><row/><other/><row>text</row></r>',
    )
    assert [one[1] for one in records(path, form="xml", lists=["tag"])] == [
        {"id": "1", "line": [{"n": "1", "text": "x"}, ""], "tag": ["a"], "row": "inner"},
        {},
        {"text": "text"},
    ]


@pytest.mark.parametrize(
    "text",
    [
        '<!DOCTYPE r [<!ENTITY a "b">]><r><row>&a;</row></r>',
        '<!DOCTYPE r SYSTEM "file:///etc/passwd"><r><row/></r>',
        '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><r><row>&x;</row></r>',
        '<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;">]><r><row v="&b;"/></r>',
    ],
)
def test_a_document_type_is_refused(tmp_path: Path, text: str) -> None:
    """Entities can read files, fetch pages and grow without end; no list needs one."""
    with pytest.raises(BadInput, match="document type"):
        records(write(tmp_path, text), form="xml")


def test_xml_is_bounded(tmp_path: Path, monkeypatch: Any) -> None:
    deep = write(tmp_path, "<r><row>" + "<a>" * 40 + "</a>" * 40 + "</row><row><b>1</b></row></r>")
    assert [(one[1], one[2]) for one in records(deep, form="xml")] == [
        (None, "elements nest deeper than 30"),
        ({"b": "1"}, ""),
    ]
    monkeypatch.setattr(xml, "RECORD_MAX_BYTES", 1 << 16)
    with pytest.raises(TooLarge, match="record=NAME"):
        records(write(tmp_path, "<r>" + "<item>x</item>" * 50_000 + "</r>"), form="xml")
    many = write(tmp_path, "<r>" + "<row>x</row>" * 50_000 + "</r>")
    assert len(records(many, form="xml")) == 50_000
    with pytest.raises(BadInput, match="no XML"):
        records(write(tmp_path, "<r><row>1</row><row>"), form="xml")


def test_json_numbers_are_exact(tmp_path: Path) -> None:
    for name, text in (("a.ndjson", '{"a": 0.10}\n[1]\n'), ("a.json", '[{"a": 0.10}, [1]]')):
        path = tmp_path / name
        path.write_text(text)
        good, bad = records(path, form=name.split(".")[1])
        assert good[1] == {"a": Decimal("0.10")}
        assert str(good[1]["a"]) == "0.10"
        assert bad[2] == "a row must be an object"
    with pytest.raises(BadInput, match="not valid JSON"):
        records(write(tmp_path, '{"rows": [NaN]}'), form="json")
