"""The one door in: what is taken, what is refused, and what the header says."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from edge_agent.db.positions import Stored
from edge_agent.intake.accept import Intake
from shared.canonical import canonical
from shared.documents import references_of
from shared.documents.envelope import Header
from shared.errors import BadInput, ConfigError, TooLarge
from shared.journal import DOCUMENT_MAX_BYTES
from tests.support.clock import ManualClock
from tests.support.papers import PAPERS
from tests.support.station import sale
from tests.support.till import Till, submission

OTHER = "0198b0a0-0000-7000-8000-0000000000bb"


async def _stored(till: Till, raw: bytes, key: str = "k") -> Stored:
    await till.intake.accept(raw, idempotency_key=key, source="api")
    epoch = till.journal.current_epoch
    last = (await till.journal.epochs())[-1].last
    return (await till.journal.read(epoch, last, last, 1 << 22))[0]


async def _refused(till: Till, raw: bytes) -> BadInput:
    with pytest.raises(BadInput) as refusal:
        await till.intake.accept(raw, idempotency_key="k", source="api")
    assert await till.journal.epochs() == []
    assert not till.grew.is_set()
    return refusal.value


async def test_the_header_says_what_the_station_knows(till: Till) -> None:
    """Kind, schema, device time, boot and tick, offset, zone, store, business date, number: sealed with the payload."""
    till.clock.set_wall(1_790_017_200_000)  # 19:00 UTC is midnight in Yekaterinburg
    stored = await _stored(till, submission())
    header = orjson.loads(stored.header)

    assert {name: header[name] for name in header if name != "doc_id"} == {
        "kind": "sale",
        "version": 1,
        "time": "2026-09-21T19:00:00.000Z",
        "zone": "Asia/Yekaterinburg",
        "store": "S-1",
        "boot": "boot-1",
        "tick_ms": till.clock.tick_ms(),
        "offset_ms": 1_500,
        "business_date": "2026-09-22",
        "number": "T-1-1",
        "refs": [],
    }
    assert header["doc_id"][14] == "7"
    assert header.keys() == Header.model_fields.keys()
    assert till.grew.is_set()


async def test_header_and_payload_are_canonical(till: Till) -> None:
    """What is sealed has one byte form, whatever the till's spelling."""
    spelled = json.dumps({"payload": sale(comment="čaj"), "kind": "sale"}, indent=2).encode()
    stored = await _stored(till, spelled)

    assert stored.payload == canonical(orjson.loads(stored.payload))
    assert stored.header == canonical(orjson.loads(stored.header))
    assert "čaj".encode() in stored.payload


async def test_what_the_till_gives_is_kept(till: Till) -> None:
    """Its document id, number, time and business date stand as they are; a day is never derived over it."""
    said = {
        "doc_id": OTHER,
        "number": "A/77",
        "time": "2026-03-01T01:30:00+05:00",
        "business_date": "2026-02-28",
    }
    header = orjson.loads((await _stored(till, submission(**said))).header)

    assert {name: header[name] for name in said} == said


async def test_the_business_date_is_that_of_the_documents_own_time(till: Till) -> None:
    """A spool file read a day late still belongs to its day, in the store's zone."""
    header = orjson.loads((await _stored(till, submission(time="2026-03-01T20:00:00Z"))).header)
    assert header["business_date"] == "2026-03-02"


async def test_references_are_told_in_the_header(till: Till) -> None:
    """A cancellation and a return name the sale that must be applied first."""
    payload = sale(-250, cancels=OTHER)
    stored = await _stored(till, orjson.dumps({"kind": "sale_cancellation", "payload": payload}))
    assert orjson.loads(stored.header)["refs"] == [OTHER]
    stored = await _stored(till, orjson.dumps({"kind": "return", "payload": sale(-250)}), "k2")
    assert orjson.loads(stored.header)["refs"] == []


async def test_fields_of_a_newer_till_travel_on(till: Till) -> None:
    """Unknown fields of payload, line and submission are sealed with the document."""
    payload = sale(loyalty={"points": 12})
    payload["lines"][0]["coupon"] = "C-1"
    stored = await _stored(till, orjson.dumps({"kind": "sale", "payload": payload, "channel": "kiosk"}))

    sealed = orjson.loads(stored.payload)
    assert sealed["loyalty"] == {"points": 12}
    assert sealed["lines"][0]["coupon"] == "C-1"
    assert orjson.loads(stored.header)["channel"] == "kiosk"


