"""Tell HQ what this till really has: catalog, backlog, day totals, disk, clock, alarms.

After each change of the catalog and at least every few minutes. A report that does not arrive is no loss: the next
one says the same and more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from edge_agent import health
from edge_agent.db.catalog import Catalog
from edge_agent.db.journal import Journal
from edge_agent.sync.client import CentreClient
from edge_agent.sync.contact import Contact
from edge_agent.sync.sessions import SessionHolder
from shared.clock import Clock, rfc3339
from shared.errors import Unavailable
from shared.protocol.messages import Report, ScopeReport

DAY_TOTALS_DAYS = 14
"""Older business dates are compared by then, or never."""
_DAY_MS = 86_400_000
_DAY_TOTALS_MAX = 1_000
_ALARMS_MAX = 100


class ReportLine:
    """The line that reports. `poke` is the newest of HQ's "sync now" calls that was heard.

    A call counts as answered once what only the centre held was read back: until then the day totals lack it.
    """

    name = "report"

    def __init__(
        self,
        journal: Journal,
        catalog: Catalog,
        client: CentreClient,
        sessions: SessionHolder,
        contact: Contact,
        clock: Clock,
        facts: Callable[[], Awaitable[health.Facts]],
        poke: Callable[[], int],
        *,
        interval_s: float,
        versions: dict[str, str],
    ) -> None:
        self._journal = journal
        self._catalog = catalog
        self._client = client
        self._sessions = sessions
        self._contact = contact
        self._clock = clock
        self._facts = facts
        self._poke = poke
        self._interval_s = interval_s
        self._versions = versions
        self._answered = 0

    async def step(self) -> float:
        report = await self.compose()
        await self._sessions.call(lambda token: self._client.report(token, report))
        return self._interval_s

    async def compose(self) -> Report:
        """The report as of now."""
        now_ms = self._clock.now_ms()
        # Before the totals, or a page of history that comes in between would count as told.
        if self._sessions.is_read_back:
            self._answered = self._poke()
        # Totals before the backlog: a sale in between then shows as unsent, never as sold and missing at the centre.
        totals = await self._journal.day_totals(rfc3339(now_ms - DAY_TOTALS_DAYS * _DAY_MS)[:10])
        facts = await self._facts()
        try:
            have = await self._catalog.scopes()
        except Unavailable:
            have = {}  # it is being opened anew, or the disk is full: HQ must hear of that
        scopes = [
            ScopeReport(scope=scope, gen=local.gen, seq=local.seq, count=local.count, digest=local.digest)
            for scope, local in sorted(have.items())
        ]
        return Report(
            scopes=scopes,
            backlog=facts.backlog,
            oldest_unsent_ms=facts.oldest_unsent_ms,
            day_totals=totals[-_DAY_TOTALS_MAX:],
            disk_free_bytes=facts.disk_free_bytes,
            clock_ms=now_ms,
            offset_ms=self._contact.offset_ms,
            versions=self._versions,
            alarms=health.alarms(facts)[:_ALARMS_MAX],
            poke=self._answered,
        )
