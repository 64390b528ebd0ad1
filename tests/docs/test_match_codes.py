"""The how-to of the cross-reference, typed line by line against a centre: every command does what it is shown for."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from central.cli import app
from central.codes import look_up, miss
from central.codes.desk import Fields, PartyDesk
from central.codes.parties import Party
from central.connectors.base import Written
from central.integrations import toml
from central.mapping.lookups import LookUp
from tests.docs.markdown import ROOT, commands
from tests.support.hq import open_hq

PAGE = ROOT / "docs" / "howto" / "match-codes.md"

pytestmark = pytest.mark.docs


class Twins:
    """A system in which every search finds two records."""

    name = "erp"
    timeout_s = 5.0

    async def find(self, target: str, field_name: str, values: Any) -> Mapping[str, Any]:
        return {value: ["4711", "4712"] for value in values}

    async def create(self, target: str, record: Mapping[str, Any]) -> Written:
        raise AssertionError("nothing is made where two may be meant")


async def test_the_page_is_typed_from_top_to_bottom(tmp_path: Path) -> None:
    """Each command ends well, and at the end nothing is unmatched, doubled or unclear."""
    listed = re.search(r"\$ cat codes\.csv\n(.*?)\$", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert listed is not None
    (tmp_path / "codes.csv").write_text(listed[1], encoding="utf-8")
    async with open_hq(f"sqlite+aiosqlite:///{tmp_path / 'central.db'}", tmp_path) as hq:
        database = hq.centre.database
        folder = {"folder": str(tmp_path / "erp")}
        await hq.client.post(
            "/v1/admin/integrations",
            {"name": "erp", "connector": "drop_folder", "settings": folder, "kinds": ["sale"]},
        )
        for code in ("C17", "C18", "C19"):
            await PartyDesk(database).resolve(
                Twins(), Fields("party", "inn"), Party(code, "7707083893", "", "RU"), None
            )
        async with database.write() as connection:
            await miss(database, connection, [LookUp("item", "erp", "A3")], way="out")
        typed = 0
        for line, words in commands(PAGE):
            if line.fence:
                # The list lies in the test's own folder.
                rest = [str(tmp_path / word) if word == "codes.csv" else word for word in words[1:]]
                argv = ["--url", hq.url, "--key", hq.key, *rest]
                result = await asyncio.to_thread(CliRunner().invoke, app, argv)
                assert result.exit_code == 0, f"{line.where}: {result.output}"
                typed += 1
        assert typed >= 12
        asked = {LookUp("item", "erp", code) for code in ("A1", "A2", "A3", "A9")}
        async with database.read() as connection:
            found = await look_up(connection, asked)
        assert {one.code: theirs for one, theirs in found.items()} == {
            "A1": "10001",
            "A2": "10002",
            "A3": "10003",
            "A9": "10001",
        }
        for path in ("crossref/unmatched", "crossref/doubled", "parties/unclear"):
            assert (await hq.client.get(f"/v1/admin/{path}"))["items"] == []


TRYTON = ROOT / "docs" / "connectors" / "tryton.md"


def test_what_the_pages_show_of_an_integration_can_be_stated() -> None:
    """Each `[[match]]` is one that a definition takes."""
    pages = PAGE.read_text(encoding="utf-8") + TRYTON.read_text(encoding="utf-8")
    blocks = re.findall(r"```toml\n(\[\[match.*?)```", pages, re.DOTALL)
    kinds = [
        toml.read(f'name = "erp"\nconnector = "any"\n\n{block}', "page").match[0].kind for block in blocks
    ]
    assert kinds == ["legal_form", "party", "party"]
