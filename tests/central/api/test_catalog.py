"""The catalog over HTTP, as a station and as a client without an agent meet it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web

from central.api.catalog import CatalogApi
from central.api.http import mount
from central.catalog.room import CatalogRoom
from central.db.database import Database
from central.identities import KeyIdentity, StationIdentity
from shared.canonical import canonical, parse_object
from shared.errors import NotAuthenticated
from shared.protocol import wire
from tests.support.catalog import Chain, Shelf, gone, open_database, product
from tests.support.clock import ManualClock

KEYS = {
    "reader": KeyIdentity("reader", "read"),
    "shop-key": KeyIdentity("shop-key", "feed", "shop"),
}


class Trusting:
    """A token is a station's number, an API key one of `KEYS`."""

    async def station(self, token: str) -> StationIdentity:
        if not token.isdigit():
            raise NotAuthenticated("nobody")
        return StationIdentity(int(token), f"T-{token}", 1, b"")

    async def key(self, key: str) -> KeyIdentity:
        return KEYS[key]


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        return parse_object(self.body)


@dataclass
class Door:
    """A client of one running room."""

    room: CatalogRoom
    chain: Chain
    clock: ManualClock
    session: ClientSession
    url: str
    sent: int = 0
    shelves: dict[str, Shelf] = field(default_factory=dict)

    async def call(
        self, method: str, path: str, who: object, body: bytes | None = None, **headers: str
    ) -> Answer:
        self.sent += 1
        request_id = f"r{self.sent}"
        framed = {"Authorization": f"Bearer {who}", "X-Request-Id": request_id, "Accept-Encoding": "zstd"}
        if body is not None:
            body, extra = wire.pack(body)
            framed |= extra
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.request(method, self.url + path, data=body, headers=framed | named) as answer:
            raw = await answer.read()
            if answer.status != 206 and answer.headers.get("Content-Type") != "application/vnd.sqlite3":
                wire.check_answer(answer.status, answer.headers, raw, request_id)
                raw = wire.unpack(raw, answer.headers.get("Content-Encoding"), 1 << 28)
            return Answer(answer.status, answer.headers, raw)

    async def get(self, path: str, who: object, **headers: str) -> Answer:
        return await self.call("GET", path, who, **headers)

    async def catch_up(self, station: object) -> dict[str, Any]:
        """What an agent does: manifest, drop what is absent, fetch changes until up to date."""
        manifest = (await self.get("/v1/manifest", station)).json
        offered = {scope["scope"]: scope for scope in manifest["scopes"]}
        self.shelves = {name: shelf for name, shelf in self.shelves.items() if name in offered}
        for name, offer in offered.items():
            shelf = self.shelves.setdefault(name, Shelf())
            done = False
            while not done:
                page = await self.get(f"/v1/scopes/{name}/{offer['gen']}/changes?after={shelf.seq}", station)
                assert page.status == 200
                done = shelf.apply(page.body)
            assert shelf.digest == shelf.told == (offer["count"], offer["digest"])
        return manifest


