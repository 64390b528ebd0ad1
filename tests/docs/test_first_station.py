"""The README's first station, set up for real: its commands in its order, two processes, a sale that arrives as a file.

What a reader has to fill in (SERVER, CODE, the key) is filled in from what the commands printed; ports and folders are
the test's own. The sale and the prices are those of the how-tos.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from tests.docs.markdown import ROOT, section
from tests.support.processes import Process, free_port, python

MODULES = {"counterflow-central": "central.cli", "counterflow-agent": "edge_agent.cli"}
DEADLINE_S = 30.0
SERVER, TILL_SIDE = "http://SERVER:8470", "http://127.0.0.1:8077"

pytestmark = [
    pytest.mark.docs,
    pytest.mark.skipif(os.name == "nt", reason="`connect` would save over this user's own address and key"),
]


class Reader:
    """Somebody who types what the README says, on a machine of their own."""

    def __init__(self, folder: Path, start: Callable[..., Process]) -> None:
        self.folder = folder
        self.start = start
        self.url = f"http://127.0.0.1:{free_port()}"
        self.till = f"http://127.0.0.1:{free_port()}"
        self.erp = folder / "erp"
        self.key = self.code = ""
        # What a program keeps for its user lies in the test's folder too.
        home = {name: str(folder / "home") for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")}
        self.env = home | {
            "COUNTERFLOW_CENTRAL_DATA_DIR": str(folder / "centre"),
            "COUNTERFLOW_CENTRAL_PORT": self.url.rpartition(":")[2],
            "COUNTERFLOW_AGENT_DATA_DIR": str(folder / "till"),
            "COUNTERFLOW_AGENT_LOCAL_PORT": self.till.rpartition(":")[2],
        }

    async def type(self, line: str) -> str:
        """One line of a fenced block; returns what the command printed."""
        assignments, program, arguments = parsed(line)
        if program == "pip":
            assert re.fullmatch(r"counterflow\[(central|edge)\]", arguments[-1])
            return ""
        argv = python("-m", MODULES[program], *map(self.filled_in, arguments))
        if arguments == ["run"]:
            process = self.start(program, argv, env={**self.env, **assignments})
            await process.wait_until_healthy(self.url if program == "counterflow-central" else self.till)
            return ""
        said = await asyncio.to_thread(self._run, argv, {**os.environ, **self.env, **assignments})
        if arguments[0] == "init":
            self.key = said
        elif arguments[:2] == ["stations", "add"]:
            self.code = said
        return said

    def filled_in(self, word: str) -> str:
        """What stands for the reader's own."""
        return (
            self.code if word == "CODE" else word.replace(SERVER, self.url).replace("/srv/erp", str(self.erp))
        )

    def _run(self, argv: list[str], env: dict[str, str]) -> str:
        env["PYTHONPATH"] = str(ROOT)
        key = f"{self.key}\n"
        done = subprocess.run(
            argv, env=env, cwd=self.folder, input=key, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"{' '.join(argv)}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()


def parsed(line: str) -> tuple[dict[str, str], str, list[str]]:
    """Assignments, program and arguments of a line."""
    words = shlex.split(line, comments=True)
    assignments = {}
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        assignments[name] = value
    return assignments, words[0], words[1:]


async def test_the_readmes_first_station_sells(tmp_path: Path, processes: Callable[..., Process]) -> None:
    """The sale of the POS how-to lies in the drop folder; the prices of the catalog how-to are on the till."""
    reader = Reader(tmp_path, processes)
    for block in section(ROOT / "README.md", "Connect a first real station"):
        for line in block:
            await reader.type(line)

    accepted, again = await sell(reader), await sell(reader)
    delivered = await until(
        lambda: [line for file in (reader.erp / "out").glob("*.ndjson") for line in lines_of(file)]
    )
    drop_prices(reader)
    price = await until_async(lambda: price_of(reader, "A1"))

    assert (accepted, again[0], again[1]) == ((201, accepted[1]), 200, accepted[1])
    assert [(line["doc_id"], line["station"], line["document"]["total_minor"]) for line in delivered] == [
        (accepted[1]["doc_id"], "S1-T1", 300)
    ]
    assert price["amount_minor"] == 150


async def sell(reader: Reader) -> tuple[int, dict[str, Any]]:
    """The request of the how-to, with its address and token filled in."""
    request = section(ROOT / "docs" / "howto" / "connect-pos-software.md", "Hand in a document")[0]
    empty = request.index("")
    method, address = request[0].split()
    headers = dict(line.split(": ", 1) for line in request[1:empty])
    headers["Authorization"] = (
        f"Bearer {(reader.folder / 'till' / 'token').read_text(encoding='ascii').strip()}"
    )
    body = "\n".join(request[empty + 1 :])
    address = address.replace(TILL_SIDE, reader.till)
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, address, headers=headers, data=body) as answer,
    ):
        return answer.status, await answer.json()


def drop_prices(reader: Reader) -> None:
    """The file of the how-to, under its name, as the how-to says it is written."""
    block = section(ROOT / "docs" / "howto" / "bring-in-a-catalog.md", "Bring in a catalog")[0]
    begin, end = (
        next(i for i, line in enumerate(block) if line.startswith(f"$ {word} ")) for word in ("cat", "cp")
    )
    part = reader.erp / "in" / "prices.csv.part"
    part.write_text("\n".join([*block[begin + 1 : end], ""]), encoding="utf-8")
    part.rename(reader.erp / "in" / "prices.csv")


async def price_of(reader: Reader, product: str) -> dict[str, Any] | None:
    headers = {"Authorization": f"Bearer {token_of(reader)}"}
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.get(f"{reader.till}/v1/prices", params={"product": product}) as answer,
    ):
        found: dict[str, Any] | None = (await answer.json())["price"]
        return found


def token_of(reader: Reader) -> str:
    return (reader.folder / "till" / "token").read_text(encoding="ascii").strip()


def lines_of(file: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in file.read_bytes().splitlines()]


async def until(found: Callable[[], Any]) -> Any:
    async def look() -> Any:
        return found()

    return await until_async(look)


async def until_async(found: Callable[[], Any]) -> Any:
    """What *found* finds, asked again until it does."""
    deadline = time.monotonic() + DEADLINE_S
    while not (result := await found()):
        assert time.monotonic() < deadline, "it did not come"
        await asyncio.sleep(0.05)
    return result
