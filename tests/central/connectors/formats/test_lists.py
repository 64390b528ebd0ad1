"""Lists as files: what they say of themselves, and each row with its line, good or bad."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from central.connectors.base import ListAbout, SourceRow
from central.connectors.formats.lists import open_list
from central.connectors.formats.reading import LINE_MAX_BYTES, row_lines
from shared.errors import BadInput


def read(
    folder: Path, name: str, content: str | bytes, sidecar: str | None = None
) -> tuple[ListAbout, list[SourceRow]]:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    beside = folder / f"{name}.about.json"
    if sidecar is not None:
        beside.write_text(sidecar)
    about, rows = open_list(path, beside if sidecar is not None else None)
    return about, list(rows())


def test_a_csv_file_says_what_it_is_in_its_first_line(tmp_path: Path):
    """Entity, scope, mode and what to do with bad rows; cells become what the entity's fields want."""
    about, rows = read(
        tmp_path,
        "prices.csv",
        "#counterflow entity=price scope=pricelist/P mode=complete on_error=stop absence=keep\n"
        "product,amount_minor,currency,valid_from\n"
        "A,1250,EUR,2026-11-21T00:00:00Z\n"
        "B,80,EUR,\n",
    )
    assert about == ListAbout("price", "pricelist/P", "complete", "stop", "keep")
    assert rows == [
        SourceRow(
            3, {"product": "A", "amount_minor": 1250, "currency": "EUR", "valid_from": "2026-11-21T00:00:00Z"}
        ),
        SourceRow(4, {"product": "B", "amount_minor": 80, "currency": "EUR"}),
    ]


def test_csv_in_another_dialect(tmp_path: Path):
    """Semicolons, decimal commas, cp1251 and a currency for the whole file, as accounting programs export."""
    about, rows = read(
        tmp_path,
        "prices.csv",
        "#counterflow entity=price scope=pricelist/P delimiter=; decimal=, encoding=cp1251 currency=RUB\n"
        "product;amount;note\nМолоко;12,50;свежее\n".encode("cp1251"),
    )
    assert about.mode == "changes"
    assert rows == [
        SourceRow(3, {"product": "Молоко", "amount_minor": 1250, "note": "свежее", "currency": "RUB"})
    ]


def test_csv_lists_flags_and_nested_values(tmp_path: Path):
    """Barcodes separated by a bar, yes and no, JSON in a cell, and a byte order mark before the first line."""
    _, rows = read(
        tmp_path,
        "products.csv",
        "\ufeff#counterflow entity=product\ncode,name,barcodes,active,packs\n"
        'A,"Milk, 1 l",4006381333931|96385074,no,"[{""code"":""box"",""quantity"":12}]"\n',
    )
    assert rows[0].values == {
        "code": "A",
        "name": "Milk, 1 l",
        "barcodes": ["4006381333931", "96385074"],
        "active": False,
        "packs": [{"code": "box", "quantity": 12}],
    }


def test_a_bad_csv_row_is_named_by_its_line(tmp_path: Path):
    """Wrong cells, too few of them, bytes of another encoding, an unknown mark: a reason each, and the rest is read."""
    _, rows = read(
        tmp_path,
        "p.csv",
        b"#counterflow entity=product\ncode,name,min_age,deleted\n"
        b"A,one,eighteen,\n"
        b"B\n"
        b"C,\xff\xfe,,\n"
        b'D,"two\nlines",,\n'
        b"E,gone,,yes\n"
        b"F,what,,perhaps\n"
        b"\n"
        b"G,good,18,no\n",
    )
    assert [(row.line, row.why) for row in rows] == [
        (3, 'min_age: "eighteen" is not a whole number'),
        (4, "1 cells, but there are 4 columns"),
        (5, "not utf-8 text"),
        (6, ""),
        (8, ""),
        (9, 'deleted "perhaps" is neither yes nor no'),
        (11, ""),
    ]
    assert rows[0].values == {"code": "A", "name": "one"}
    assert rows[3].values == {"code": "D", "name": "two\nlines"}
    assert rows[4].deleted
    assert rows[6].values == {"code": "G", "name": "good", "min_age": 18}


def test_an_unclosed_quote_is_a_bad_row(tmp_path: Path):
    """What the csv module refuses is reported, not raised."""
    _, rows = read(tmp_path, "p.csv", '#counterflow entity=product\ncode,name\nA,"x" y\nB,good\n')
    assert [(row.line, bool(row.why)) for row in rows] == [(3, True), (4, False)]


def test_an_amount_is_never_rounded(tmp_path: Path):
    """More decimals than the currency has are a bad row, and without a currency nothing is guessed."""
    _, rows = read(
        tmp_path,
        "p.csv",
        "#counterflow entity=price scope=pricelist/P\nproduct,amount,currency\nA,12.505,EUR\nB,100,JPY\nC,1.5,\n",
    )
    assert 'amount "12.505" has more than 2 decimals' in rows[0].why
    assert rows[1].values == {"product": "B", "amount_minor": 100, "currency": "JPY"}
    assert "needs a currency" in rows[2].why


