"""What the station knows of itself: the facts that health is judged by, and the page that a technician reads."""

from __future__ import annotations

import shutil
from typing import Any

from edge_agent import health
from edge_agent.config import AgentConfig
from edge_agent.db.catalog import Catalog
from edge_agent.db.journal import Journal
from edge_agent.identity import Identity
from edge_agent.sync.contact import Contact
from edge_agent.sync.download import DownloadLine
from shared.clock import Clock, rfc3339
from shared.errors import Unavailable


class StationStatus:
    """Asks the parts; keeps nothing."""

    def __init__(
        self,
        config: AgentConfig,
        me: Identity,
        journal: Journal,
        catalog: Catalog,
        download: DownloadLine,
        contact: Contact,
        clock: Clock,
        versions: dict[str, str],
        draining: list[str],
    ) -> None:
        self._config = config
        self._me = me
        self._journal = journal
        self._catalog = catalog
        self._download = download
        self._contact = contact
        self._clock = clock
        self._versions = versions
        self._draining = draining

    async def facts(self) -> health.Facts:
        """What health is judged by, as of now."""
        backlog, oldest_ms = await self._journal.backlog()
        free_bytes, total_bytes = self._disk()
        return health.Facts(
            now_ms=self._clock.now_ms(),
            backlog=backlog,
            oldest_unsent_ms=oldest_ms,
            disk_free_bytes=free_bytes,
            disk_total_bytes=total_bytes,
            disk_alarm_percent=self._config.disk_alarm_percent,
            offset_ms=self._contact.offset_ms,
            quarantined=self._contact.quarantined,
            revoked=self._contact.revoked,
            approved=self._contact.approved,
            version=self._versions["agent"],
            minimum_version=self._contact.minimum_version,
            broken_lines=tuple(self._contact.broken.items()),
            catalog_faults=tuple(self._download.alarms()),
            stored_alarms=tuple((await self._journal.alarms()).values()),
        )

    async def page(self) -> dict[str, Any]:
        """`GET /v1/station`: what a till, a technician or HQ's support wants to see at one glance."""
        facts = await self.facts()
        record, contact = self._me.record, self._contact
        return {
            "station": record.station,
            "store": record.store,
            "zone": record.zone,
            "currency": record.currency,
            "instance": self._config.instance,
            "server_url": self._config.server_url or record.server_url,
            "versions": self._versions,
            "ready": not health.not_ready(facts.disk_free_bytes),
            "backlog": facts.backlog,
            "oldest_unsent": _time(facts.oldest_unsent_ms),
            "last_contact": _time(contact.last_ms),
            "line": contact.why_down() or ("up" if contact.last_ms is not None else "not reached yet"),
            "offset_ms": contact.offset_ms,
            "approved": contact.approved,
            "quarantined": contact.quarantined,
            "revoked": contact.revoked,
            "last_number": self._journal.last_number,
            "epochs": [
                {
                    "epoch": epoch.epoch.hex(),
                    "last": epoch.last,
                    "safe": epoch.safe_seq,
                    "folded": epoch.folded,
                }
                for epoch in await self._journal.epochs()
            ],
            "scopes": await self._scopes(),
            "draining": self._draining,
            "alarms": health.alarms(facts),
        }

    async def _scopes(self) -> list[dict[str, Any]]:
        """What the catalog has of each scope, the widest precedence first."""
        try:
            scopes = await self._catalog.scopes()
        except Unavailable:
            return []  # catalog.db was lost a moment ago; the rest of the page is as true as before
        return [
            {
                "scope": name,
                "gen": scope.gen,
                "seq": scope.seq,
                "count": scope.count,
                "digest": scope.digest,
                "rank": scope.rank,
            }
            for name, scope in sorted(scopes.items(), key=lambda item: item[1].rank)
        ]

    def readiness(self) -> tuple[bool, list[str]]:
        """`GET /readyz`: whether the till may sell, and why not."""
        reasons = health.not_ready(self._disk()[0])
        return not reasons, reasons

    def _disk(self) -> tuple[int | None, int | None]:
        """Free and total bytes where the journal lies."""
        try:
            usage = shutil.disk_usage(self._config.data_dir)
        except OSError:
            return None, None
        return usage.free, usage.total


def _time(ms: int | None) -> str | None:
    return None if ms is None else rfc3339(ms)
