"""A centre's catalog in memory: scopes with their logs, the pages and snapshot files of the protocol, and a server.

Everything that must be the same on both sides comes from shared/catalog; the rest is as small as it can be.
"""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import web

from shared.canonical import canonical, parse
from shared.catalog import index
from shared.catalog.changes import Change, differences
from shared.catalog.entities import ENTITIES
from shared.digest import Digest
from shared.errors import CounterflowError, Gone, NotFound
from shared.protocol import framing, problems, wire
from shared.protocol.messages import ChangesEnvelope, Manifest, ScopeOffer, SnapshotOffer

T = TypeVar("T")
SNAPSHOT_SQL = Path("shared/catalog/snapshot.sql")
TOKEN = "token"


def put(entity: str, row: dict[str, Any]) -> Change:
    """A row as it shall be."""
    return Change(entity, ENTITIES[entity].key(row), canonical(row))


def drop(entity: str, key: str) -> Change:
    return Change(entity, key, None)


def product(code: str, name: str = "", **fields: Any) -> Change:
    return put("product", {"code": code, "name": name or f"Product {code}", **fields})


def price(product_code: str, amount_minor: int, price_list: str = "P", **fields: Any) -> Change:
    row = {"price_list": price_list, "product": product_code, "amount_minor": amount_minor, "currency": "EUR"}
    return put("price", row | fields)


class ScopeLog:
    """A scope at the centre: every row once, at its newest seq."""

    def __init__(self, scope: str, gen: str = "aa" * 16) -> None:
        self.scope = scope
        self.gen = gen
        self.head = 0
        self.floor = 0
        self.digest = Digest()
        self.rows: dict[tuple[str, str], tuple[int, bytes | None, bytes | None]] = {}

    def publish(self, changes: Iterable[Change]) -> int:
        """Write what differs; return how many rows that were."""
        wanted = {(change.entity, change.key): change.payload for change in changes}
        found = differences(wanted, {place: row[1] for place, row in self.rows.items()})
        for row in found.rows:
            self.head += 1
            self.rows.pop((row.entity, row.key), None)
            self.rows[row.entity, row.key] = (self.head, row.version, row.payload)
        self.digest = self.digest.shift(found.count, found.total)
        return len(found.rows)

    def page(self, after: int, rows_max: int) -> tuple[ChangesEnvelope, list[bytes]]:
        """The rows after a cursor.

        Raises:
            Gone: the cursor is above the head, or older than the tombstones that are kept.
        """
        if after > self.head or 0 < after < self.floor:
            raise Gone(f"{self.scope} is at {self.head}, tombstones are kept from {self.floor}")
        # Rows are in seq order: a row that changes moves to the end.
        later = [
            (seq, entity, key, version.hex() if version else None, payload or b"")
            for (entity, key), (seq, version, payload) in self.rows.items()
            if seq > after
        ]
        here, done = later[:rows_max], len(later) <= rows_max
        envelope = ChangesEnvelope(
            scope=self.scope,
            gen=self.gen,
            after=after,
            up_to_date=done,
            head=self.head,
            count=self.digest.count if done else None,
            digest=self.digest.hex if done else None,
            rows=[row[:4] for row in here],
        )
        return envelope, [row[4] for row in here]

    def snapshot(self, folder: Path) -> tuple[Path, SnapshotOffer]:
        """Write the snapshot file of this moment."""
        file = folder / "snapshot-being-built"
        file.unlink(missing_ok=True)
        live = sorted((*place, row[1], row[2]) for place, row in self.rows.items() if row[1] is not None)
        connection = sqlite3.connect(file)
        connection.executescript(SNAPSHOT_SQL.read_text("utf-8"))
        connection.executemany("INSERT INTO rows VALUES (?, ?, ?, ?)", live)
        products: list[tuple[Any, ...]] = []
        barcodes: dict[tuple[str, str], tuple[Any, ...]] = {}
        prices: list[tuple[Any, ...]] = []
        for entity, key, _, payload in live:
            if entity == "product":
                products.append((key, *index.product_row(parse(payload))))
                for barcode, *rest in index.barcode_rows(parse(payload)):
                    barcodes.setdefault((barcode, key), (barcode, key, *rest))
            elif entity == "price":
                prices.append((key, *index.price_row(parse(payload))))
        connection.executemany("INSERT INTO products VALUES (?, ?, ?, ?)", products)
        connection.executemany(
            "INSERT INTO barcodes VALUES (?, ?, ?, ?, ?)", [barcodes[at] for at in sorted(barcodes)]
        )
        prices.sort(key=lambda row: (row[1], row[0]))
        connection.executemany("INSERT INTO prices VALUES (?, ?, ?, ?, ?, ?, ?)", prices)
        about = (self.scope, self.gen, self.head, self.digest.count, self.digest.hex)
        connection.execute("INSERT INTO about VALUES (?, ?, ?, ?, ?)", about)
        connection.commit()
        connection.close()
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        named = file.rename(folder / sha256)
        return named, SnapshotOffer(sha256=sha256, seq=self.head, bytes=named.stat().st_size)

    def offer(self, rank: int = 0, snapshot: SnapshotOffer | None = None) -> ScopeOffer:
        return ScopeOffer(
            scope=self.scope,
            gen=self.gen,
            rank=rank,
            head=self.head,
            count=self.digest.count,
            digest=self.digest.hex,
            snapshot=snapshot,
        )


