"""Codes, ids, digests, framing and the wire's frame."""

from __future__ import annotations

import random
import uuid

import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared import codes, ids
from shared.backoff import full_jitter, next_delay
from shared.canonical import canonical, parse, version_of
from shared.catalog.changes import differences
from shared.catalog.entities import ENTITIES
from shared.catalog.scopes import Membership, check_scope, scopes_of
from shared.digest import Digest, row_hash
from shared.errors import BadInput, ConnectionFailed, TooLarge
from shared.protocol import framing, wire

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(json_values)
def test_canonical_bytes_are_a_fixed_point_without_line_feeds(value: object) -> None:
    """Parsed and written again, canonical bytes are the same; a line feed never stands in them."""
    raw = canonical(value)
    assert canonical(parse(raw)) == raw
    assert b"\n" not in raw


@pytest.mark.parametrize("value", [float("nan") and {"a": {1, 2}}, "\ud800", 2**70])
def test_what_json_cannot_hold_has_no_canonical_form(value: object) -> None:
    """Sets, lone surrogates and integers above 64 bits are refused with a reason."""
    with pytest.raises(BadInput):
        canonical(value)


@pytest.mark.parametrize("raw", [b"{", b"[" * 5_000, b"\xff", b"NaN"])
def test_malformed_json_is_a_named_error(raw: bytes) -> None:
    """Cut, too deep, not UTF-8, not JSON."""
    with pytest.raises(BadInput, match="not valid JSON"):
        parse(raw)


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_document_ids_are_uuid7_in_time_order(now: int, rand: bytes) -> None:
    """Version and variant are set, and the time stands in front."""
    value = ids.uuid7(now, rand)
    assert value.version == 7
    assert value.variant == uuid.RFC_4122
    assert value.int >> 80 == now


@pytest.mark.parametrize(
    "text", ["x", "0193B3F0-0000-7000-8000-000000000000", "{0193b3f0-0000-7000-8000-000000000000}"]
)
def test_a_document_id_has_one_spelling(text: str) -> None:
    """Upper case or braces would make one document two."""
    with pytest.raises(BadInput):
        ids.parse_doc_id(text)


@given(st.text("0123456789", min_size=7, max_size=13).filter(lambda body: len(body) in (7, 11, 12, 13)))
def test_one_changed_digit_spoils_a_gtin(body: str) -> None:
    """The check digit finds every single wrong digit."""
    code = body + str(codes.gtin_check_digit(body))
    assert codes.is_gtin(code)
    wrong = str((int(code[3]) + 1) % 10)
    assert not codes.is_gtin(code[:3] + wrong + code[4:])


def test_weight_and_price_barcodes_are_read_by_their_patterns() -> None:
    """28: five digits of weight in grams; 29: five of price in minor units; another prefix is neither."""
    patterns = ["28IIIIIWWWWWC", "29IIIIIPPPPPC"]

    def label(body: str) -> str:
        return body + str(codes.gtin_check_digit(body))

    assert codes.read_measured(label("281234501500"), patterns) == codes.MeasuredBarcode(
        "12345", weight_g=1500
    )
    assert codes.read_measured(label("291234500999"), patterns) == codes.MeasuredBarcode(
        "12345", price_minor=999
    )
    assert codes.read_measured(label("501234500999"), patterns) is None
    assert codes.read_measured(label("281234501500")[:-1] + "x", patterns) is None


def test_card_numbers_do_not_survive_in_free_text() -> None:
    """A card number with or without gaps is masked; a barcode and a phone number are not."""
    assert codes.mask_card_numbers("paid 4111 1111 1111 1111, thanks") == "paid ****1111, thanks"
    assert codes.mask_card_numbers("5555555555554444") == "****4444"
    assert codes.mask_card_numbers("5901234123457 +7 912 345 67 89") == "5901234123457 +7 912 345 67 89"


rows = st.dictionaries(
    st.tuples(st.sampled_from(["product", "price"]), st.text(max_size=4)),
    st.none() | st.binary(max_size=4),
    max_size=12,
)


@given(rows, rows)
def test_the_digest_follows_every_change(first: dict, second: dict) -> None:
    """The digest kept in step equals the one computed from the live rows, and repeats change nothing."""
    digest, live = Digest(), {}
    for changes in (first, second, second):
        difference = differences(changes, live)
        digest = digest.shift(difference.count, difference.total)
        live |= {(row.entity, row.key): row.version for row in difference.rows}
    assert difference.rows == []
    expected = Digest()
    for (entity, key), version in live.items():
        if version is not None:
            expected = expected.add(row_hash(entity, key, version))
    assert digest == expected


