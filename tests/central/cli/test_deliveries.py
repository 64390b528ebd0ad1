"""Deliveries that cannot go, from the command line: by root cause, corrected, sent again, and their whole story."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from central.cli.client import Refused
from central.connectors import CONNECTORS
from central.connectors.base import Exchange
from central.deliveries import plan
from tests.support.hq import open_hq, sell
from tests.support.scripted_connector import SYSTEMS, ScriptedConnector, System
from tests.support.typist import Typist
from tests.support.yardstick_sales import doc_id

PASSWORD = "s3cret-Pa55"
FILE = f"""name = "erp"
connector = "scripted"
[settings]
account = "erp"
password = "{PASSWORD}"
[[deliver]]
name = "order"
kinds = ["sale"]
target = "orders"
[deliver.fields]
number = "{{{{number}}}}"
tax = "{{{{payload.tax_minor}}}}"
lines = {{ each = "payload.lines", fields = {{ item = "{{{{product}}}}" }} }}
"""
REASON = "unknown item 7"
EVERY_NUMBER = set(range(10_000))
SALES = 3


class Desk(Typist):
    """HQ at the centre whose deliveries the other system refused."""

    @property
    def system(self) -> System:
        return SYSTEMS["erp"]

    async def carry(self) -> None:
        while await self.hq.centre.deliveries.step(1):
            pass


@pytest.fixture
async def types(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    """Three sales, each refused as often as it takes, with a password in what was asked."""
    monkeypatch.setattr("central.cli.config_file", lambda: tmp_path / "client.toml")
    monkeypatch.setitem(CONNECTORS, "scripted", ScriptedConnector)
    monkeypatch.setattr(plan, "RETRY_CAP_S", 0.0)
    system = SYSTEMS["erp"] = System(*[EVERY_NUMBER] * plan.ATTEMPTS_MAX)
    system.exchange = Exchange(f"POST /orders\npassword={PASSWORD}\n\n{{}}", f'422 {{"token": "{PASSWORD}"}}')
    async with open_hq(database_url, tmp_path) as opened:
        (tmp_path / "erp.toml").write_text(FILE, encoding="utf-8")
        desk = Desk(opened)
        await desk("integrations", "apply", str(tmp_path / "erp.toml"))
        await desk("integrations", "enable", "erp")
        await sell(opened.centre, "T-1", SALES)
        await desk.carry()
        yield desk


async def test_one_line_for_each_cause_and_each_delivery_below_it(types: Desk) -> None:
    """How many, from how many stations, for what reason; then one by one with the refused record, page by page."""
    (group,) = await types.json("deliveries", "parked")
    assert (
        group["integration"],
        group["reason"],
        group["deliveries"],
        group["stations"],
        group["waits"],
    ) == (
        "erp",
        REASON,
        SALES,
        1,
        False,
    )
    shown = await types("deliveries", "parked")
    assert REASON in shown
    assert "deliveries retry NAME" in shown
    listed = await types.json("deliveries", "list", "erp", "--reason", REASON)
    assert [row["doc_id"] for row in listed] == [doc_id(n) for n in range(SALES)]
    assert [sorted(part) for row in listed for part in row["record"]] == [["lines", "number", "tax"]] * SALES
    assert listed[0]["number"] in await types("deliveries", "list", "erp")
    assert await types.json("deliveries", "list", "erp", "--reason", "another") == []
    first = await types.hq.client.get("/v1/admin/integrations/erp/parked", limit=2)
    rest = await types.hq.client.get("/v1/admin/integrations/erp/parked", limit=2, after=first["next"])
    assert first["items"] + rest["items"] == listed
    assert rest["next"] is None


async def test_many_are_corrected_by_path_and_sent_together(types: Desk) -> None:
    """The values stand in every record that goes out; who did it, and with what, is in story and audit."""
    said = await types(
        "deliveries", "retry", "erp", "--reason", REASON, "--set", "tax=22", "--set", "lines[*].item=A-7"
    )
    assert f"{SALES} deliveries of erp are ready again" in said
    await types.carry()
    records: list[Any] = [one.record for one in types.system.deliveries]
    assert [one["tax"] for one in records] == [22] * SALES
    assert {line["item"] for one in records for line in one["lines"]} == {"A-7"}
    assert await types.json("deliveries", "parked") == []
    assert "nothing is left" in await types("deliveries", "outlook", "erp")
    assert "deliveries.retry" in await types("audit")
    assert "all is as it should be" in await types("verify")


async def test_one_is_sent_with_a_record_of_its_own(types: Desk, tmp_path: Path) -> None:
    """A file replaces the record of one document; for several, and together with values, it is refused."""
    file = tmp_path / "record.json"
    file.write_text(json.dumps({"number": "by hand"}), encoding="utf-8")
    assert "more were chosen" in await types("deliveries", "retry", "erp", "--record", str(file), code=1)
    both = ("--record", str(file), "--set", "tax=1", "--doc-id", doc_id(1))
    assert "exclude" in await types("deliveries", "retry", "erp", *both, code=1)
    await types("deliveries", "retry", "erp", "--doc-id", doc_id(1), "--record", str(file))
    await types.carry()
    assert [one.record for one in types.system.deliveries] == [{"number": "by hand"}]
    assert len(await types.json("deliveries", "list", "erp")) == SALES - 1


async def test_the_story_of_a_document_holds_no_secret(types: Desk) -> None:
    """Five refusals, who sent it again, what the other system calls it; requests and answers without the password."""
    await types("deliveries", "retry", "erp", "--doc-id", doc_id(0))
    await types.carry()
    found = await types.json("deliveries", "history", doc_id(0))
    outcomes = [row["outcome"] for row in found["attempts"]]
    assert outcomes == [*["rejected"] * plan.ATTEMPTS_MAX, "again", "ok"]
    assert "sent again by boss" in found["attempts"][plan.ATTEMPTS_MAX]["error"]
    assert (found["written"][0]["id"], found["written"][0]["number"]) == ("ERP-1", "N-1")
    exchanges = [each for row in found["attempts"] for each in row["exchanges"]]
    assert "POST /orders" in json.dumps(exchanges)
    assert PASSWORD not in json.dumps(found)
    assert "erp calls it N-1" in await types("deliveries", "history", doc_id(0))
    batch = await types.hq.client.get(f"/v1/admin/batches/{found['attempts'][-1]['batch_id']}/attempts")
    assert batch["items"][0]["outcome"] == "ok"
    assert PASSWORD not in json.dumps(batch)


async def test_an_outlook_counts_what_is_left(types: Desk) -> None:
    """Ready again and not sent yet: so many, and nobody can tell when while nothing gets done."""
    await types("deliveries", "retry", "erp")
    outlook = await types.json("deliveries", "outlook", "erp")
    assert (outlook["left"], outlook["through"], outlook["gathering"]) == (SALES, None, 0)
    assert "nobody can tell when" in await types("deliveries", "outlook", "erp")


async def test_what_is_not_there_is_told(types: Desk) -> None:
    """Another integration, another document, a cursor that is none; a reading key may look and not send."""
    await types("deliveries", "list", "none", code=1)
    await types("deliveries", "outlook", "none", code=1)
    await types("deliveries", "history", doc_id(9), code=1)
    await types("deliveries", "retry", "erp", "--doc-id", doc_id(9), code=1)
    made = await types.hq.client.post("/v1/admin/keys", {"name": "r", "role": "read"})
    reader = types.hq.with_key(made["key"])
    with pytest.raises(Refused, match="no cursor"):
        await reader.get("/v1/admin/integrations/erp/parked", after="x")
    with pytest.raises(Refused) as refused:
        await reader.post("/v1/admin/integrations/erp/retry", {})
    assert refused.value.http_status == 403
    assert len((await reader.get("/v1/admin/deliveries/parked"))["items"]) == 1
