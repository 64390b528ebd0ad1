"""The how-to for systems without an agent, done for real: its commands in their order, its request, its table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from tests.docs.markdown import ROOT, section
from tests.docs.test_first_station import SERVER, Reader, pytestmark
from tests.support.processes import Process

HOW_TO = ROOT / "docs" / "howto" / "post-documents.md"

__all__ = ["pytestmark"]


class Integrator:
    """Somebody who writes the shop's side, with the request of the how-to."""

    def __init__(self, reader: Reader, key: str) -> None:
        self.reader = reader
        self.key = key
        block = section(HOW_TO, "Hand in a document")[0]
        empty = block.index("")
        self.address = block[0].split()[1].replace(SERVER, reader.url)
        self.body: dict[str, Any] = orjson.loads("\n".join(block[empty + 1 :]))

    async def post(self, idempotency_key: str, **changes: Any) -> tuple[int, dict[str, Any]]:
        headers = {"Authorization": f"Bearer {self.key}", "Idempotency-Key": idempotency_key}
        body = orjson.dumps({**self.body, "payload": {**self.body["payload"], **changes}})
        async with (
            aiohttp.ClientSession() as http,
            http.post(self.address, data=body, headers=headers) as answer,
        ):
            return answer.status, await answer.json(content_type=None)

    async def state(self, doc_id: str) -> dict[str, Any]:
        line = section(HOW_TO, "Ask for its state")[0][0]
        address = line.split()[1].replace(SERVER, self.reader.url).replace("DOC_ID", doc_id)
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {self.key}"}) as http,
            http.get(address) as answer,
        ):
            found: dict[str, Any] = await answer.json()
            return found


async def test_the_how_to_leads_to_a_document(tmp_path: Path, processes: Callable[..., Process]) -> None:
    """Each command is typed as it stands; the request is answered as the how-to says, and so are its duplicates."""
    reader = Reader(tmp_path, processes)
    await reader.type("counterflow-central init")
    await reader.type("counterflow-central run")
    await reader.type(f"counterflow-central connect {SERVER}")
    said = [await reader.type(line) for line in section(HOW_TO, "Make a source")[0]]
    shop = Integrator(reader, said[-1])

    accepted = await shop.post("1")
    assert accepted[0] == 201
    answer = orjson.loads("\n".join(section(HOW_TO, "Hand in a document")[1][1:]))
    assert {**accepted[1], "doc_id": "..."} == answer
    assert await shop.post("1") == accepted
    assert (await shop.post("2"))[0] == 409

    for line in section(HOW_TO, "The same document twice")[0]:
        await reader.type(line)
    assert (await shop.post("3"))[1]["outcome"] == "unchanged"
    updated = await shop.post("4", status="paid")
    assert (updated[0], updated[1]["replaces"]) == (201, accepted[1]["doc_id"])
    assert (await shop.state(updated[1]["doc_id"]))["state"] in ("pending", "applied")
    for line in section(HOW_TO, "Ask for its state")[1]:
        shown = await reader.type(line)
        assert "WEB" in shown or "W-1001" in shown
