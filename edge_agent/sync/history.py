"""Read back what only the centre still holds of this station (R7): for returns, and as a second copy.

A restored or replaced station misses documents that its former self made. They are history, not journal: never
pushed again, and an empty tail is no reason to wait; selling goes on meanwhile.
"""

from __future__ import annotations

import logging

from edge_agent.db.journal import Journal
from edge_agent.sync.client import CentreClient
from edge_agent.sync.sessions import SessionHolder
from shared.errors import ConnectionFailed

log = logging.getLogger(__name__)


class HistoryReader:
    """Fetches, page by page, the epochs that the session named as held by the centre alone."""

    def __init__(self, journal: Journal, client: CentreClient, sessions: SessionHolder) -> None:
        self._journal = journal
        self._client = client
        self._sessions = sessions

    async def read_page(self) -> bool:
        """Fetch one page of the first epoch that is not whole here.

        Returns:
            whether there was something to fetch.
        """
        others = self._sessions.others
        while others:
            epoch = bytes.fromhex(others[0].epoch)
            after = await self._journal.history_last(epoch)
            missing = after < others[0].last and await self._journal.head_at(epoch, others[0].last) is None
            if missing and await self._fetch(epoch, after):
                return True
            others.pop(0)
        return False

    async def _fetch(self, epoch: bytes, after: int) -> bool:
        envelope, documents = await self._sessions.call(
            lambda token: self._client.history(token, epoch.hex(), after)
        )
        if not documents:
            return False
        if envelope.get("first_seq") != after + 1:
            raise ConnectionFailed(
                f"the history after position {after} begins at {envelope.get('first_seq')}",
                code="wrong-answer",
            )
        await self._journal.store_history(epoch, after + 1, documents)
        log.info("history_read_back", extra={"epoch": epoch.hex(), "after": after, "count": len(documents)})
        return True
