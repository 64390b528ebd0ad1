"""The admin API over real HTTP: who may, what it answers, and how it refuses."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from central.cli.client import Refused
from shared.canonical import canonical, parse_object
from shared.catalog.changes import Change
from shared.protocol import wire
from tests.support.hq import HQ, open_hq, push, report, sell
from tests.support.yardstick_sales import doc_id, documents

STORE = {"code": "S1", "zone": "Europe/Paris", "currency": "EUR"}


@pytest.fixture
async def hq(database_url: str, tmp_path: Path) -> AsyncIterator[HQ]:
    async with open_hq(database_url, tmp_path) as opened:
        yield opened


async def refusal(request: Any) -> Refused:
    with pytest.raises(Refused) as refused:
        await request
    return refused.value


async def test_roles_open_what_they_say(hq: HQ) -> None:
    """A read key reads, a feed key neither reads nor writes here, no key gets nothing."""
    await hq.client.post("/v1/admin/stores", STORE)
    reader = hq.with_key((await hq.client.post("/v1/admin/keys", {"name": "r", "role": "read"}))["key"])
    feeder = hq.with_key((await hq.client.post("/v1/admin/consumers", {"name": "web", "store": "S1"}))["key"])
    assert (await reader.get("/v1/admin/stores"))["items"][0]["code"] == "S1"
    assert (await refusal(reader.post("/v1/admin/stores", {**STORE, "code": "S2"}))).http_status == 403
    assert (await refusal(reader.get("/v1/admin/keys"))).http_status == 403
    assert (await refusal(feeder.get("/v1/admin/stores"))).http_status == 403
    assert (await refusal(hq.with_key("nothing").get("/v1/admin/stores"))).http_status == 401
    async with hq.session.get(f"{hq.url}/v1/admin/stores") as answer:
        assert answer.status == 401
        assert answer.content_type == "application/problem+json"


async def test_stores_and_groups_are_made_and_changed(hq: HQ) -> None:
    """What was changed is what the list shows; a price list can be taken away."""
    await hq.client.post("/v1/admin/stores", {**STORE, "price_list": "RETAIL"})
    await hq.client.post("/v1/admin/groups", {"code": "G1", "priority": 3})
    changed = await hq.client.patch("/v1/admin/stores/S1", {"name": "Paris", "price_list": None})
    assert (changed["name"], changed["price_list"], changed["zone"]) == ("Paris", None, "Europe/Paris")
    assert (await hq.client.patch("/v1/admin/groups/G1", {"priority": 9}))["priority"] == 9
    assert (await refusal(hq.client.patch("/v1/admin/stores/S9", {"name": "x"}))).http_status == 404
    assert (await refusal(hq.client.post("/v1/admin/stores", STORE))).http_status == 409
    wrong = await refusal(hq.client.post("/v1/admin/stores", {**STORE, "code": "S2", "colour": "red"}))
    assert (wrong.http_status, wrong.extra["fields"][0]["field"]) == (422, "colour")


async def test_a_list_of_stations_gives_a_list_of_codes(hq: HQ) -> None:
    """As JSON, or as CSV for whoever asks for that; a wrong line refuses it with every fault."""
    await hq.client.post("/v1/admin/stores", STORE)
    text = b"code,store,name\nT-1,S1,Till 1\nT-2,S1,Till 2\n"
    path = "/v1/admin/stations/import"
    dry = await hq.client.request("POST", path, query={"dry_run": 1}, body=text, media="text/csv")
    assert [row["enrolment_code"] for row in dry["items"]] == [None, None]
    headers = {"Authorization": f"Bearer {hq.key}", "Accept": "text/csv"}
    async with hq.session.post(hq.url + path, data=text, headers=headers) as answer:
        rows = list(csv.DictReader(io.StringIO(await answer.text())))
    assert [row["code"] for row in rows] == ["T-1", "T-2"]
    assert all(len(row["enrolment_code"]) == 32 for row in rows)
    refused = await refusal(hq.client.request("POST", path, body=text + b"T-3,S9,\n", media="text/csv"))
    assert refused.extra["rows"] == [
        {"line": 4, "column": "store", "value": "S9", "why": "there is no such store"}
    ]


async def test_stations_are_paged_and_filtered(hq: HQ) -> None:
    """A page's `next` leads to the next page, and to nothing after the last."""
    await hq.client.post("/v1/admin/stores", STORE)
    await hq.client.post("/v1/admin/groups", {"code": "G1"})
    for n in range(5):
        await hq.client.post(
            "/v1/admin/stations", {"code": f"T-{n}", "store": "S1", "groups": ["G1"] if n else []}
        )
    assert [row["code"] for row in await hq.client.pages("/v1/admin/stations", 99)] == [
        f"T-{n}" for n in range(5)
    ]
    page = await hq.client.get("/v1/admin/stations", limit=2, after="T-1", group="G1")
    assert ([row["code"] for row in page["items"]], page["next"]) == (["T-2", "T-3"], "T-3")
    assert (await hq.client.get("/v1/admin/stations", state="active"))["items"] == []
    assert (await refusal(hq.client.get("/v1/admin/stations", state="green"))).http_status == 422
    assert (await refusal(hq.client.get("/v1/admin/stations", limit="many"))).http_status == 422