@asynccontextmanager
async def serving(room: CatalogRoom) -> AsyncIterator[str]:
    app = web.Application()
    mount(app, CatalogApi(room), Trusting())
    runner = web.AppRunner(app, auto_decompress=False, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.fixture
async def door(database_url: str, tmp_path: Path) -> AsyncIterator[Door]:
    clock = ManualClock()
    async with open_database(database_url) as database:
        room = CatalogRoom(database, clock, tmp_path / "data", "node-1")
        async with serving(room) as url, ClientSession(auto_decompress=False) as session:
            yield Door(room, Chain(database), clock, session, url)


async def test_a_station_gets_its_scopes_strongest_first(door: Door) -> None:
    """The manifest names what exists of station, store, groups, price lists and base, in the order of precedence."""
    low = await door.chain.group("LOW", priority=1)
    high = await door.chain.group("HIGH", priority=9, price_list="P2")
    store = await door.chain.store("S1", price_list="P1")
    station = await door.chain.station("T-1", store, [low, high])
    scopes = [
        "base",
        "store/S1",
        "store/S2",
        "group/LOW",
        "group/HIGH",
        "pricelist/P1",
        "pricelist/P2",
        "station/T-1",
    ]
    await door.room.publisher.publish({scope: [product("A")] for scope in scopes})
    manifest = await door.catch_up(station)
    assert manifest["station"] == "T-1"
    assert [scope["scope"] for scope in sorted(manifest["scopes"], key=lambda scope: int(scope["rank"]))] == [
        "station/T-1",
        "store/S1",
        "group/HIGH",
        "group/LOW",
        "pricelist/P2",
        "pricelist/P1",
        "base",
    ]


async def test_an_unchanged_manifest_is_304(door: Door) -> None:
    """A station that sends the tag it has gets no body until something moves."""
    station = await door.chain.station("T-1", await door.chain.store("S1"))
    await door.room.publisher.publish({"base": [product("A")]})
    first = await door.get("/v1/manifest", station)
    again = await door.get("/v1/manifest", station, If_None_Match=first.headers["ETag"])
    assert (again.status, again.body) == (304, b"")
    await door.room.publisher.publish({"base": [product("B")]})
    moved = await door.get("/v1/manifest", station, If_None_Match=first.headers["ETag"])
    assert moved.status == 200
    assert moved.headers["ETag"] != first.headers["ETag"]


async def test_a_delta_brings_changes_and_deletions(door: Door) -> None:
    """After a first load only what moved comes, and a deleted row goes."""
    station = await door.chain.station("T-1", await door.chain.store("S1"))
    await door.room.publisher.publish({"base": [product(f"P{n}") for n in range(10)]})
    await door.catch_up(station)
    await door.room.publisher.publish({"base": [product("P1", "new"), gone("P2")]})
    manifest = await door.catch_up(station)
    assert manifest["scopes"][0]["head"] == 12
    shelf = door.shelves["base"]
    assert ("product", "P2") not in shelf.rows
    assert parse_object(shelf.rows["product", "P1"][1])["name"] == "new"


async def test_a_page_is_encoded_once_for_all_stations(door: Door) -> None:
    """Twenty stations that ask for the same delta share its bytes (I15)."""
    store = await door.chain.store("S1")
    stations = [await door.chain.station(f"T-{n}", store) for n in range(20)]
    await door.room.publisher.publish({"base": [product("A")]})
    gen = (await door.get("/v1/manifest", stations[0])).json["scopes"][0]["gen"]
    await asyncio.gather(
        *(door.get(f"/v1/scopes/base/{gen}/changes?after=0", station) for station in stations)
    )
    assert door.room.pages.encoded == 1


async def test_a_station_reads_only_its_own_scopes(door: Door) -> None:
    """Another store's scope, or a group that it has just left, is 403 (I16)."""
    store = await door.chain.store("S1")
    group = await door.chain.group("G")
    station = await door.chain.station("T-1", store, [group])
    await door.room.publisher.publish({"store/S2": [product("A")], "group/G": [product("A")]})
    gen = (await door.catch_up(station))["scopes"][0]["gen"]
    foreign = await door.get(f"/v1/scopes/store/S2/{gen}/changes?after=0", station)
    assert (foreign.status, foreign.json["type"]) == (403, "urn:counterflow:problem:not-allowed")
    await door.chain.leave(station, group)
    assert (await door.get(f"/v1/scopes/group/G/{gen}/changes?after=0", station)).status == 403


async def test_joining_and_leaving_a_group_brings_and_takes_its_scope(door: Door) -> None:
    """What the group has comes with the membership and goes with it."""
    store = await door.chain.store("S1")
    group = await door.chain.group("G")
    station = await door.chain.station("T-1", store)
    await door.room.publisher.publish({"base": [product("A")], "group/G": [product("B")]})
    await door.catch_up(station)
    assert set(door.shelves) == {"base"}
    await door.chain.join(station, group)
    await door.catch_up(station)
    assert set(door.shelves) == {"base", "group/G"}
    await door.chain.leave(station, group)
    await door.catch_up(station)
    assert set(door.shelves) == {"base"}


async def test_a_cursor_that_cannot_be_continued_is_410(door: Door) -> None:
    """Another generation and a cursor above the head are gone; nothing at all is always continued."""
    station = await door.chain.station("T-1", await door.chain.store("S1"))
    await door.room.publisher.publish({"base": [product("A")]})
    gen = (await door.get("/v1/manifest", station)).json["scopes"][0]["gen"]
    assert (await door.get(f"/v1/scopes/base/{gen}/changes?after=2", station)).status == 410
    await door.room.publisher.new_gens()
    old = await door.get(f"/v1/scopes/base/{gen}/changes?after=1", station)
    assert (old.status, old.json["type"]) == (410, "urn:counterflow:problem:gone")
    fresh = (await door.get("/v1/manifest", station)).json["scopes"][0]
    assert fresh["gen"] != gen
    assert (await door.get(f"/v1/scopes/base/{fresh['gen']}/changes?after=0", station)).status == 200


async def test_a_snapshot_is_served_whole_and_in_pieces(door: Door) -> None:
    """The file is the one of its SHA-256, may be cached for ever, and a broken download goes on by Range."""
    station = await door.chain.station("T-1", await door.chain.store("S1"))
    await door.room.publisher.publish({"base": [product(f"P{n:04}") for n in range(2_000)]})
    assert await door.room.snapshots.build_wanted() == ["base"]
    offer = (await door.get("/v1/manifest", station)).json["scopes"][0]["snapshot"]
    path = f"/v1/snapshots/{offer['sha256']}"
    whole = await door.get(path, station)
    assert (whole.status, len(whole.body)) == (200, offer["bytes"])
    assert hashlib.sha256(whole.body).hexdigest() == offer["sha256"]
    assert whole.headers["Content-Digest"] == wire.content_digest(whole.body)
    assert "immutable" in whole.headers["Cache-Control"]
    piece = await door.get(path, station, Range="bytes=1000-")
    assert (piece.status, piece.body) == (206, whole.body[1000:])
    assert piece.headers[wire.PROTOCOL_HEADER] == "1"
    assert "Content-Digest" not in piece.headers


async def test_a_snapshot_is_for_stations_of_its_scope_and_for_its_time(door: Door) -> None:
    """A station of another store is refused, and a snapshot that nobody offers is gone."""
    await door.room.publisher.publish({"store/S2": [product(f"P{n:04}") for n in range(2_000)]})
    await door.room.snapshots.build_wanted()
    other = await door.chain.station("T-1", await door.chain.store("S1"))
    own = await door.chain.station("T-2", await door.chain.store("S2"))
    offer = (await door.get("/v1/manifest", own)).json["scopes"][0]["snapshot"]
    assert (await door.get(f"/v1/snapshots/{offer['sha256']}", other)).status == 403
    assert (await door.get(f"/v1/snapshots/{'0' * 64}", own)).status == 410


async def test_wait_answers_when_something_is_published(door: Door) -> None:
    """A waiting station hears of a publication of its scopes at once, and of no other."""
    station = await door.chain.station("T-1", await door.chain.store("S1"))
    await door.room.publisher.publish({"base": [product("A")]})
    seen = (await door.get("/v1/manifest", station)).headers["ETag"].replace('"', "%22")
    waiting = asyncio.create_task(door.get(f"/v1/wait?seen={seen}&timeout=55", station))
    while not door.room.wakeups.waiting:  # noqa: ASYNC110 - the request is on its way through aiohttp
        await asyncio.sleep(0)
    await door.room.publisher.publish({"store/S2": [product("A")]})
    await door.room.publisher.publish({"base": [product("B")]})
    answer = await waiting
    assert answer.status == 200
    assert answer.json["etag"] == answer.headers["ETag"].strip('"')
    fresh = (await door.get("/v1/manifest", station)).headers["ETag"]
    assert fresh.strip('"').startswith(answer.json["etag"])


async def test_wait_with_an_old_tag_answers_at_once(door: Door) -> None:
    """Who has missed something does not wait for the next thing."""
    station = await door.chain.station("T-1", await door.chain.store("S1"))
    seen = (await door.get("/v1/manifest", station)).headers["ETag"].strip('"')
    await door.room.publisher.publish({"base": [product("A")]})
    assert (await door.get(f"/v1/wait?seen={seen}&timeout=55", station)).status == 200


async def test_a_report_is_kept_as_sent(door: Door) -> None:
    """The station's row holds the report's bytes; a wrong one is refused with its field."""
    station = await door.chain.station("T-1", await door.chain.store("S1"))
    report = canonical({"scopes": [], "backlog": 3, "clock_ms": 5, "new_field": 1})
    taken = await door.call("POST", "/v1/report", station, report)
    assert taken.status == 200
    assert await door.chain.column(station, "report") == report
    assert await door.chain.column(station, "report_ms") == taken.json["time_ms"]
    refused = await door.call("POST", "/v1/report", station, b'{"scopes": [], "backlog": -1, "clock_ms": 5}')
    assert refused.status == 422
    assert refused.json["fields"][0]["field"] == "backlog"


async def test_a_feed_gives_items_then_an_empty_list(door: Door) -> None:
    """K4: all rows first, an empty list when nothing has changed, then just the change."""
    await door.chain.consumer("shop", await door.chain.store("S1"))
    await door.room.publisher.publish({"base": [product("A"), product("B")]})
    first = (await door.get("/v1/feed/product", "shop-key")).json
    assert [item["key"] for item in first["items"]] == ["A", "B"]
    assert (first["more"], first["reset"]) == (False, False)
    nothing = (await door.get(f"/v1/feed/product?cursor={first['cursor']}", "shop-key")).json
    assert nothing["items"] == []
    await door.room.publisher.publish({"base": [product("B", "new"), gone("A")]})
    moved = (await door.get(f"/v1/feed/product?cursor={nothing['cursor']}", "shop-key")).json
    assert {item["key"]: item["deleted"] for item in moved["items"]} == {"A": True, "B": False}


async def test_a_feed_key_reads_only_its_consumer(door: Door) -> None:
    """A consumer's key names nobody else; a reader's key has to name one, and only one that exists."""
    store = await door.chain.store("S1")
    await door.chain.consumer("shop", store)
    await door.chain.consumer("other", store)
    assert (await door.get("/v1/feed/product?consumer=other", "shop-key")).status == 403
    assert (await door.get("/v1/feed/product?consumer=other", "reader")).status == 200
    assert (await door.get("/v1/feed/product", "reader")).status == 422
    assert (await door.get("/v1/feed/product?consumer=nobody", "reader")).status == 404
    assert (await door.get("/v1/feed/nonsense?consumer=shop", "reader")).status == 422


async def test_a_confirmed_cursor_is_where_the_feed_goes_on(door: Door) -> None:
    """K4b: without a cursor the centre's own is used; `start` begins anew."""
    await door.chain.consumer("shop", await door.chain.store("S1"))
    await door.room.publisher.publish({"base": [product("A")]})
    first = (await door.get("/v1/feed/product", "shop-key")).json
    body = canonical({"cursor": first["cursor"], "rejected": [{"key": "A", "reason": "no such group"}]})
    confirmed = await door.call("POST", "/v1/feed/product/confirm", "shop-key", body)
    assert confirmed.status == 200
    assert (await door.get("/v1/feed/product", "shop-key")).json["items"] == []
    assert len((await door.get("/v1/feed/product?cursor=start", "shop-key")).json["items"]) == 1
    strange = canonical({"cursor": "bm90IG91cnM"})
    assert (await door.call("POST", "/v1/feed/product/confirm", "shop-key", strange)).status == 422


@pytest.mark.parametrize(
    "url", ["sqlite+aiosqlite:////nowhere/central.db", "postgresql+asyncpg://x@127.0.0.1:9/none"]
)
async def test_a_feed_without_its_database_is_503(url: str, tmp_path: Path) -> None:
    """K5: a clear error, never an empty success."""
    database, clock = Database(url), ManualClock()
    room = CatalogRoom(database, clock, tmp_path, "node-1")
    async with serving(room) as address, ClientSession(auto_decompress=False) as session:
        answer = await Door(room, Chain(database), clock, session, address).get(
            "/v1/feed/product", "shop-key"
        )
    await database.close()
    assert (answer.status, answer.json["retryable"]) == (503, True)
