"""The catalog's doors: for stations the manifest, changes, snapshots, wake-ups and reports, for other clients the feed.

Bodies that many stations share are packed once and handed out as they are. A station reads only its own scopes.
"""

from __future__ import annotations

import base64

import pydantic
from aiohttp import web

from central.api.http import (
    KEY,
    REQUEST_ID,
    STATION,
    Auth,
    bearer,
    endpoint,
    framed,
    query_int,
    raw_body,
    read_model,
    reply,
)
from central.catalog.feed import LIMIT_MAX, Confirm, Confirmed, FeedPage
from central.catalog.room import CatalogRoom
from central.identities import StationIdentity
from shared import PROTOCOL_VERSION
from shared.errors import BadInput, NotAllowed
from shared.protocol import problems, wire
from shared.protocol.messages import ChangesEnvelope, Limits, Manifest, Report

WAIT_MAX_S = 60
FEED_LIMIT = 1_000
REPORT_MAX_BYTES = 256 << 10
SQLITE_FILE = "application/vnd.sqlite3"


class Tag(pydantic.BaseModel):
    """A new manifest is there: its entity tag."""

    etag: str


class ReportTaken(pydantic.BaseModel):
    """The report is stored, or passed over when it is of a machine that was replaced."""

    time_ms: int


class CatalogApi:
    def __init__(self, room: CatalogRoom) -> None:
        self._room = room

    @endpoint(
        "GET",
        "/v1/manifest",
        auth=Auth.STATION,
        summary="The station's scopes and how they stand; drop those that are absent.",
        reply=Manifest,
    )
    async def manifest(self, request: web.Request) -> web.Response:
        tagged = await self._room.scopes.manifest(_station(request).station_no)
        etag = f'"{tagged.tag}"'
        if request.headers.get("If-None-Match", "").removeprefix("W/") == etag:
            packed, frame = wire.pack(b"")
            return framed(request, packed, frame, status=304, headers={"ETag": etag})
        return reply(request, tagged.body, headers={"ETag": etag, "Cache-Control": "no-cache"})

    @endpoint(
        "GET",
        "/v1/scopes/{scope:.+}/{gen:[0-9a-f]+}/changes",
        auth=Auth.STATION,
        summary="Rows of a scope after a cursor, in seq order, framed by lines.",
        reply=ChangesEnvelope,
        query={"after": "the cursor; 0 has nothing of the scope"},
        media=wire.NDJSON,
    )
    async def changes(self, request: web.Request) -> web.Response:
        scope, gen = request.match_info["scope"], request.match_info["gen"]
        after = query_int(request, "after", 0, 0, 2**62)
        view = await self._room.scopes.view(_station(request).station_no)
        page = await self._room.pages.page(view.state(scope), scope, gen, after)
        packed, frame = page.packed if "zstd" in request.headers.get("Accept-Encoding", "") else page.plain
        return framed(request, packed, frame, media=wire.NDJSON)

    @endpoint(
        "GET",
        "/v1/snapshots/{sha256:[0-9a-f]{64}}",
        auth=Auth.STATION,
        summary="A scope as an immutable SQLite file; Range is honoured.",
        media=SQLITE_FILE,
    )
    async def snapshot(self, request: web.Request) -> web.StreamResponse:
        sha256 = bytes.fromhex(request.match_info["sha256"])
        view = await self._room.scopes.view(_station(request).station_no)
        scope, path = await self._room.snapshots.file(sha256)
        view.state(scope)
        digest = f"sha-256=:{base64.b64encode(sha256).decode()}:"
        headers = {
            wire.PROTOCOL_HEADER: str(PROTOCOL_VERSION),
            wire.REQUEST_ID_HEADER: request[REQUEST_ID],
            "Content-Type": SQLITE_FILE,
            "Cache-Control": "public, max-age=31536000, immutable",
            "Repr-Digest": digest,
        }
        if "Range" not in request.headers:
            headers[wire.DIGEST_HEADER] = digest
        return web.FileResponse(path, headers=headers)

    @endpoint(
        "GET",
        "/v1/wait",
        auth=Auth.STATION,
        summary="Answers once there is another manifest than the one seen: 200 with its tag; else 204.",
        reply=Tag,
        query={"seen": "the ETag of the manifest that the station has", "timeout": "seconds"},
    )
    async def wait(self, request: web.Request) -> web.Response:
        seen = request.query.get("seen")
        if seen is None:
            raise BadInput(
                "query parameter seen is missing", hint="send the ETag of the manifest that you have"
            )
        timeout_s = query_int(request, "timeout", Limits.WAIT_S, 0, WAIT_MAX_S)
        tag = await self._room.wakeups.wait(_station(request).station_no, bearer(request), seen, timeout_s)
        if tag is None:
            packed, frame = wire.pack(b"")
            return framed(request, packed, frame, status=204)
        return reply(request, Tag(etag=tag), headers={"ETag": f'"{tag}"'})

    @endpoint(
        "POST",
        "/v1/report",
        auth=Auth.STATION,
        summary="What the station has and how it is.",
        request=Report,
        reply=ReportTaken,
    )
    async def report(self, request: web.Request) -> web.Response:
        sent = await raw_body(request, body_max=REPORT_MAX_BYTES, raw_max=4 * REPORT_MAX_BYTES)
        try:
            report = Report.model_validate_json(sent)
        except pydantic.ValidationError as error:
            raise problems.from_validation(error, "report") from None
        station, reports = _station(request), self._room.reports
        # The station is the machine that replaced this one; what this one says of itself would stand for both.
        time_ms = await (
            reports.pass_over() if station.retired else reports.take(station.station_no, sent, report)
        )
        return reply(request, ReportTaken(time_ms=time_ms))

    @endpoint(
        "GET",
        "/v1/feed/{entity}",
        auth=Auth.FEED,
        summary="The rows of an entity that changed for a consumer, or an empty list.",
        reply=FeedPage,
        query={
            "consumer": "its name; not needed with a key of its own",
            "cursor": 'from the page before; "start" for everything; without it the one that was confirmed last',
            "limit": f"rows at most, up to {LIMIT_MAX}",
        },
    )
    async def feed(self, request: web.Request) -> web.Response:
        consumer = _consumer(request, request.query.get("consumer"))
        limit = query_int(request, "limit", FEED_LIMIT, 1, LIMIT_MAX)
        page = await self._room.feed.page(
            consumer, request.match_info["entity"], request.query.get("cursor"), limit
        )
        return reply(request, page)

    @endpoint(
        "POST",
        "/v1/feed/{entity}/confirm",
        auth=Auth.FEED,
        summary="What a consumer applied: the centre keeps its cursor and shows the rows that it rejected.",
        request=Confirm,
        reply=Confirmed,
    )
    async def confirm(self, request: web.Request) -> web.Response:
        confirmed = await read_model(request, Confirm)
        consumer = _consumer(request, confirmed.consumer)
        return reply(
            request, await self._room.feed.confirm(consumer, request.match_info["entity"], confirmed)
        )


def _station(request: web.Request) -> StationIdentity:
    return request[STATION]


def _consumer(request: web.Request, named: str | None) -> str:
    """Whose feed it is: a consumer's own key says it, any other key has to name one."""
    key = request[KEY]
    if key.role == "feed":
        if key.consumer is None or named not in (None, key.consumer):
            raise NotAllowed(
                f'the API key "{key.who}" reads the feed of {key.consumer or "nobody"}, not of {named}'
            )
        return key.consumer
    if not named:
        raise BadInput("query parameter consumer is missing", hint="name the consumer whose feed you read")
    return named
