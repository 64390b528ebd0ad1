"""Integrations over the admin API, the command line's way, and the trigger's door."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from central.cli.client import Refused
from central.integrations.registry import Integrations
from shared.canonical import canonical
from tests.support.hq import HQ, open_hq
from tests.support.source_connector import CONNECTORS, SHOPS, Shop

TOML = """name = "erp"
connector = "shop"

[settings]
account = "erp"
password = "s3cret"

[[pull]]
name = "goods"
source = "products"
entity = "product"
on = ["webhook"]

[pull.fields]
code = "{{ code }}"
name = "{{ name }}"

[[pull]]
name = "nightly"
source = "stock"
entity = "balance"
cron = "0 3 * * *"

[pull.fields]
warehouse = "W"
product = "{{ product }}"
quantity = "{{ quantity }}"
"""


@pytest.fixture
async def hq(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[HQ]:
    defaults: Any = (CONNECTORS,)
    monkeypatch.setattr(Integrations.__init__, "__defaults__", defaults)
    SHOPS["erp"] = Shop()
    async with open_hq(f"sqlite+aiosqlite:///{tmp_path / 'central.db'}", tmp_path) as opened:
        yield opened


async def state(hq: HQ, text: str = TOML, **more: Any) -> Any:
    return await hq.client.request("PUT", "/v1/admin/integrations", body=canonical({"toml": text, **more}))


async def refusal(request: Any) -> Refused:
    with pytest.raises(Refused) as refused:
        await request
    return refused.value


async def test_a_definition_is_stated_changed_compared_and_taken_back(hq: HQ) -> None:
    """W9 over HTTP: every step is a version, secrets are never shown, and an export can be stated again."""
    assert (await state(hq))["result"] == "created"
    path = "/v1/admin/integrations/erp"
    changed = TOML.replace('cron = "0 3 * * *"', 'every = "2h"').replace("s3cret", "***")
    row = (await hq.client.post(f"{path}/difference", {"toml": changed}))["items"]
    assert [one["path"] for one in row] == ["pull[nightly].cron", "pull[nightly].every"]
    assert (await state(hq, changed, note="hourly"))["version"] == 2
    export = (await hq.client.get(f"{path}/toml"))["toml"]
    assert "s3cret" not in export
    assert (await state(hq, export))["result"] == "unchanged"
    assert (await hq.client.post(f"{path}/back", {}))["version"] == 3
    assert [row["note"] for row in (await hq.client.get(f"{path}/versions"))["items"]] == [
        "back to version 1",
        "hourly",
        "",
    ]
    shown = await hq.client.get(path)
    assert shown["definition"]["settings"]["password"] == "***"
    assert [pull["pull"] for pull in shown["pulls"]] == ["goods", "nightly"]


async def test_a_mistake_is_told_with_its_line(hq: HQ) -> None:
    """The problem says where in the text it is; nothing holds."""
    wrong = await refusal(state(hq, TOML.replace('"balance"', '"product"\ncolour = "red"')))
    assert (wrong.http_status, wrong.extra["line"]) == (422, 22)
    wrong = await refusal(state(hq, TOML.replace("{{ name }}", "{{ nmae }}")))
    assert 'pull "goods"' in wrong.what
    assert "name" in wrong.what
    assert (await hq.client.get("/v1/admin/integrations"))["items"] == []


async def test_a_check_tells_what_it_found(hq: HQ) -> None:
    """Findings are answered and stay with the integration."""
    await state(hq)
    found = (await hq.client.post("/v1/admin/integrations/erp/check"))["items"]
    assert found == [{"what": "reached", "ok": True, "detail": "", "hint": ""}]
    assert (await hq.client.get("/v1/admin/integrations/erp"))["checked"]


async def test_a_dry_run_a_run_and_its_undo(hq: HQ) -> None:
    """B11 over HTTP: what it would do, what it did, and as it was before."""
    SHOPS["erp"].put("products", {"id": 1, "code": "A", "name": "Apple"})
    await state(hq)
    path = "/v1/admin/integrations/erp"
    report = await hq.client.post(f"{path}/dry-run", {"pull": "goods"})
    assert (report["new"], report["listed"]["new"]) == (1, ["A"])
    assert (await hq.client.post(f"{path}/pull", {"pull": "goods"}))["pulls"] == ["goods"]
    await hq.centre.pulls.step(1)
    (run,) = (await hq.client.get(f"{path}/runs", pull="goods"))["items"]
    assert (run["result"], run["report"]["new"]) == ("taken", 1)
    undone = await hq.client.post(f"{path}/runs/{run['run']}/undo")
    assert (undone["undone"], undone["left"]) == (1, 0)
    assert not (await hq.client.get(path))["enabled"]


async def test_another_system_starts_a_pull(hq: HQ) -> None:
    """With the integration's own secret or an admin key; with nothing else; and only pulls that say so."""
    await state(hq)
    secret = (await hq.client.post("/v1/admin/integrations/erp/trigger"))["secret"]
    system = hq.with_key(secret)
    assert (await system.post("/v1/triggers/erp"))["pulls"] == ["goods"]
    assert (await hq.client.post("/v1/triggers/erp"))["pulls"] == ["goods"]
    reader = hq.with_key((await hq.client.post("/v1/admin/keys", {"name": "r", "role": "read"}))["key"])
    assert (await refusal(reader.post("/v1/triggers/erp"))).http_status == 403
    assert (await refusal(system.post("/v1/triggers/other"))).http_status == 401
    assert (await refusal(system.post("/v1/triggers/erp?pull=nightly"))).http_status == 422
    assert (await refusal(system.get("/v1/admin/integrations"))).http_status == 401
    await hq.client.post("/v1/admin/integrations/erp/trigger")
    assert (await refusal(system.post("/v1/triggers/erp"))).http_status == 401
