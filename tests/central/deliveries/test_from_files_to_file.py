"""Both sides foreign (K8): one system's files become another system's import, through the catalog, by themselves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from central.integrations.toml import read
from central.server import running
from central.verify import verify
from tests.support.centre import open_centre

DEADLINE_S = 60
SHOP = """
name = "shop"
connector = "files"

[settings]
folder = "{folder}"
settle_s = 0.2

[settings.lists.clients]
full = "clients-*.csv"
changes = "update-*.csv"
key = "Id"
dialect = {{ form = "csv", encoding = "cp1251", delimiter = ";" }}

[[pull]]
name = "clients"
source = "clients"
entity = "customer"
every = "1s"

[pull.fields]
code = "{{{{Id}}}}"
name = "{{{{Name}}}}"
contacts = [{{ phone = "{{{{Phone}}}}" }}]
"""
ERP = """
name = "erp"
connector = "drop_folder"

[settings]
folder = "{folder}"
columns = ["code", "name", "phone", "deleted"]
out = {{ form = "csv" }}

[[deliver]]
name = "customers"
entity = "customer"
target = "file"

[deliver.fields]
code = "{{{{payload.row.code}}}}"
name = "{{{{payload.row.name}}}}"
phone = "{{{{payload.row.contacts[0].phone}}}}"
"""


async def until(reached: Callable[[], bool], told: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not reached():
        assert time.monotonic() < deadline, told
        await asyncio.sleep(0.05)


async def test_a_shops_clients_become_an_erps_import(tmp_path: Path):
    """What the shop exports is in the ERP's own form a moment later: all once, then what changed, nothing twice."""
    theirs, drop = tmp_path / "export", tmp_path / "drop"
    theirs.mkdir()
    (theirs / "clients-1.csv").write_text("Id;Name;Phone\nC1;Анна;+7 1\nC2;Борис;+7 2\n", encoding="cp1251")

    def lines() -> list[str]:
        files = sorted(path for path in (drop / "out").glob("*.csv"))
        return [line for file in files for line in file.read_text(encoding="utf-8").splitlines()[1:]]

    async with open_centre(f"sqlite+aiosqlite:///{tmp_path / 'central.db'}", tmp_path) as centre:
        for text, folder in ((ERP, drop), (SHOP, theirs)):
            await centre.versions.put(read(text.format(folder=folder), "test"), by="test")
        async with running(centre):
            await until(lambda: len(lines()) == 2, "both clients")
            assert lines() == ["C1,Анна,+7 1,", "C2,Борис,+7 2,"]
            (theirs / "update-2.csv").write_text(
                "Id;Name;Phone\nC2;Борис;+7 3\nC1;Анна;+7 1\n", encoding="cp1251"
            )
            await until(lambda: len(lines()) == 3, "the changed one")
            assert lines()[2:] == ["C2,Борис,+7 3,"]
        assert (await verify(centre.database)).findings == []