def test_the_same_payload_is_no_change() -> None:
    """Only what differs is written."""
    current = {("product", "A"): version_of(b"1"), ("product", "B"): version_of(b"1")}
    result = differences({("product", "A"): b"1", ("product", "B"): b"2", ("product", "C"): None}, current)
    assert [row.key for row in result.rows] == ["B"]


def test_keys_cannot_be_forged_by_separators() -> None:
    """A code that holds the separator does not make two rows one."""
    entity = ENTITIES["dictionary"]
    assert entity.key({"dictionary": "a|b", "code": "c"}) != entity.key({"dictionary": "a", "code": "b|c"})


def test_a_stations_scopes_stand_strongest_first() -> None:
    """station > store > group by its priority > pricelist > base."""
    member = Membership("T1", "S1", "retail", (("summer", 5, "promo"), ("all", 1, None), ("vip", 9, None)))
    assert scopes_of(member) == [
        "station/T1",
        "store/S1",
        "group/vip",
        "group/summer",
        "group/all",
        "pricelist/promo",
        "pricelist/retail",
        "base",
    ]


@pytest.mark.parametrize("name", ["", "shop/1", "store/", "base/1x/"])
def test_an_unknown_scope_is_refused(name: str) -> None:
    """A misspelt scope would publish to nobody."""
    with pytest.raises(BadInput):
        check_scope(name)


@given(st.lists(st.binary(max_size=30).filter(lambda raw: b"\n" not in raw), max_size=10))
def test_lines_come_out_as_they_went_in(lines: list[bytes]) -> None:
    """split is the inverse of join, empty lines included."""
    envelope, back = framing.split(framing.join({"n": len(lines)}, lines))
    assert envelope == {"n": len(lines)}
    assert back == lines


@given(st.binary(max_size=2_000))
def test_a_packed_body_unpacks_to_itself(body: bytes) -> None:
    """And its digest fits."""
    packed, headers = wire.pack(body)
    wire.check_digest(packed, headers)
    assert wire.unpack(packed, headers.get("Content-Encoding"), 10_000) == body


@given(st.binary(min_size=600, max_size=2_000), st.data())
def test_a_body_cut_anywhere_is_found(body: bytes, data: st.DataObject) -> None:
    """Neither the digest nor the coding lets a cut body pass."""
    packed, headers = wire.pack(body)
    cut = packed[: data.draw(st.integers(0, len(packed) - 1))]
    with pytest.raises(BadInput):
        wire.check_digest(cut, headers)
    with pytest.raises(BadInput):
        wire.unpack(cut, "zstd", 10_000)


def test_a_bomb_is_refused_before_it_unfolds() -> None:
    """50 MB of zeros in 2 kB of zstd are not unpacked beyond the bound."""
    with pytest.raises(TooLarge):
        wire.unpack(zstd.compress(bytes(50_000_000)), "zstd", 1_000_000)


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/html"},
        {
            wire.PROTOCOL_HEADER: "1",
            wire.REQUEST_ID_HEADER: "other",
            wire.DIGEST_HEADER: wire.content_digest(b"ok"),
        },
        {
            wire.PROTOCOL_HEADER: "1",
            wire.REQUEST_ID_HEADER: "mine",
            wire.DIGEST_HEADER: wire.content_digest(b"ok?"),
        },
        {wire.PROTOCOL_HEADER: "1", wire.REQUEST_ID_HEADER: "mine"},
    ],
    ids=["portal", "another's", "changed", "no digest"],
)
def test_an_answer_that_is_not_ours_is_a_failed_connection(headers: dict[str, str]) -> None:
    """A captive portal's 200, another request's answer and a changed body move nothing."""
    with pytest.raises(ConnectionFailed):
        wire.check_answer(200, headers, b"ok", "mine")


@given(st.integers(1, 60), st.integers())
def test_backoff_stays_within_its_bounds(attempt: int, seed: int) -> None:
    """Never above the cap, never before Retry-After."""
    assert 0 <= full_jitter(attempt, random.Random(seed), 1, 60) <= min(60, 2 ** (attempt - 1))
    assert next_delay(attempt, random.Random(seed), 7.0) >= 7.0


@pytest.mark.parametrize(
    "entity", [name for name, one in ENTITIES.items() if "name" in one.model.model_fields]
)
def test_a_name_that_is_required_is_not_empty(entity: str) -> None:
    """A till shows it: a row without one is refused where it comes in."""
    model = ENTITIES[entity].model
    known = {"code": "EUR", "dictionary": "d", "direction": "in", "rate_bp": 0}
    model.model_validate({**known, "name": "n"})
    with pytest.raises(ValidationError, match="name"):
        model.model_validate({**known, "name": ""})
