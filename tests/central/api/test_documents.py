"""`POST /v1/documents`: what a system without an agent says over HTTP, and what it is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.support.foreign import OUTLET, SOURCE, add_outlet, submitted
from tests.support.hq import HQ, open_hq
from tests.support.papers import order

Reply = tuple[int, bytes]


class Shop:
    """An outlet without an agent, with its key."""

    def __init__(self, hq: HQ, key: str) -> None:
        self.hq = hq
        self.headers = {"Authorization": f"Bearer {key}", "Accept-Encoding": "identity"}

    async def post(self, body: Any, key: str | None = "k") -> Reply:
        headers = {**self.headers, **({"Idempotency-Key": key} if key is not None else {})}
        data = orjson.dumps(body)
        async with self.hq.session.post(self.hq.url + "/v1/documents", data=data, headers=headers) as answer:
            return answer.status, await answer.read()

    async def get(self, doc_id: str) -> tuple[int, dict[str, Any]]:
        url = f"{self.hq.url}/v1/documents/{doc_id}"
        async with self.hq.session.get(url, headers=self.headers) as answer:
            return answer.status, orjson.loads(await answer.read())


def problem(reply: Reply) -> tuple[int, str]:
    return reply[0], orjson.loads(reply[1])["type"].rpartition(":")[2]


@asynccontextmanager
async def opened(database_url: str, tmp_path: Path) -> AsyncIterator[tuple[HQ, Shop]]:
    """HQ has made the source and drawn a key for its outlet."""
    async with open_hq(database_url, tmp_path) as hq:
        await add_outlet(hq.centre)
        await hq.client.post("/v1/admin/sources", {"source": SOURCE})
        yield hq, Shop(hq, await draw(hq, "shop", OUTLET))


async def draw(hq: HQ, name: str, outlet: str) -> str:
    body = {"name": name, "role": "documents", "source": SOURCE, "outlet": outlet}
    return str((await hq.client.post("/v1/admin/keys", body))["key"])


async def test_an_order_is_taken_and_its_state_told(database_url: str, tmp_path: Path) -> None:
    """201 with its doc_id; then how far it is, up to the systems that get it."""
    async with opened(database_url, tmp_path) as (hq, shop):
        settings = {"folder": str(tmp_path / "drop")}
        await hq.centre.integrations.create("erp", "drop_folder", settings, ["order"], from_ms=0)
        status, body = await shop.post(submitted())
        taken = orjson.loads(body)
        assert status == 201
        assert {**taken, "doc_id": ""} == {
            "doc_id": "", "kind": "order", "number": "17", "outcome": "accepted", "replaces": None,
        }  # fmt: skip
        assert (await shop.get(taken["doc_id"]))[1]["state"] == "pending"
        await hq.centre.applier.drain()
        status, state = await shop.get(taken["doc_id"])
        assert (status, state["state"], state["business_date"]) == (200, "applied", "2026-11-22")
        assert [each["state"] for each in state["deliveries"]] == ["ready"]
        shown = await hq.client.get(f"/v1/admin/documents/{taken['doc_id']}")
        assert (shown["station"], shown["state"], shown["header"]["source_id"]) == ("WEB@S1", "applied", "17")
        assert (shown["paper"]["status"], shown["paper"]["warehouse"]) == ("new", "W1")
        listed = await hq.client.get("/v1/admin/documents", station="WEB@S1")
        assert [row["number"] for row in listed["items"]] == ["17"]


async def test_a_repeat_has_the_same_answer_byte_for_byte(database_url: str, tmp_path: Path) -> None:
    """And another content under its key is 422."""
    async with opened(database_url, tmp_path) as (_, shop):
        first = await shop.post(submitted())
        assert await shop.post(submitted()) == first
        assert problem(await shop.post(submitted("18"))) == (422, "idempotency-mismatch")


async def test_policies_of_hq_hold_from_the_next_document_on(database_url: str, tmp_path: Path) -> None:
    """Error until HQ says otherwise; then an update; and HQ sees what came twice."""
    async with opened(database_url, tmp_path) as (hq, shop):
        first = orjson.loads((await shop.post(submitted(), "1"))[1])
        refused = await shop.post(submitted(status="paid"), "2")
        assert problem(refused) == (409, "duplicate-document")
        assert orjson.loads(refused[1])["doc_id"] == first["doc_id"]
        policy = {"kind": "order", "duplicate": "update", "key": ["number", "customer"]}
        await hq.client.post(f"/v1/admin/sources/{SOURCE}/policies", policy)
        again = orjson.loads((await shop.post(submitted(), "3"))[1])
        paid = orjson.loads((await shop.post(submitted(status="paid"), "4"))[1])
        assert (paid["outcome"], paid["replaces"]) == ("updated", again["doc_id"])
        (source,) = (await hq.client.get("/v1/admin/sources"))["items"]
        assert source["policies"]["order"]["duplicate"] == "update"
        assert (source["duplicates"], source["outlets"][0]["documents"]) == (1, 3)
        (row,) = (await hq.client.get(f"/v1/admin/sources/{SOURCE}/duplicates"))["items"]
        assert (row["doc_id"], row["key"], row["repeats"]) == (first["doc_id"], '["17"]', 1)


@pytest.mark.parametrize(
    ("body", "key", "told"),
    [
        (submitted(), None, (422, "idempotency-key-missing")),
        (submitted(), "x" * 201, (422, "invalid-fields")),
        (submitted(payload=order(total_minor=1)), "k", (422, "invalid-fields")),
        (submitted(kind="drone"), "k", (422, "unknown-kind")),
        ({**submitted(), "buisness_date": "2026-11-22"}, "k", (422, "invalid-fields")),
        ([1], "k", (422, "invalid-fields")),
    ],
)
async def test_what_is_wrong_is_told_at_once(
    body: Any, key: str | None, told: tuple[int, str], tmp_path: Path
) -> None:
    """A problem document with the field that is wrong; nothing is stored."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'central.db'}"
    async with opened(url, tmp_path) as (_, shop):
        assert problem(await shop.post(body, key)) == told


async def test_a_key_opens_its_own_outlet_alone(tmp_path: Path) -> None:
    """Another outlet's documents are not there for it; other roles hand in nothing, and it does nothing else."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'central.db'}"
    async with opened(url, tmp_path) as (hq, shop):
        await add_outlet(hq.centre, "S2")
        other = Shop(hq, await draw(hq, "other", "S2"))
        doc_id = orjson.loads((await shop.post(submitted()))[1])["doc_id"]
        assert (await other.get(doc_id))[0] == 404
        assert (await other.get("x"))[0] == 422
        assert problem(await Shop(hq, hq.key).post(submitted())) == (403, "not-allowed")
        async with hq.session.get(hq.url + "/v1/admin/documents", headers=shop.headers) as answer:
            assert answer.status == 403


async def test_a_key_of_documents_is_bound(tmp_path: Path) -> None:
    """To a source and an outlet that are there."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'central.db'}"
    async with opened(url, tmp_path) as (hq, _):
        for wrong, why in (
            ({"role": "documents"}, "names its source"),
            ({"role": "read", "source": SOURCE, "outlet": OUTLET}, "names its source"),
            ({"role": "documents", "source": "X", "outlet": OUTLET}, "no source"),
            ({"role": "documents", "source": SOURCE, "outlet": "X"}, "no store"),
        ):
            with pytest.raises(Exception, match=why):
                await hq.client.post("/v1/admin/keys", {"name": "n", **wrong})
