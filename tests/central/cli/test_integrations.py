"""Integrations from the command line: stated by a file, compared, tried, run, taken back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from central.cli import app
from central.integrations.registry import Integrations
from tests.support.hq import HQ, open_hq
from tests.support.source_connector import CONNECTORS, SHOPS, Shop

FILE = """name = "erp"
connector = "shop"
[settings]
account = "erp"
[[pull]]
name = "goods"
source = "products"
entity = "product"
[pull.fields]
code = "{{ code }}"
name = "{{ name }}"
"""


class Typist:
    """Types commands against a centre; each runs in a thread, as it has a loop of its own."""

    def __init__(self, hq: HQ) -> None:
        self.hq = hq

    async def __call__(self, *words: str, code: int = 0) -> str:
        def run() -> Any:
            return CliRunner().invoke(
                app, ["--url", self.hq.url, "--key", self.hq.key, "integrations", *words]
            )

        result = await asyncio.to_thread(run)
        assert result.exit_code == code, result.output
        return str(result.stdout + result.stderr)


@pytest.fixture
async def types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Typist]:
    defaults: Any = (CONNECTORS,)
    monkeypatch.setattr(Integrations.__init__, "__defaults__", defaults)
    monkeypatch.setattr("central.cli.config_file", lambda: tmp_path / "client.toml")
    SHOPS["erp"] = Shop()
    async with open_hq(f"sqlite+aiosqlite:///{tmp_path / 'central.db'}", tmp_path) as opened:
        yield Typist(opened)


async def test_an_integration_lives_in_a_file(types: Typist, tmp_path: Path) -> None:
    """Apply, difference, versions, way back and export: every word is the centre's answer."""
    file = tmp_path / "erp.toml"
    file.write_text(FILE)
    assert "integration erp: created, version 1" in await types("apply", str(file))
    file.write_text(FILE.replace("{{ name }}", "{{ name | upper }}"))
    assert "pull[goods].fields.name" in await types("diff", "erp", "--file", str(file))
    assert "changed, version 2" in await types("apply", str(file), "--note", "louder")
    assert "louder" in await types("versions", "erp")
    assert "changed, version 3" in await types("back", "erp")
    assert "unchanged" in await types("apply", _write(tmp_path, await types("export", "erp")))
    file.write_text("name = erp\n")
    assert "erp.toml, line 1: " in await types("apply", str(file), code=1)


async def test_a_load_is_tried_made_and_undone(types: Typist, tmp_path: Path) -> None:
    """What it would do, what it did, and as before; a check that fails ends with 1."""
    SHOPS["erp"].put("products", {"id": 1, "code": "A", "name": "Apple"}, {"id": 2, "code": "B", "name": ""})
    await types("apply", _write(tmp_path, FILE))
    told = await types("dry-run", "erp", "goods")
    assert "new: A" in told
    assert "record 2 B: name" in told
    assert "it pulls goods" in await types("run", "erp", "--full")
    await types.hq.centre.pulls.step(1)
    runs = json.loads(await types("runs", "erp", "--json"))
    assert "taken" in await types("runs", "erp", "--errors")
    assert "1 taken back, 0 left" in await types("undo", "erp", "--run", str(runs[0]["run"]))
    assert "--run NUMBER" in await types("undo", "erp", code=1)
    assert "ok  reached" in await types("check", "erp")
    assert "goods" in await types("show", "erp")
    assert "cf_trigger_" in await types("trigger", "erp")


def _write(folder: Path, text: str) -> str:
    file = folder / "written.toml"
    file.write_text(text)
    return str(file)
