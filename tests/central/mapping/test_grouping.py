"""Many documents into one and one into many: nothing is counted twice or lost on the way (W10)."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central.mapping.compile import compile_fields
from central.mapping.documents import document_of, document_traits
from central.mapping.errors import MappingErrors
from central.mapping.grouping import Split, correction, group_key, merge
from shared.errors import BadInput
from shared.quantity import from_micro, to_micro

BY = ("store", "business_date")


def line(product: str, micro: int, price_minor: int, **more: Any) -> dict[str, Any]:
    amount = micro * price_minor // 1_000_000
    tax = [{"code": "V", "rate_bp": 2_000, "amount_minor": amount // 6}]
    return {
        "n": 1, "product": product, "quantity": from_micro(micro), "price_minor": price_minor, "amount_minor": amount,
        "taxes": tax, **more,
    }  # fmt: skip


def receipt(number: int, lines: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    total = sum(one["amount_minor"] for one in lines)
    payload = {
        "currency": more.pop("currency", "EUR"),
        "lines": lines,
        "payments": [{"n": 1, "type": ("CASH", "CARD")[number % 2], "amount_minor": total}],
        "total_minor": total,
        "shift": more.pop("shift", "7"),
    }
    header = {
        "doc_id": f"00000000-0000-7000-8000-{number:012x}", "kind": "sale", "version": 1, "number": f"N{number}",
        "business_date": "2026-08-09", "time": f"2026-08-09T10:{number % 60:02}:00Z",
    }  # fmt: skip
    return document_of(header | more, payload, station=more.pop("station", "T1"), store="S1")


lines = st.builds(
    line, st.sampled_from("ABC"), st.integers(-5_000_000, 5_000_000).filter(bool), st.sampled_from([100, 250])
)
days = st.lists(st.lists(lines, min_size=1, max_size=4), min_size=1, max_size=8).map(
    lambda all_lines: [receipt(number, own) for number, own in enumerate(all_lines, start=1)]
)


def sums(documents: list[dict[str, Any]]) -> Counter[Any]:
    """Everything that must not change by being put together."""
    found: Counter[Any] = Counter()
    for document in documents:
        payload = document["payload"]
        found["total"] += payload["total_minor"]
        for one in payload["payments"]:
            found["paid", one["type"]] += one["amount_minor"]
        for one in payload["lines"]:
            key = one["product"], one["price_minor"], one["quantity"].startswith("-")
            found["quantity", key] += to_micro(one["quantity"])
            found["amount", key] += one["amount_minor"]
            found["tax", key] += sum(tax["amount_minor"] for tax in one["taxes"])
    return found


@given(days, st.randoms())
def test_a_merged_document_has_the_sums_of_its_members_in_any_order(
    day: list[dict[str, Any]], random: Any
) -> None:
    merged = merge(day, BY)
    assert sums([merged]) == sums(day)
    assert [member["doc_id"] for member in merged["members"]] == [one["doc_id"] for one in day]
    assert sum(one["amount_minor"] for one in merged["payload"]["lines"]) == merged["payload"]["total_minor"]
    shuffled = day[:]
    random.shuffle(shuffled)
    assert merge(shuffled, BY) == merged


@given(days, st.integers(0, 8))
def test_a_group_and_its_correction_sum_to_all(day: list[dict[str, Any]], cut: int) -> None:
    """A late sale goes out by itself, naming the group; nothing of the group is sent again."""
    on_time, late = day[:cut], day[cut:]
    if not on_time or not late:
        return
    group = merge(on_time, BY)
    fixed = correction(group, late, BY, 1)
    assert sums([group]) + sums([fixed]) == Counter() + sums([group, fixed])
    assert sums([group, fixed]) == sums(day)
    assert (fixed["corrects"], fixed["correction"]) == (group["group"], 1)
    with pytest.raises(BadInput, match="already"):
        correction(group, [*late, on_time[0]], BY, 2)


def test_a_key_tells_apart_what_must_not_meet() -> None:
    one = receipt(1, [line("A", 1_000_000, 100)])
    assert group_key(one, BY) == '{"business_date":"2026-08-09","currency":"EUR","store":"S1"}'
    assert group_key(one, BY) != group_key(receipt(1, [line("A", 1_000_000, 100)], currency="USD"), BY)
    # Two tills of a shop may both have a shift 7.
    other = receipt(2, [line("A", 1_000_000, 100)], station="T2")
    assert group_key(one, ["shift"]) != group_key(other, ["shift"])
    assert group_key(one, ["shift"]) == group_key(receipt(3, [line("B", 1, 1)]), ["shift"])
    with pytest.raises(BadInput, match="different groups"):
        merge([one, other], ["shift"])
    with pytest.raises(BadInput, match="twice"):
        merge([one, one], BY)
    with pytest.raises(BadInput, match="without documents"):
        merge([], BY)


def test_single_goods_stay_named_and_common_fields_stay() -> None:
    merged = merge(
        [
            receipt(1, [line("A", 1_000_000, 100, marks=["m1"], name="Milk", seller="X")]),
            receipt(2, [line("A", 2_000_000, 100, marks=["m2", "m3"], name="Milk", seller="X")]),
            receipt(3, [line("A", 1_000_000, 100, name="Milk", seller="Y")]),
        ],
        BY,
    )
    found = merged["payload"]["lines"]
    assert [(one["n"], one["quantity"], one["name"], one.get("marks")) for one in found] == [
        (1, "3", "Milk", ["m1", "m2", "m3"]),
        (2, "1", "Milk", None),
    ]
    assert (merged["kind"], merged["store"], merged["count"], merged["payload"]["shift"]) == (
        "sale",
        "S1",
        3,
        "7",
    )
    assert "number" not in merge([receipt(1, [line("A", 1, 1)])], BY)


def test_a_group_is_mapped_like_a_document_with_links_back() -> None:
    mapping = compile_fields(
        {
            "date": "{{business_date}}",
            "total": "{{payload.total_minor | amount('EUR')}}",
            "receipts": {"each": "members", "value": "{{number}}"},
            "rows": {
                "each": "payload.lines",
                "fields": {"item": "{{product}}", "qty": "{{quantity | number}}"},
            },
        },
        maps={},
        source=document_traits(["sale", "return"], grouped=True),
        target=None,
    )
    day = [receipt(n, [line("A", 1_500_000, 100)]) for n in (1, 2)]
    made = mapping.apply(merge(day, BY), {})
    assert str(made) == (
        "{'date': '2026-08-09', 'total': Decimal('3.00'), 'receipts': ['N1', 'N2'], "
        "'rows': [{'item': 'A', 'qty': Decimal('3')}]}"
    )


def test_names_of_documents_are_checked() -> None:
    traits = document_traits(["sale"])
    with pytest.raises(BadInput) as caught:
        compile_fields(
            {
                "a": "{{payload.totl_minor}}",
                "b": {"each": "payload.lines", "value": "{{prodct}}"},
                "c": "{{members}}",
            },
            maps={},
            source=traits,
            target=None,
        )
    assert [error["field"] for error in caught.value.extra["errors"]] == ["a", "b", "c"]
    with pytest.raises(BadInput, match="payments"):
        Split("payload.paymnts", traits)


def test_a_document_is_split_by_the_elements_of_a_list() -> None:
    document = receipt(1, [line("A", 1_000_000, 100), line("B", 1_000_000, 250)])
    parts = Split("payload.lines", document_traits(["sale"])).parts(document)
    assert [(one["part"]["product"], one["part_number"], one["parts"], one["number"]) for one in parts] == [
        ("A", 1, 2, "N1"),
        ("B", 2, 2, "N1"),
    ]
    assert Split("payload.lines[?quantity == '5']").parts(document) == []
    assert Split("payload.missing").parts(document) == []
    with pytest.raises(MappingErrors, match="no list"):
        Split("payload.total_minor").parts(document)
