"""Whether a party is there already: by tax id and by our code, never by a guess."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central.codes.parties import (
    Create,
    Found,
    Party,
    Unclear,
    Use,
    branch_of,
    match,
    spellings_of,
    tax_id_of,
)
from shared.errors import BadInput

INN, OTHER_INN, PERSON = "7707083893", "7736050003", "500100732259"
CNPJ = "11222333000181"


@pytest.mark.parametrize(
    ("text", "country", "plain"),
    [
        (" 7707 083893 ", "RU", INN),
        (PERSON, "ru", PERSON),
        ("11.222.333/0001-81", "BR", CNPJ),
        ("12.ABC.345/01DE-35", "BR", "12ABC34501DE35"),
        ("DE 136,695 976".replace(",", ""), "EU", "DE136695976"),
        ("ee 100366327", "", "EE100366327"),
        ("301 234 567", "UZ", "301234567"),
    ],
)
def test_a_tax_id_has_one_spelling(text: str, country: str, plain: str) -> None:
    """Blanks, dots, slashes and case make no difference."""
    assert tax_id_of(text, country) == plain
    assert tax_id_of(plain, country) == plain


@pytest.mark.parametrize(
    ("text", "country"),
    [("7707083890", "RU"), ("123", "RU"), ("11222333000180", "BR"), ("DE1", ""), ("77", "UZ"), (INN, "")],
)
def test_a_wrong_tax_id_is_refused(text: str, country: str) -> None:
    """By its check digits, its length, or because nobody says of which country it is."""
    with pytest.raises(BadInput):
        tax_id_of(text, country)


@pytest.mark.parametrize(
    ("text", "country", "also"),
    [
        (CNPJ, "BR", "11.222.333/0001-81"),
        ("136695976", "DE", "DE136695976"),
        ("DE 136695976", "DE", "136695976"),
        ("094259216", "GR", "EL094259216"),
        ("7707 083893", "RU", "7707 083893"),
    ],
)
def test_a_tax_id_is_looked_for_as_other_systems_write_it(text: str, country: str, also: str) -> None:
    """Bare, as it was typed, with the dots of its country, and as an EU VAT number: or it would be made twice."""
    found = spellings_of(Party("C1", text, "", country))
    assert found[0] == tax_id_of(text, country)
    assert also in found


def test_a_kpp_has_nine_signs() -> None:
    assert branch_of(" 7701 01001") == "770101001"
    assert (branch_of(""), branch_of(None)) == ("", None)
    with pytest.raises(BadInput):
        branch_of("77")


def party(tax_id: str = INN, branch: str = "") -> Party:
    return Party("C1", tax_id, branch, "RU", "Romashka")


A, B, C = "770101001", "770201001", "770301001"


@pytest.mark.parametrize(
    ("wanted", "found", "answer"),
    [
        (party(), [], Create()),
        (party(), [Found("1", "7707 083893")], Use("1")),
        (party(), [Found("1", OTHER_INN), Found("2", "rubbish")], Create()),
        (party(), [Found("1", INN, A)], Use("1")),
        (party(branch=A), [Found("1", INN, A), Found("2", INN, B)], Use("1")),
        (party(branch=C), [Found("1", INN, A), Found("2", INN, B)], Create()),
        (party(branch=A), [Found("1", INN, "")], Use("1")),
        (party(tax_id="", branch=""), [Found("9", OTHER_INN, origin="C1")], Use("9")),
        (party(), [Found("9", "", origin="C1")], Use("9")),
        (party(), [Found("9", INN, origin="C1"), Found("1", INN)], Use("9")),
        (party(branch=A), [Found("9", "", origin="C1"), Found("1", INN, B)], Use("9")),
    ],
)
def test_one_record_is_used_and_a_missing_one_made(
    wanted: Party, found: list[Found], answer: Use | Create
) -> None:
    """An id that came from us counts first, then tax id and branch."""
    assert match(wanted, found) == answer


@pytest.mark.parametrize(
    ("wanted", "found", "why"),
    [
        (party(tax_id=""), [], "no tax id"),
        (party(tax_id="7707083890"), [], "is no tax id"),
        (party(branch="77"), [], "is no KPP"),
        (party(), [Found("1", INN, A), Found("2", INN, B)], "2 records bear"),
        (party(branch=A), [Found("1", INN, A), Found("2", INN, A)], "with KPP"),
        (party(branch=A), [Found("1", INN)], "without a KPP"),
        (party(branch=A), [Found("1", INN, ""), Found("2", INN, B)], "without a KPP"),
        (party(), [Found("1", origin="C1"), Found("2", origin="C1")], "bear the code C1"),
        (party(), [Found("1", OTHER_INN, origin="C1")], "has the tax id"),
        (party(), [Found("9", "", origin="C1"), Found("1", INN)], "and another one the tax id"),
    ],
)
def test_what_is_in_doubt_goes_to_a_person(wanted: Party, found: list[Found], why: str) -> None:
    """The reason is told, with the records that it may be."""
    answer = match(wanted, found)
    assert isinstance(answer, Unclear)
    assert why in answer.why
    assert set(answer.candidates) <= {one.id for one in found}


records = st.lists(
    st.builds(
        Found,
        st.sampled_from("12345"),
        st.sampled_from([INN, f" {INN}", OTHER_INN, "", "7707083890"]),
        st.sampled_from([None, "", A, B, "wrong"]),
        st.sampled_from(["", "C1", "C2"]),
    ),
    unique_by=lambda one: one.id,
    max_size=5,
)
parties = st.builds(party, st.sampled_from([INN, PERSON, "", "1"]), st.sampled_from(["", A, B]))


@given(parties, records)
def test_two_candidates_are_never_used(wanted: Party, found: list[Found]) -> None:
    """Whoever is used is the only one with our code, or else the only one that fits; the order is no matter."""
    answer = match(wanted, found)
    assert match(wanted, found[::-1]) == answer
    ours = [one.id for one in found if one.origin == wanted.code]
    same = [one for one in found if one.tax_id.strip() == wanted.tax_id and wanted.tax_id]
    if isinstance(answer, Use):
        fits = [
            one.id for one in same if not wanted.branch or one.branch in (wanted.branch, "", None, "wrong")
        ]
        exact = [one.id for one in same if wanted.branch and one.branch == wanted.branch]
        assert [answer.id] in (ours, exact, fits)
        assert len(ours) <= 1
    if isinstance(answer, Create):
        assert not ours
        assert all(wanted.branch and one.branch not in (wanted.branch, "", None) for one in same)