async def test_a_station_is_shown_in_full_and_led_through_its_life(hq: HQ) -> None:
    """Report, epochs, keys; groups, move, poke, revoke, reinstate."""
    await hq.client.post("/v1/admin/groups", {"code": "G1"})
    await sell(hq.centre, "T-1", 3)
    await report(hq.centre, "T-1", backlog=0, versions={"agent": "0.1.0"}, alarms=["disk"])
    shown = await hq.client.get("/v1/admin/stations/T-1")
    assert (shown["state"], shown["version"], shown["alarms"]) == ("active", "0.1.0", ["disk"])
    assert [epoch["last"] for epoch in shown["epochs"]] == [3]
    assert [key["state"] for key in shown["keys"]] == ["active"]
    path = "/v1/admin/stations/T-1"
    assert (await hq.client.post(f"{path}/groups", {"add": ["G1"]}))["groups"] == ["G1"]
    assert (await hq.client.post("/v1/admin/stations/poke", {"group": "G1"}))["stations"] == 1
    assert (
        await refusal(hq.client.post("/v1/admin/stations/poke", {"group": "G1", "station": "T-1"}))
    ).http_status == 422
    assert (await hq.client.post(f"{path}/release"))["was_quarantined"] is False
    assert (await hq.client.post(f"{path}/revoke"))["state"] == "revoked"
    assert len((await hq.client.post(f"{path}/reinstate"))["enrolment_code"]) == 32
    assert (await refusal(hq.client.post(f"{path}/approve"))).http_status == 409
    assert (await refusal(hq.client.get("/v1/admin/stations/T-9"))).http_status == 404


async def test_open_codes_are_listed_and_cancelled(hq: HQ) -> None:
    """A group's code that went astray is closed; the list never shows a code."""
    await hq.client.post("/v1/admin/stores", STORE)
    await hq.client.post("/v1/admin/groups", {"code": "G1"})
    made = await hq.client.post("/v1/admin/codes", {"group": "G1", "store": "S1", "uses": 20})
    (row,) = (await hq.client.get("/v1/admin/codes"))["items"]
    assert (row["group"], row["uses_left"], made["enrolment_code"] in str(row)) == ("G1", 20, False)
    assert (await hq.client.post(f"/v1/admin/codes/{row['id']}/cancel"))["items"] == []
    assert (await refusal(hq.client.post(f"/v1/admin/codes/{row['id']}/cancel"))).http_status == 404
    wanted = canonical({"code": made["enrolment_code"], "public_key": "0" * 64})
    assert (await refusal(hq.client.request("POST", "/v1/enroll", body=wanted))).http_status == 409


async def test_documents_are_found_by_all_their_names(hq: HQ) -> None:
    """By doc_id, by printed reference, by number; with rows, deliveries and state."""
    await sell(hq.centre, "T-1", 5)
    shown = await hq.client.get(f"/v1/admin/documents/{doc_id(2)}")
    assert (shown["state"], shown["number"], len(shown["lines"]), len(shown["payments"])) == (
        "applied",
        "T-1-000003",
        5,
        2,
    )
    reference = shown["positions"][0]["reference"]
    assert (await hq.client.get(f"/v1/admin/documents/{reference}"))["doc_id"] == doc_id(2)
    assert (await hq.client.get(f"/v1/admin/documents/{shown['doc_no']}"))["doc_id"] == doc_id(2)
    for query in ({"number": "T-1-000003"}, {"number": "T-1-000003", "kind": "sale", "station": "T-1"}):
        assert [row["doc_id"] for row in (await hq.client.get("/v1/admin/documents", **query))["items"]] == [
            doc_id(2)
        ]
    page = await hq.client.get("/v1/admin/documents", limit=2, date=shown["business_date"], store="S1")
    assert [row["doc_id"] for row in page["items"]] == [doc_id(4), doc_id(3)]
    rest = await hq.client.get("/v1/admin/documents", limit=9, after=page["next"])
    assert len(rest["items"]) == 3
    for name, status in (("AAAAAAAAAA-1", 404), (doc_id(99), 404), ("99", 404), ("what", 422)):
        assert (await refusal(hq.client.get(f"/v1/admin/documents/{name}"))).http_status == status


