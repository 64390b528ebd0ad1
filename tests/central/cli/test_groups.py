"""Documents that are delivered together, from the command line: what waits for what, and what a person decides."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.hq import open_hq, sell
from tests.support.typist import Typist

FILE = """name = "erp"
connector = "drop_folder"
[settings]
folder = {folder}
[[deliver]]
name = "shift"
kinds = ["sale"]
target = "file"
group = {{ by = ["shift"], close = "shift_close", after = "1m" }}
[deliver.fields]
number = "{{{{number}}}}"
total = "{{{{payload.total_minor}}}}"
receipts = {{ each = "members", fields = {{ n = "{{{{number}}}}" }} }}
"""


@pytest.fixture
async def types(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Typist]:
    monkeypatch.setattr("central.cli.config_file", lambda: tmp_path / "client.toml")
    async with open_hq(database_url, tmp_path) as opened:
        file = tmp_path / "erp.toml"
        file.write_text(FILE.format(folder=json.dumps(str(tmp_path / "drop"))), encoding="utf-8")
        typist = Typist(opened)
        await typist("integrations", "apply", str(file))
        await typist("integrations", "enable", "erp")
        yield typist


async def test_a_shift_that_is_never_closed_is_seen_and_closed_by_hand(types: Typist, tmp_path: Path) -> None:
    """Seen with what it waits for, closed by a person with a line in the audit trail, sent as one record."""
    centre = types.hq.centre
    await sell(centre, "T-1", 3)
    await centre.deliveries.groups.step()
    (group,) = await types.json("deliveries", "groups", "erp")
    assert (group["state"], group["documents"], group["closes"]) == ("open", 3, None)
    assert "the close of shift" in group["waits_for"]
    assert "close-group NUMBER" in await types("deliveries", "groups")
    assert "3 wait" in await types("deliveries", "outlook", "erp")
    (overview,) = [one for one in (await types.json("status"))["integrations"] if one["name"] == "erp"]
    assert overview["gathering"] == 3
    number = str(group["group_no"])
    documents = await types.json("deliveries", "group", number)
    assert len(documents) == 3
    assert documents[0]["number"] in await types("deliveries", "group", number)
    assert "closed" in await types("deliveries", "close-group", number)
    while await centre.deliveries.step(1):
        pass
    (line,) = [json.loads(line) for path in (tmp_path / "drop" / "out").glob("*") for line in path.open()]
    assert len(line["record"]["receipts"]) == 3
    assert line["record"]["total"] == sum(each["total_minor"] for each in documents)
    history = await types("deliveries", "history", documents[1]["doc_id"])
    assert f"in group {number} of erp" in history
    dates = {one["business_date"] for one in await types.json("documents", "list")}
    of_days = ("--from", min(dates), "--to", max(dates))
    totals = (await types.json("totals", "--integration", "erp", *of_days))["items"]
    assert totals
    assert all(row["delivered_minor"] == row["centre_minor"] for row in totals)
    assert await types.json("deliveries", "groups") == []
    (done,) = await types.json("deliveries", "groups", "--all")
    assert (done["state"], done["by"]) == ("done", "boss")
    assert "group.close" in await types("audit")
    await types("deliveries", "close-group", number, code=1)
    await types("deliveries", "accept-group", number, code=1)
    await types("deliveries", "close-group", "77", code=1)
    assert "all is as it should be" in await types("verify")
