"""What becomes of a document that was here before: pure decisions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central.intake.duplicates import Known, Outcome, Policy, decide, key_of, policies_of, text_of
from shared.errors import BadInput

KNOWN = Known(7, 1, b"old")
ENVELOPE = {"number": "17", "business_date": None, "outlet": "S1", "source_id": "A-17"}


@pytest.mark.parametrize(
    ("duplicate", "content", "outcome"),
    [
        ("error", b"old", Outcome.REFUSED),
        ("error", b"new", Outcome.REFUSED),
        ("skip", b"new", Outcome.SKIPPED),
        ("update", b"new", Outcome.UPDATED),
        ("update", b"old", Outcome.UNCHANGED),
        ("off", b"old", Outcome.ACCEPTED),
    ],
)
def test_policy_decides_about_a_duplicate(duplicate: str, content: bytes, outcome: Outcome) -> None:
    """Error, update, skip or off (S3); an update that says nothing new is none."""
    policy = Policy.model_validate({"duplicate": duplicate})
    assert decide(policy, KNOWN, content) is outcome
    assert decide(policy, None, content) is Outcome.ACCEPTED


def test_key_is_what_hq_says_counts() -> None:
    """The source's id, or fields of the envelope and the payload."""
    payload = {"customer": "C1", "party": {"tax_id": "77"}}
    assert key_of(Policy(), ENVELOPE, payload) == '["A-17"]'
    fields = Policy(key=["number", "outlet", "party.tax_id"])
    assert key_of(fields, ENVELOPE, payload) == '["17","S1","77"]'


@pytest.mark.parametrize("name", ["business_date", "nothing", "party", "customer.code"])
def test_a_document_without_its_key_is_refused(name: str) -> None:
    """Nobody could tell whether it was here before, so nobody guesses."""
    with pytest.raises(BadInput, match=name):
        key_of(Policy(key=[name]), ENVELOPE, {"customer": "C1", "party": {"tax_id": "77"}})


@given(st.lists(st.text(min_size=1, max_size=10), min_size=1, max_size=4), st.data())
def test_different_values_are_different_keys(values: list[str], data: st.DataObject) -> None:
    """No two lists of values run together into one key."""
    others = data.draw(st.lists(st.text(min_size=1, max_size=10), min_size=1, max_size=4))
    names = [f"f{at}" for at in range(4)]

    def key(chosen: list[str]) -> str:
        fields = Policy(key=names[: len(chosen)])
        return key_of(fields, ENVELOPE, dict(zip(names, chosen, strict=False)))

    assert (key(values) == key(others)) == (values == others)


def test_policies_are_stored_and_read() -> None:
    """As JSON beside the source."""
    policies = {"order": Policy(duplicate="update", key=["number"]), "sale": Policy()}
    assert policies_of(text_of(policies)) == policies