async def test_an_unknown_field_cannot_forge_the_header(till: Till) -> None:
    """What the station says of itself wins over a submission's field of the same name."""
    header = orjson.loads((await _stored(till, submission(store="S-9", boot="x", refs=[OTHER]))).header)
    assert (header["store"], header["boot"], header["refs"]) == ("S-1", "boot-1", [])


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"{", "malformed-json"),
        (b"[]", "malformed-json"),
        (b'{"kind":"sale","payload":{"x":NaN}}', "malformed-json"),
        (b'{"kind":"sale","payload":{"x":1e999}}', "malformed-json"),
        (b'{"kind":"sale","payload":{"x":"\\ud800"}}', "malformed-json"),
        (b"[" * 5_000 + b"]" * 5_000, "malformed-json"),
        (b'{"kind":"sale"}', "invalid-fields"),
        (b'{"kind":"sale","payload":[]}', "invalid-fields"),
        (b'{"kind":"barter","payload":{}}', "unknown-kind"),
        (submission(doc_id="ABC"), "invalid-fields"),
        (submission(business_date="2026-13-01"), "invalid-fields"),
        (submission(time="2026-11-21T10:00:00"), "invalid-fields"),
        (submission(number=""), "invalid-fields"),
    ],
)
async def test_what_is_wrong_is_refused_and_nothing_stored(till: Till, raw: bytes, name: str) -> None:
    """Malformed, incomplete or of an unknown kind: the caller is told, the journal is as before."""
    assert (await _refused(till, raw)).name == name


async def test_a_wrong_sum_names_the_numbers(till: Till) -> None:
    """A receipt that does not add up is the till's error, told while the customer is still there."""
    payload = sale(500)
    payload["total_minor"] = 501
    refusal = await _refused(till, orjson.dumps({"kind": "sale", "payload": payload}))
    assert "500" in refusal.what
    assert "501" in refusal.what


async def test_money_is_never_a_float(till: Till) -> None:
    """12.5 in a money field is refused, and the field is named by its path."""
    payload: dict[str, Any] = sale(500)
    payload["lines"][0]["price_minor"] = 12.5
    refusal = await _refused(till, orjson.dumps({"kind": "sale", "payload": payload}))
    assert refusal.extra["fields"][0]["field"] == "lines.0.price_minor"


async def test_an_integer_that_would_lose_digits_is_refused(till: Till) -> None:
    """A 44-digit fiscal key sent as a number must come as text; it is never rounded."""
    raw = submission().replace(b'"total_minor"', b'"fiscal":{"key":' + b"3" * 44 + b'},"total_minor"')
    assert "64-bit" in (await _refused(till, raw)).what
    exact = submission().replace(b'"total_minor"', b'"fiscal":{"key":18446744073709551615},"total_minor"')
    assert b"18446744073709551615" in (await _stored(till, exact)).payload


async def test_a_document_over_the_limit_is_refused_before_it_is_sealed(till: Till) -> None:
    """The limit counts header and payload together."""
    room = DOCUMENT_MAX_BYTES - len(submission(note=""))
    for note in ("x" * (room + 1), "x" * (room - 100)):
        assert isinstance(await _refused(till, submission(note=note)), TooLarge)
    await _stored(till, submission(note="x" * (room - 1_000)))


async def test_a_key_has_bounds(till: Till) -> None:
    """An empty or endless Idempotency-Key is refused."""
    for key in ("", "k" * 201):
        with pytest.raises(BadInput):
            await till.intake.accept(submission(), idempotency_key=key, source="api")


async def test_card_numbers_are_masked_before_the_seal(till: Till) -> None:
    """No byte of the data folder holds a card number that was typed anywhere (I23)."""
    card = "4111 1111 1111 1111"
    payload = sale(comment=f"paid with {card}", note={"deep": [card, 4111111111111111]})
    payload["payments"][0]["reference"] = "5500005555555559"
    await _stored(till, orjson.dumps({"kind": "sale", "payload": payload, "memo": card}))
    wrong = orjson.dumps({"kind": "sale", "payload": {**sale(), "currency": card}})
    with pytest.raises(BadInput) as refusal:
        await till.intake.accept(wrong, idempotency_key="w", source="api")

    on_disk = b"".join(path.read_bytes() for path in _files(till))
    for secret in (b"4111 1111", b"4111111111111111", b"5500005555555559"):
        assert secret not in on_disk
    assert b"****1111" in on_disk
    assert "4111" not in str(refusal.value.extra) + refusal.value.what


def _files(till: Till) -> list[Any]:
    return [path for path in till.folder.iterdir() if path.is_file()]


async def test_an_unknown_zone_is_told_at_the_start(till: Till) -> None:
    """A store's zone that this machine does not know is a setting to be put right, not a wrong day later."""
    with pytest.raises(ConfigError, match="Mars"):
        Intake(
            till.journal,
            store="S",
            zone="Mars/Olympus",
            clock=ManualClock(),
            contact=till.intake._contact,
            boot="b",
            grew=till.grew,
        )


@pytest.mark.parametrize("kind", PAPERS)
async def test_papers_are_taken_like_receipts(kind: str, till: Till) -> None:
    """Orders, stock and money documents have no door of their own; what they build upon stands in the header."""
    stored = await _stored(till, canonical({"kind": kind, "payload": PAPERS[kind]}))
    assert orjson.loads(stored.header)["refs"] == references_of(PAPERS[kind])
    assert orjson.loads(stored.payload) == PAPERS[kind]