async def test_stuck_documents_are_listed_and_parked_ones_repaired_together(hq: HQ) -> None:
    """One cause is one group; a corrected field applies all of it, and the trail says who did it."""
    station = await sell(hq.centre, "T-1", 1)
    poor = []
    for header, payload in documents(3, "T-1", start=10):
        content = parse_object(payload)
        del content["lines"][1]["product"]
        poor.append((header, canonical(content)))
    waits = [
        (canonical({**parse_object(header), "refs": [doc_id(99)]}), payload)
        for header, payload in documents(1, "T-1", start=20)
    ]
    conflict = [
        (header, canonical({**parse_object(payload), "comment": "x"}))
        for header, payload in documents(1, "T-1")
    ]
    await push(hq.centre, station, [*poor, *waits, *conflict])
    await hq.centre.applier.drain()
    (group,) = (await hq.client.get("/v1/admin/parked"))["items"]
    assert (group["documents"], group["stations"]) == (3, 1)
    assert len((await hq.client.get("/v1/admin/parked/documents", reason=group["reason"]))["items"]) == 3
    assert [row["waits_for"] for row in (await hq.client.get("/v1/admin/waiting"))["items"]] == [doc_id(99)]
    (held,) = (await hq.client.get("/v1/admin/held", why="conflict"))["items"]
    assert (await hq.client.get(f"/v1/admin/documents/{held['doc_no']}"))["state"] == "held"
    assert len((await hq.client.get("/v1/admin/documents", state="parked"))["items"]) == 3
    repaired = await hq.client.post(
        "/v1/admin/parked/repair", {"reason": group["reason"], "set": {"lines[*].product": "P1"}}
    )
    assert repaired == {"tried": 3, "applied": 3, "still_parked": 0}
    shown = await hq.client.get(f"/v1/admin/documents/{doc_id(10)}")
    assert (shown["state"], shown["repaired_by"], shown["lines"][1]["product"]) == ("applied", "boss", "P1")
    assert "product" not in shown["payload"]["lines"][1]
    acts = (await hq.client.get("/v1/admin/audit", what="parked"))["items"]
    assert [(act["who"], act["detail"]["applied"]) for act in acts] == [("boss", 3)]
    nothing = await refusal(hq.client.post("/v1/admin/parked/repair", {"reason": group["reason"]}))
    assert nothing.http_status == 404
    assert (await refusal(hq.client.post("/v1/admin/parked/repair", {}))).http_status == 422


async def test_a_system_is_connected_paused_and_watched(hq: HQ, tmp_path: Path) -> None:
    """Wrong settings are told by field; deliveries are counted by state."""
    new = {
        "name": "erp",
        "connector": "drop_folder",
        "settings": {"folder": str(tmp_path / "erp")},
        "kinds": ["sale"],
    }
    assert (await hq.client.post("/v1/admin/integrations", new))["enabled"] is True
    await sell(hq.centre, "T-1", 2)
    (row,) = (await hq.client.get("/v1/admin/integrations"))["items"]
    assert row["deliveries"] == {"ready": 2}
    assert (await hq.client.get("/v1/admin/integrations/erp/batches"))["items"] == []
    assert (await hq.client.post("/v1/admin/integrations/erp/disable"))["enabled"] is False
    assert (await hq.client.post("/v1/admin/integrations/erp/enable"))["enabled"] is True
    assert (await hq.client.post("/v1/admin/integrations/erp/run"))["problem"] is None
    assert (await hq.client.post("/v1/admin/integrations/erp/retry"))["deliveries"] == 0
    for body in ({**new, "name": "e2"}, new):
        assert (await refusal(hq.client.post("/v1/admin/integrations", body))).http_status == 409
    for settings in ({"fold": "x"}, {"folder": "relative"}, {"folder": "/dev/null/erp"}):
        wrong = {**new, "name": "e3", "settings": settings}
        assert (await refusal(hq.client.post("/v1/admin/integrations", wrong))).http_status == 422
    assert (await refusal(hq.client.post("/v1/admin/integrations/none/run"))).http_status == 404
    assert (
        await refusal(hq.client.post("/v1/admin/batches/none/confirm", {"arrived": True}))
    ).http_status == 404