def test_ndjson(tmp_path: Path):
    """The first object describes, each further line is a row; a line that is no JSON is a bad row."""
    about, rows = read(
        tmp_path,
        "b.ndjson",
        '{"counterflow": {"entity": "balance", "scope": "store/S1", "mode": "complete"}}\n'
        '{"warehouse": "S1", "product": "A", "quantity": "3"}\n{"oops\n[1]\n\n{"product": "B", "deleted": true}\n',
    )
    assert about == ListAbout("balance", "store/S1", "complete")
    assert [(row.line, row.values, row.deleted, bool(row.why)) for row in rows] == [
        (2, {"warehouse": "S1", "product": "A", "quantity": "3"}, False, False),
        (3, None, False, True),
        (4, None, False, True),
        (6, {"product": "B"}, True, False),
    ]


def test_json_rows_have_lines_too(tmp_path: Path):
    """A JSON list says on which line each of its rows begins, however it is laid out."""
    _, rows = read(
        tmp_path,
        "p.json",
        '{"made by": ["x", {"rows": 1}],\n "counterflow": {"entity": "product"},\n'
        ' "rows": [{"code": "A"},\n\n  {"code":\n "B"}, 7\n]}',
    )
    assert [(row.line, row.values) for row in rows] == [(3, {"code": "A"}), (5, {"code": "B"}), (6, None)]


@given(
    st.lists(
        st.dictionaries(st.text(max_size=3), st.none() | st.booleans() | st.text(max_size=5)), max_size=6
    )
)
def test_row_lines_agree_with_any_json(rows):
    """For any rows, one line number each, rising; and none is lost in either layout."""
    for option in (0, orjson.OPT_INDENT_2):
        text = orjson.dumps({"a": rows, "rows": rows, "z": [{"rows": []}]}, option=option).decode()
        lines = row_lines(text)
        assert len(lines) == len(rows)
        assert lines == sorted(lines)


def test_a_sidecar_describes_a_file_that_cannot(tmp_path: Path):
    """An export that knows nothing of us is described by a file beside it; two descriptions are one too many."""
    aside = '{"entity": "product", "delimiter": ";"}'
    about, rows = read(tmp_path, "p.csv", "code;name\nA;x\n", sidecar=aside)
    assert about.entity == "product"
    assert rows == [SourceRow(2, {"code": "A", "name": "x"})]
    with pytest.raises(BadInput, match="says it too"):
        read(tmp_path, "q.csv", "#counterflow entity=product\ncode;name\nA;x\n", sidecar=aside)


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("p.csv", "code,name\nA,x\n", "does not say what it is"),
        ("p.csv", "", "does not say what it is"),
        ("p.csv", "#counterflow entity=nonsense\ncode\n", "no entity of the catalog"),
        ("p.csv", "#counterflow entity=price mode=complete\nproduct\n", "for which scope"),
        ("p.csv", "#counterflow entity=price scope=shop/1\nproduct\n", "is not a scope"),
        (
            "p.csv",
            "#counterflow entity=product absence=zero scope=base mode=complete\ncode\n",
            "has no quantity",
        ),
        ("p.csv", "#counterflow entity=product color=red\ncode\n", "color"),
        ("p.csv", "#counterflow entity=product complete\ncode\n", "not of the form"),
        ("p.csv", "#counterflow entity=product encoding=utf-16\ncode\n", "encoding"),
        ("p.csv", "#counterflow entity=product encoding=hex\ncode\n", "encoding"),
        ("p.csv", "#counterflow entity=product delimiter=ab\ncode\n", "one character"),
        ("p.csv", "#counterflow entity=product\ncode,code\nA,B\n", "twice"),
        ("p.csv", "#counterflow entity=product\ncode,\nA,B\n", "has no name"),
        ("p.json", '{"counterflow": {"entity": "product"}}', '"rows" must be a list'),
        ("p.json", '{"counterflow": {"entity": "product"}, "rows": [', "not valid JSON"),
        ("p.json", '{"counterflow": 7, "rows": []}', "must be an object"),
        ("p.ods", "x", "are not read"),
        ("p.xlsx", "x", "is no Excel file"),
        ("p.xml", "x", "is no XML"),
        ("p.xml", "<rows><row/></rows>", "does not say what it is"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, name: str, content: str, why: str):
    """A list that is refused as a whole names what is wrong with it."""
    with pytest.raises(BadInput, match=why):
        read(tmp_path, name, content)


def test_a_line_without_an_end_is_refused(tmp_path: Path):
    """Memory is bounded: a file of one endless line is not read into it."""
    with pytest.raises(BadInput, match="longer than"):
        read(tmp_path, "p.ndjson", b'{"counterflow": {"entity": "product"}}\n' + b"x" * (LINE_MAX_BYTES + 1))
