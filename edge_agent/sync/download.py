"""Bring the catalog down: perform what `catalog_plan` decides, then wait at the centre until something changes.

Rule 1: the station asks; a wake-up is a hint, and what counts is the next look at the manifest.
Rule 2: nothing that came is believed before its digest fits; a scope that does not fit holds up no other.
Rule 3: pages that arrived are kept over a broken line, so that a flapping one gets there too.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from edge_agent.db.catalog import Catalog, CatalogLost
from edge_agent.db.catalog_changes import NewRows, changes_of
from edge_agent.db.catalog_pages import DigestDiffers
from edge_agent.sync import catalog_plan as plan
from edge_agent.sync.catalog_plan import Doubt
from shared.backoff import Reminders
from shared.clock import Clock
from shared.errors import ConnectionFailed, CounterflowError, DamagedData
from shared.protocol.messages import ChangesEnvelope, Limits, Manifest, ScopeOffer

log = logging.getLogger(__name__)
T = TypeVar("T")

GONE_CHECK_S = 2.0
"""How soon a catalog.db that was deleted is noticed while nothing else happens."""
PAUSE_S = 1.0
"""Between two looks that lead to nothing, whatever the centre says."""
LOST_PAUSE_S = 0.2
SCRUB_AFTER_S = 24 * 3600.0
"""How often all rows are added up anew, to find what changed in the file by itself or by hand."""


class Centre(Protocol):
    """The downward endpoints of `CentreClient`."""

    async def manifest(self, token: str, etag: str | None = None) -> tuple[Manifest | None, str]: ...

    async def changes(
        self, token: str, scope: str, gen: str, after: int
    ) -> tuple[ChangesEnvelope, Sequence[bytes]]: ...

    async def snapshot(
        self, token: str, sha256: str, target: Path, size_bytes: int | None = None
    ) -> Path: ...

    async def wait(self, token: str, etag: str, timeout_s: float) -> str | None: ...


class Sessions(Protocol):
    """Whoever holds the session: performs a request with its token, with a new one where that has expired."""

    async def call(self, request: Callable[[str], Awaitable[T]]) -> T: ...


class DownloadLine:
    """The downward line. `wake` ends its wait at the centre; `changed` is called after each change of the catalog,
    `poked` when HQ asked this station to send and fetch at once."""

    name = "download"

    def __init__(
        self,
        catalog: Catalog,
        centre: Centre,
        sessions: Sessions,
        folder: Path,
        *,
        clock: Clock,
        wake: asyncio.Event,
        changed: Callable[[], None],
        poked: Callable[[], None] = lambda: None,
        wait_s: float = Limits.WAIT_S,
    ) -> None:
        self._catalog = catalog
        self._centre = centre
        self._sessions = sessions
        self._folder = folder
        self._clock = clock
        self._wake = wake
        self._changed = changed
        self._poked = poked
        self._wait_s = wait_s
        self._etag = ""
        self._offers: dict[str, ScopeOffer] = {}
        self._doubts: dict[str, Doubt] = {}
        self._reminders = Reminders()
        self._waited_for: str | None = None
        self._look = True
        self._untidy = True
        self._scrub_at_ms = clock.tick_ms()
        self.settled: dict[str, int] = {}
        """Per epoch (hex): no document at or below this seq is still new at the centre."""
        self.poke = 0
        """HQ's count of "sync now" calls as last heard."""
        catalog.on_lost = wake.set

    def alarms(self) -> list[str]:
        """What HQ has to be told about the catalog here."""
        return [
            f"catalog-differs: scope {scope} does not fit the centre's digest; the last good state is kept"
            for scope, doubt in sorted(self._doubts.items())
            if doubt is Doubt.LOST
        ]

    async def step(self) -> float:
        """Look, do one thing, or wait at the centre."""
        try:
            if await self._catalog.renew() or self._look:
                await self._read_manifest()
            if await self._perform():
                return 0
            await self._finish()
            return await self._wait()
        except CatalogLost as error:
            log.warning("catalog_lost", extra={"why": str(error)})
            return LOST_PAUSE_S
        except CounterflowError as error:
            self._look = True
            if error.name != "gone":
                raise
            # Another generation, or a cursor older than what is kept: what the manifest says now tells which.
            log.info("catalog_cursor_gone", extra={"why": str(error)})
            self._etag = ""
            return PAUSE_S

    async def _read_manifest(self) -> None:
        # News that come while it is on its way are looked at again.
        self._look = False
        manifest, etag = await self._sessions.call(
            lambda token: self._centre.manifest(token, self._etag or None)
        )
        if manifest is None:
            return
        offers = {offer.scope: offer for offer in manifest.scopes}
        for scope, doubt in list(self._doubts.items()):
            if scope not in offers:
                del self._doubts[scope]
                self._reminders.forget(scope)
            elif scope in self._offers:
                self._doubts[scope] = plan.after_news(doubt, self._offers[scope], offers[scope])
        if self._etag and manifest.poke > self.poke:
            self._poked()
        self._etag, self._offers = etag, offers
        self.poke, self.settled = manifest.poke, dict(manifest.settled)

    async def _perform(self) -> bool:
        """Do the one next step of the plan; whether there was anything to do."""
        step = plan.next_catalog_step(await self._catalog.scopes(), list(self._offers.values()), self._doubts)
        match step:
            case plan.DropScopes(scopes):
                await self._catalog.drop_scopes(scopes)
                log.info("scopes_dropped", extra={"scopes": scopes})
            case plan.Rerank(ranks):
                await self._catalog.set_ranks(dict(ranks))
            case plan.LoadSnapshot(offer):
                await self._load(offer, self._load_snapshot(offer), whole=True)
            case plan.LoadChanges(offer, after, replace):
                loading = self._load_whole(offer) if replace else self._load_changes(offer, after)
                await self._load(offer, loading, whole=replace)
            case plan.Distrust(offer):
                if self._reminders.is_due(offer.scope, offer, self._clock.tick_ms()):
                    log.error(
                        "catalog_differs", extra={"scope": offer.scope, "gen": offer.gen, "head": offer.head}
                    )
                return False
            case plan.Settled():
                return False
        self._untidy = True
        self._changed()
        return True

    async def _load(self, offer: ScopeOffer, loading: Awaitable[None], *, whole: bool) -> None:
        """Perform a load and keep account of what is known against the scope."""
        doubt = self._doubts.get(offer.scope, Doubt.NONE)
        begun_ms = self._clock.tick_ms()
        try:
            await loading
        except (DigestDiffers, DamagedData) as error:
            self._doubts[offer.scope] = plan.after_misfit(doubt)
            log.warning("catalog_misfit", extra={"scope": offer.scope, "why": str(error)})
            return
        except CounterflowError as error:
            if error.name == "gone":
                # A cursor from before what the centre remembers of deletions, or a generation that ended just now.
                await self._catalog.drop_build(offer.scope)
                self._doubts[offer.scope] = max(doubt, Doubt.MISFIT)
            raise
        took_ms = self._clock.tick_ms() - begun_ms
        have = (await self._catalog.scopes()).get(offer.scope)
        if have is None:
            return  # the file was lost in this moment
        now = self._offers[offer.scope]
        if (have.gen, have.seq, have.count, have.digest) == (now.gen, now.head, now.count, now.digest):
            self._doubts.pop(offer.scope, None)
            self._reminders.forget(offer.scope)
        elif whole:
            self._doubts[offer.scope] = plan.after_whole(doubt)
        log.info(
            "scope_loaded",
            extra={"scope": offer.scope, "seq": have.seq, "rows": have.count, "took_ms": took_ms},
        )

    async def _load_snapshot(self, offer: ScopeOffer) -> None:
        snapshot = offer.snapshot
        assert snapshot is not None  # the plan asks for it only where there is one
        target = self._folder / f"{snapshot.sha256}.db"
        # One that is there already was proven by its hash when it got its name; applying it failed for our own reasons.
        if not await asyncio.to_thread(target.exists):
            await self._sessions.call(
                lambda token: self._centre.snapshot(token, snapshot.sha256, target, snapshot.bytes)
            )
        try:
            await self._catalog.load_snapshot(target, offer)
        except DamagedData:
            await asyncio.to_thread(target.unlink, missing_ok=True)
            raise
        await asyncio.to_thread(_empty, self._folder)

    async def _load_changes(self, offer: ScopeOffer, after: int) -> None:
        """Apply what came after the cursor, all in one transaction once the last page is there."""
        after = await self._catalog.staged_to(offer.scope, offer.gen, after)
        page, payloads = await self._page(offer, after)
        while not page.up_to_date:
            # The next page travels while this one is put away.
            following, _ = await asyncio.gather(
                self._page(offer, page.rows[-1][0]), self._catalog.stage(page, payloads)
            )
            page, payloads = following
        await self._catalog.apply_changes(page, payloads)
        self._learn(offer, page)

    async def _load_whole(self, offer: ScopeOffer) -> None:
        """Build the scope from nothing beside the one that tills see, and put it in its place at the end."""
        build = await self._catalog.begin_build(offer.scope, offer.gen)
        fetching = asyncio.ensure_future(self._page(offer, build.seq))
        writing = asyncio.ensure_future(asyncio.sleep(0))
        try:
            while True:
                # Three at once: one page on the way, one being drawn, one being written.
                page, payloads = await fetching
                if not page.up_to_date:
                    fetching = asyncio.ensure_future(self._page(offer, page.rows[-1][0]))
                rows = await asyncio.to_thread(NewRows, build.scope_no, changes_of(page.rows, payloads))
                await writing
                writing = asyncio.ensure_future(
                    self._catalog.build(offer.scope, page.rows[-1][0] if page.rows else page.head, rows)
                )
                if page.up_to_date:
                    break
            await writing
        finally:
            fetching.cancel()
            # What has arrived is written, whatever became of the line.
            await asyncio.gather(fetching, writing, return_exceptions=True)
        await self._catalog.finish_build(page, offer.rank)
        self._learn(offer, page)

    def _learn(self, offer: ScopeOffer, page: ChangesEnvelope) -> None:
        # What was published since the manifest is applied too: the offer is what the last page said.
        told = {"head": page.head, "count": page.count, "digest": page.digest}
        self._offers[offer.scope] = offer.model_copy(update=told)

    async def _page(self, offer: ScopeOffer, after: int) -> tuple[ChangesEnvelope, Sequence[bytes]]:
        page, payloads = await self._sessions.call(
            lambda token: self._centre.changes(token, offer.scope, offer.gen, after)
        )
        if (page.scope, page.gen, page.after) != (offer.scope, offer.gen, after) or not (
            page.rows or page.up_to_date
        ):
            raise ConnectionFailed(
                f"the page of {offer.scope} after {after} is not the one that was asked for",
                code="wrong-answer",
            )
        return page, payloads

    async def _finish(self) -> None:
        """Everything is applied: do what can wait, and now and then count all rows anew."""
        if self._untidy:
            await self._catalog.tidy()
            self._untidy = False
        if self._clock.tick_ms() >= self._scrub_at_ms:
            self._scrub_at_ms = self._clock.tick_ms() + round(SCRUB_AFTER_S * 1000)
            for scope in await self._catalog.scopes():
                if not await self._catalog.recount(scope):
                    log.warning("catalog_rows_changed", extra={"scope": scope})

    async def _wait(self) -> float:
        """Wait at the centre until the manifest changes, for `wake`, or until catalog.db is gone; seconds to pause."""
        etag, begun_ms = self._etag, self._clock.tick_ms()
        waiting = asyncio.ensure_future(
            self._sessions.call(lambda token: self._centre.wait(token, etag, self._wait_s))
        )
        others = [asyncio.ensure_future(self._wake.wait()), asyncio.ensure_future(self._until_gone())]
        try:
            await asyncio.wait([waiting, *others], return_when=asyncio.FIRST_COMPLETED)
            self._look = not waiting.done() or waiting.result() is not None
            # A centre that answers at once, and always, is not asked more than once a second.
            at_once = waiting.done() and self._clock.tick_ms() - begun_ms < PAUSE_S * 1000
            useless = not self._look or self._waited_for == etag
            self._waited_for = etag
            return PAUSE_S if at_once and useless else 0
        finally:
            for task in (waiting, *others):
                task.cancel()
            await asyncio.gather(waiting, *others, return_exceptions=True)

    async def _until_gone(self) -> None:
        while not self._catalog.is_gone():
            await self._clock.sleep(GONE_CHECK_S)


def _empty(folder: Path) -> None:
    """Remove snapshot files, and parts of them: what they held is in catalog.db."""
    for pattern in ("*.db", "*.db.part"):
        for file in folder.glob(pattern):
            file.unlink(missing_ok=True)