class CatalogServer:
    """The centre's catalog endpoints over `logs`, strongest first.

    `damage` may change a page before it goes out; `lies` are digests told in place of the true ones;
    `pages_left`, if set, is how many more pages are served before the line goes dead.
    """

    def __init__(self, folder: Path, *logs: ScopeLog, rows_max: int = 5_000) -> None:
        self.folder = folder
        self.logs = list(logs)
        self.rows_max = rows_max
        self.snapshots: dict[str, SnapshotOffer] = {}
        self.damage: Callable[[list[bytes]], list[bytes]] = lambda lines: lines
        self.lies: dict[str, str] = {}
        self.pages_left: int | None = None
        self.poke = 0
        self.asked: list[str] = []
        self.url = ""
        self.waiting = asyncio.Event()  # somebody waits
        self._moved = asyncio.Condition()
        self._packed: dict[tuple[str, int, int], tuple[bytes, dict[str, str]]] = {}

    def manifest(self) -> Manifest:
        offers = [log.offer(rank, self.snapshots.get(log.scope)) for rank, log in enumerate(self.logs)]
        offers = [
            offer.model_copy(update={"digest": self.lies.get(offer.scope, offer.digest)}) for offer in offers
        ]
        return Manifest(station="T-1", scopes=offers, settled={"ee" * 16: 7}, poke=self.poke)

    def build_snapshot(self, log: ScopeLog) -> None:
        _, self.snapshots[log.scope] = log.snapshot(self.folder)

    async def moved(self) -> None:
        """Wake those who wait."""
        async with self._moved:
            self._moved.notify_all()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[CatalogServer]:
        app = web.Application()
        app.router.add_get("/v1/manifest", self._answering(self._manifest))
        app.router.add_get("/v1/scopes/{scope:.+}/{gen}/changes", self._answering(self._changes))
        app.router.add_get("/v1/snapshots/{sha256}", self._snapshot)
        app.router.add_get("/v1/wait", self._answering(self._wait))
        runner = web.AppRunner(app, access_log=None, auto_decompress=False, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    def _etag(self) -> str:
        return hashlib.sha256(canonical(self.manifest().model_dump(mode="json"))).hexdigest()[:16]

    def _answering(
        self, answer: Callable[[web.Request], Awaitable[tuple[int, Any, dict[str, str]]]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            self.asked.append(request.path)
            try:
                status, body, headers = await answer(request)
            except CounterflowError as error:
                status, body = error.status, problems.problem_bytes(error)
                headers = {"Content-Type": problems.CONTENT_TYPE}
            packed, frame = body if isinstance(body, tuple) else wire.pack(body)
            echo = {wire.REQUEST_ID_HEADER: request.headers[wire.REQUEST_ID_HEADER]}
            return web.Response(status=status, body=packed, headers=frame | echo | headers)

        return handle

    async def _manifest(self, request: web.Request) -> tuple[int, bytes, dict[str, str]]:
        etag = self._etag()
        if request.headers.get("If-None-Match") == etag:
            return 304, b"", {"ETag": etag}
        return 200, canonical(self.manifest().model_dump(mode="json")), {"ETag": etag}

    async def _changes(self, request: web.Request) -> tuple[int, Any, dict[str, str]]:
        if self.pages_left is not None:
            if self.pages_left == 0:
                assert request.transport is not None
                request.transport.abort()
                raise NotFound("nobody hears this")
            self.pages_left -= 1
        scope, gen, after = (
            request.match_info["scope"],
            request.match_info["gen"],
            int(request.query["after"]),
        )
        log = next((log for log in self.logs if log.scope == scope), None)
        if log is None:
            raise NotFound(scope)
        if gen != log.gen:
            raise Gone(f"{scope} has another generation")
        at = (scope, after, log.head)
        if at not in self._packed or scope in self.lies:
            envelope, lines = log.page(after, self.rows_max)
            if scope in self.lies and envelope.up_to_date:
                envelope = envelope.model_copy(update={"digest": self.lies[scope]})
            self._packed[at] = wire.pack(framing.join(envelope.model_dump(mode="json"), self.damage(lines)))
        return 200, self._packed[at], {}

    async def _snapshot(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        file = self.folder / request.match_info["sha256"]
        return web.FileResponse(file, headers={wire.PROTOCOL_HEADER: "1"})

    async def _wait(self, request: web.Request) -> tuple[int, bytes, dict[str, str]]:
        self.waiting.set()
        async with self._moved:
            try:
                async with asyncio.timeout(float(request.query["timeout"])):
                    await self._moved.wait_for(lambda: self._etag() != request.query["seen"])
            except TimeoutError:
                return 204, b"", {}
        return 200, b"", {"ETag": self._etag()}


class OneSession:
    """A session that never expires."""

    async def call(self, request: Callable[[str], Awaitable[T]]) -> T:
        return await request(TOKEN)