async def test_the_glance_names_what_to_look_at(hq: HQ) -> None:
    """Counts, and in words what somebody should do."""
    quiet = await hq.client.get("/v1/admin/status")
    assert (quiet["attention"], quiet["documents"]) == ([], 0)
    await sell(hq.centre, "T-1", 4, apply=False)
    await report(hq.centre, "T-1", backlog=7, alarms=["disk almost full"])
    await hq.centre.publisher.publish({"base": [Change("product", "A", b'{"code":"A","name":"A"}')]})
    status = await hq.client.get("/v1/admin/status")
    assert (status["documents"], status["pending"], status["backlog_at_stations"]) == (4, 4, 7)
    assert [(row["scope"], row["head"], row["rows"]) for row in status["scopes"]] == [("base", 1, 1)]
    assert status["attention"] == ["station T-1: disk almost full"]
    assert status["stations"]["active"] == 1


async def test_verify_and_rollout_answer(hq: HQ) -> None:
    """Both are reports, and name stations that are not there."""
    await sell(hq.centre, "T-1", 4)
    found = await hq.client.get("/v1/admin/verify")
    assert (found["ok"], found["checked"]["positions"]) == (True, 4)
    assert (await hq.client.get("/v1/admin/verify", station="T-1"))["ok"] is True
    assert (await refusal(hq.client.get("/v1/admin/verify", station="T-9"))).http_status == 404
    assert (await hq.client.get("/v1/admin/rollout"))["stations"] == 1
    assert (await refusal(hq.client.get("/v1/admin/rollout", scope="base"))).http_status == 404
    assert (await refusal(hq.client.get("/v1/admin/rollout", seq=3))).http_status == 422


async def test_totals_agree_when_the_station_says_the_same(hq: HQ) -> None:
    """Station = centre is told per day and payment type; bad dates are refused."""
    await sell(hq.centre, "T-1", 4)
    day = (await hq.client.get(f"/v1/admin/documents/{doc_id(0)}"))["business_date"]
    before = await hq.client.get("/v1/admin/totals", first=day, last=day)
    assert [row["agrees"] for row in before["items"]] == [None, None]
    assert {row["type"]: row["centre_count"] for row in before["items"]} == {"CASH": 4, "CARD": 4}
    for query in ({"first": "soon"}, {"first": "2020-01-01"}, {"integration": "none"}):
        assert (await refusal(hq.client.get("/v1/admin/totals", **query))).http_status in (404, 422)


async def test_consumers_are_listed_with_what_they_confirmed(hq: HQ) -> None:
    """A consumer is made with its key, in a store and groups that exist."""
    await hq.client.post("/v1/admin/stores", STORE)
    made = await hq.client.post("/v1/admin/consumers", {"name": "web", "store": "S1"})
    assert made["key"].startswith("cf_feed_")
    (row,) = (await hq.client.get("/v1/admin/consumers"))["items"]
    assert (row["name"], row["store"], row["entities"]) == ("web", "S1", [])
    for body in (
        {"name": "web", "store": "S1"},
        {"name": "w2", "store": "S9"},
        {"name": "w3", "store": "S1", "groups": ["G"]},
    ):
        assert (await refusal(hq.client.post("/v1/admin/consumers", body))).http_status in (404, 409, 422)
    assert (await refusal(hq.client.post("/v1/admin/keys/boss/revoke"))).http_status == 409


async def test_bodies_that_are_no_requests_are_refused(hq: HQ) -> None:
    """Not JSON, not an object, too large: a problem document each time."""
    headers = {"Authorization": f"Bearer {hq.key}"}
    for body, status in ((b"{", 422), (b"[]", 422), (b"x" * (3 << 20), 413)):
        async with hq.session.post(f"{hq.url}/v1/admin/stores", data=body, headers=headers) as answer:
            assert answer.status == status
            assert answer.content_type == "application/problem+json"


@pytest.mark.parametrize(
    ("method", "path", "status", "name"),
    [
        ("GET", "/v1/admin/nosuch", 404, "not-found"),
        ("DELETE", "/v1/hello", 405, "method-not-allowed"),
        ("POST", "/nosuch", 404, "not-found"),
    ],
)
async def test_what_no_operation_answers_is_a_problem_document(
    hq: HQ, method: str, path: str, status: int, name: str
) -> None:
    """Also where no handler is ever reached, in the protocol's frame and with the request's id."""
    headers = {"X-Request-Id": "ask-1", "Accept-Encoding": "identity"}
    async with hq.session.request(method, hq.url + path, headers=headers) as answer:
        body = await answer.read()
        wire.check_answer(answer.status, answer.headers, body, "ask-1")
        assert (answer.status, answer.content_type) == (status, "application/problem+json")
        assert answer.headers.get("Allow") == ("GET" if status == 405 else None)
    problem = parse_object(body)
    assert (problem["type"], problem["request_id"]) == (f"urn:counterflow:problem:{name}", "ask-1")
