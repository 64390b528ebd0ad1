"""The cross-reference over admin API and command line, with a line in the trail for each act."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from typer.testing import CliRunner

from central.cli import app
from central.cli.client import Refused
from central.codes import miss
from central.codes.desk import Fields, PartyDesk
from central.codes.once import Once
from central.codes.parties import Party
from central.connectors.base import Rejection, Target, Written
from central.integrations.undo import undo_created
from central.mapping.lookups import LookUp
from tests.support.hq import HQ, open_hq


@pytest.fixture
async def hq(tmp_path: Path) -> AsyncIterator[HQ]:
    async with open_hq(f"sqlite+aiosqlite:///{tmp_path / 'central.db'}", tmp_path) as opened:
        yield opened


async def typed(hq: HQ, *words: str) -> tuple[int, str]:
    """Exit code and all that a command said; it runs in a thread, as it has a loop of its own."""
    words = ("--url", hq.url, "--key", hq.key, *words)
    result = await asyncio.to_thread(lambda: CliRunner().invoke(app, list(words)))
    return result.exit_code, result.output


async def test_a_missing_code_is_found_set_and_gone_from_the_list(hq: HQ, tmp_path: Path) -> None:
    """From the list of the unmatched to a code that is sent, over the command line."""
    database = hq.centre.database
    async with database.write() as connection:
        await miss(database, connection, [LookUp("item", "erp", "A1")], way="out")
    code, said = await typed(hq, "crossref", "unmatched")
    assert (code, "A1" in said, "crossref set KIND" in said) == (0, True, True)
    assert await typed(hq, "crossref", "set", "item", "A1", "erp", "X1") == (
        0,
        "done: item A1 is X1 in erp\n",
    )
    assert "none" in (await typed(hq, "crossref", "unmatched"))[1]
    listed = tmp_path / "codes.csv"
    await asyncio.to_thread(listed.write_text, "kind,ours,system,theirs\nitem,A2,erp,X2\nitem,A2,erp,X3\n")
    assert "nothing was changed" in (await typed(hq, "crossref", "import", str(listed), "--dry-run"))[1]
    assert await typed(hq, "crossref", "import", str(listed)) == (0, "done: 2 codes\n")
    assert "X2 | X3" in (await typed(hq, "crossref", "doubled"))[1]
    assert await typed(hq, "crossref", "merge", "item", "A2", "A1") == (
        0,
        "done: item A2 is A1; 2 codes moved\n",
    )
    code, said = await typed(hq, "crossref", "list", "--system", "erp")
    assert [line.split()[:4] for line in said.splitlines()[1:]] == [
        ["item", "A1", "erp", "-"],
        ["item", "A1", "erp", "-"],
        ["item", "A1", "erp", "-"],
    ]
    code, said = await typed(hq, "crossref", "set", "colour", "A1", "erp", "X1")
    assert (code, "known are item" in said) == (1, True)
    assert (await typed(hq, "crossref", "import", str(tmp_path / "none.csv")))[0] == 1
    acts = (await hq.client.get("/v1/admin/audit", what="codes"))["items"]
    assert sorted(act["what"] for act in acts) == ["codes.import", "codes.merge", "codes.set"]
    assert {act["who"] for act in acts} == {"boss"}


async def test_lists_are_paged_and_only_admins_change_codes(hq: HQ) -> None:
    """A page's `next` leads on; a read key reads."""
    for number in range(3):
        body = {"kind": "item", "ours": f"A{number}", "system": "erp", "theirs": f"X{number}"}
        await hq.client.post("/v1/admin/crossref", body)
    page = await hq.client.get("/v1/admin/crossref", limit=2)
    rest = await hq.client.get("/v1/admin/crossref", limit=2, after=page["next"])
    assert [row["ours"] for row in page["items"] + rest["items"]] == ["A0", "A1", "A2"]
    assert rest["next"] is None
    reader = hq.with_key((await hq.client.post("/v1/admin/keys", {"name": "r", "role": "read"}))["key"])
    assert len((await reader.get("/v1/admin/crossref", theirs="X1"))["items"]) == 1
    with pytest.raises(Refused, match="needs admin"):
        await reader.post("/v1/admin/crossref", body)


class Directory:
    """A system in which two records bear one tax id, and that can be written."""

    name = "erp"
    timeout_s = 5.0
    targets: ClassVar = {"industry": Target("Industries", undo=True)}

    async def undo(self, target: str, ids: Sequence[str]) -> Mapping[str, Rejection]:
        return {}

    async def find(
        self, target: str, field_name: str, values: Collection[str]
    ) -> Mapping[str, Sequence[str]]:
        return {value: ["1", "2"] for value in values if field_name == "inn"}

    async def create(self, target: str, record: Mapping[str, Any]) -> Written:
        return Written("3")


async def test_an_unclear_party_is_decided(hq: HQ) -> None:
    """The list tells why; one decision takes a party off it, and the trail has it."""
    database = hq.centre.database
    for code in ("C1", "C2"):
        party = Party(code, "7707083893", "", "RU", "Romashka")
        await PartyDesk(database).resolve(Directory(), Fields("party", "inn"), party, None)
    await Once(database).id_of(Directory(), "industry", "name", "retail")
    code, said = await typed(hq, "parties", "unclear")
    assert (code, "2 records bear 7707083893" in said, "decide: parties decide" in said) == (0, True, True)
    assert (await typed(hq, "parties", "decide", "erp", "C1"))[0] == 1
    code, said = await typed(hq, "parties", "decide", "erp", "C1", "--use", "2")
    assert (code, said) == (0, "done: party C1 in erp: use 2\n")
    assert (await typed(hq, "parties", "decide", "erp", "C2", "--ignore"))[0] == 0
    assert "none" in (await typed(hq, "parties", "unclear"))[1]
    assert "use" in (await typed(hq, "parties", "unclear", "--all"))[1]
    code, said = await typed(hq, "parties", "references")
    assert said.split()[-5:] == ["erp", "industry", "retail", "3", "yes"]
    (one,) = (await hq.client.get("/v1/admin/crossref", kind="party"))["items"]
    assert (one["ours"], one["theirs"], one["main"]) == ("C1", "2", True)
    acts = (await hq.client.get("/v1/admin/audit", what="parties"))["items"]
    assert {act["detail"]["decision"] for act in acts} == {"use", "ignore"}


async def test_what_was_made_is_taken_back_and_then_made_anew(hq: HQ, tmp_path: Path) -> None:
    """An undo forgets the id as well, so nothing is sent under the id of a record that is gone."""
    settings = {"folder": str(tmp_path / "erp")}
    new = {"name": "erp", "connector": "drop_folder", "settings": settings, "kinds": ["sale"]}
    await hq.client.post("/v1/admin/integrations", new)
    database, one = hq.centre.database, await hq.centre.integrations.get("erp")
    directory: Any = Directory()
    assert await Once(database).id_of(directory, "industry", "name", "retail") == "3"
    report = await undo_created(database, one, directory, 0)
    assert (report["undone"], report["left"]) == (1, 0)
    assert (await hq.client.get("/v1/admin/references"))["items"] == []
    assert await Once(database).id_of(directory, "industry", "name", "retail") == "3"
