"""Reading HQ's list of stations, whatever spreadsheet wrote it."""

from __future__ import annotations

import pytest

from central.registry.import_csv import StationRow, parse
from shared.errors import BadInput


def test_comma_semicolon_and_tab_give_the_same_rows() -> None:
    """The header line decides the separator."""
    expected = [StationRow(2, "T-1", "S1", ("G1", "G2"), "Till 1")]
    for separator in (",", ";", "\t"):
        text = (
            separator.join(("code", "store", "groups", "name"))
            + "\n"
            + separator.join(("T-1", "S1", "G1 G2", "Till 1"))
        )
        assert parse(text.encode()) == (expected, [])


def test_a_spreadsheets_byte_order_mark_and_line_ends_are_taken() -> None:
    """Excel writes a byte order mark and CRLF; empty lines at the end are no stations."""
    rows, errors = parse(b"\xef\xbb\xbfCode;Store\r\nT-1;S1\r\n;\r\n\r\n")
    assert [row.code for row in rows] == ["T-1"]
    assert errors == []


def test_groups_may_be_separated_by_bars_and_named_twice() -> None:
    """Spaces and bars separate; a group counts once."""
    rows, _ = parse(b"code,store,groups\nT-1,S1,G1|G2 G1\n")
    assert rows[0].groups == ("G1", "G2")


def test_every_fault_is_told_with_its_line_and_column() -> None:
    """A list is corrected in one go: nothing is left to be found by the next try."""
    _, errors = parse(
        b"code,store,groups\nT 1,S1,\n,S1,\nT-2,,\nT-3,S1,G!\nT-4,S1,\nT-4,S1,\nT-5,S1,G1,x,y\n"
    )
    assert [(error.line, error.column) for error in errors] == [
        (2, "code"),
        (3, "code"),
        (4, "store"),
        (5, "groups"),
        (7, "code"),
        (8, "(line)"),
    ]
    assert "line 6" in errors[4].why


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (b"code,name\nT-1,x\n", "missing store"),
        (b"code,store,colour\n", 'unknown "colour"'),
        (b"code,store,code\n", "twice code"),
        (b"code,store,name\nT-1,S1,Caf\xe9\n", "line 2: byte 0xe9 is not UTF-8"),
        (b'code,store\nT-1,"S1\n', "line 2"),
    ],
)
def test_what_is_no_such_list_is_refused_in_words(data: bytes, told: str) -> None:
    """The refusal says where it stops being a list and what to do."""
    with pytest.raises(BadInput) as refusal:
        parse(data)
    assert told in refusal.value.what
    assert refusal.value.hint


def test_a_list_has_a_bound() -> None:
    """More than ten thousand stations in one list are a mistake."""
    data = b"code,store\n" + b"".join(b"T-%d,S1\n" % n for n in range(10_001))
    with pytest.raises(BadInput, match="more than 10000"):
        parse(data)
