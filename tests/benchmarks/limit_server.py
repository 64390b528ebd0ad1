"""The limit of W1 by HTTP, as a process: a bare aiohttp handler that writes a sale and its rows and answers.

It knows no tokens, no repetitions, no chain and no models. Sales that arrive together share one commit: a thread
writes, so that the loop reads the next ones meanwhile.

    python -m tests.benchmarks.limit_server DATABASE_FILE PORT
"""

from __future__ import annotations

import asyncio
import sys
import threading
from pathlib import Path

import orjson
from aiohttp import web

from tests.benchmarks.limits import SALES_SCHEMA, SaleRows, insert_sale, plain, sale_rows

Waiting = list[tuple[SaleRows, asyncio.Future[None]]]


class GroupCommit:
    """One thread that owns the connection; whoever waits when it comes round is in the next transaction."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._waiting: Waiting = []
        self._grown = threading.Condition()
        threading.Thread(target=self._run, daemon=True).start()

    def store(self, rows: SaleRows) -> asyncio.Future[None]:
        future = self._loop.create_future()
        with self._grown:
            self._waiting.append((rows, future))
            self._grown.notify()
        return future

    def _run(self) -> None:
        with plain(self._path) as connection:
            connection.executescript(SALES_SCHEMA)
            while True:
                with self._grown:
                    while not self._waiting:
                        self._grown.wait()
                    group, self._waiting = self._waiting, []
                connection.execute("BEGIN IMMEDIATE")
                for rows, _ in group:
                    insert_sale(connection, rows)
                connection.execute("COMMIT")
                self._loop.call_soon_threadsafe(_answer, group)


def _answer(group: Waiting) -> None:
    for _, future in group:
        future.set_result(None)


async def serve(path: Path, port: int) -> None:
    commits = GroupCommit(path)

    async def accept(request: web.Request) -> web.Response:
        body = await request.read()
        document = orjson.loads(body)
        await commits.store(sale_rows(document["doc_id"], document["payload"], body))
        return web.json_response({"doc_id": document["doc_id"], "status": "accepted"}, status=201)

    async def healthy(_: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.add_routes([web.post("/v1/documents", accept), web.get("/healthz", healthy)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2])))
