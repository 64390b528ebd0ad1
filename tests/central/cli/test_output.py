"""Tables, money and times as people read them."""

from __future__ import annotations

import pytest

from central.cli import output


def test_numbers_stand_to_the_right_and_wide_signs_take_two_columns(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Columns stay in line in every script."""
    output.table(("name", "count"), [("上海", 7), ("Paris", 1_200), ("Тошкент", None)])
    assert capsys.readouterr().out.splitlines() == [
        "NAME     COUNT",
        "上海         7",
        "Paris     1200",
        "Тошкент      -",
    ]


def test_an_empty_table_says_so_and_prints_no_data(capsys: pytest.CaptureFixture[str]) -> None:
    """Data on stdout, talk on stderr."""
    output.table(("name",), [])
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "none\n")


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [
        (1250, "EUR", "12.50"),
        (-5, "EUR", "-0.05"),
        (1250, "JPY", "1250"),
        (1250, "KWD", "1.250"),
        (None, "EUR", None),
    ],
)
def test_money_has_its_currencys_decimals(minor: int | None, currency: str, text: str | None) -> None:
    """Never a float in between."""
    assert output.money(minor, currency) == text


def test_times_are_told_by_their_distance() -> None:
    """In the largest unit that fits; a clock that is ahead is "now"."""
    now = "2026-11-21T10:00:00.000Z"
    assert output.ago("2026-11-21T09:59:30.000Z", now) == "30 s ago"
    assert output.ago("2026-11-21T08:59:00.000Z", now) == "1 h ago"
    assert output.ago("2026-11-18T10:00:00.000Z", now) == "3 d ago"
    assert output.ago("2026-11-21T10:00:09.000Z", now) == "0 s ago"
    assert output.ago(None, now) is None
