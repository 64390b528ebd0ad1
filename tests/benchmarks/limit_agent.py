"""The limit of W5, as a process: aiohttp and aiosqlite, listening, and nothing else.

python -m tests.benchmarks.limit_agent DATABASE_FILE PORT
"""

from __future__ import annotations

import asyncio
import sys

import shared.sqlite  # noqa: F401 -- first: it decides which SQLite aiosqlite runs on

# isort: split
import aiosqlite
from aiohttp import web


async def serve(database: str, port: int) -> None:
    async def healthy(_: web.Request) -> web.Response:
        return web.Response()

    async with aiosqlite.connect(database) as connection:
        await connection.execute("PRAGMA journal_mode = WAL")
        app = web.Application()
        app.add_routes([web.get("/healthz", healthy)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
