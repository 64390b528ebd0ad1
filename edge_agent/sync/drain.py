"""Empty the journal of a station that this machine was before: everything goes up under its old name and key.

The session is marked `drain`, so the centre does not take it for a second machine. Nothing is deleted: when the
centre has acknowledged the last document the archive is marked, and its files stay.
"""

from __future__ import annotations

import logging
from pathlib import Path

from edge_agent import identity
from edge_agent.db.journal import Journal
from edge_agent.sync.client import CentreClient, Route
from edge_agent.sync.contact import Contact
from edge_agent.sync.sessions import SessionHolder
from edge_agent.sync.upload import UploadLine
from shared.clock import Clock

log = logging.getLogger(__name__)

DONE_REST_S = 86_400.0


class DrainLine:
    """One archived journal on its way up; after its end the line rests."""

    def __init__(self, folder: Path, route: Route, clock: Clock, versions: dict[str, str]) -> None:
        self.name = f"drain {folder.name}"
        self._folder = folder
        self._route = route
        self._clock = clock
        self._versions = versions
        self._journal: Journal | None = None
        self._client: CentreClient | None = None
        self._upload: UploadLine | None = None

    async def step(self) -> float:
        """One step of the archive's upward line; its end closes everything."""
        if identity.is_drained(self._folder):
            return DONE_REST_S
        upload = self._upload or await self._open()
        rest_s = await upload.step()
        if not upload.is_idle:
            return rest_s
        identity.mark_drained(self._folder, self._clock.now_ms())
        log.info("archive_drained", extra={"archive": self._folder.name})
        await self.close()
        return DONE_REST_S

    async def close(self) -> None:
        """Let go of the archive's files and of its connection."""
        self._upload = None
        if self._client is not None:
            await self._client.close()
        if self._journal is not None:
            await self._journal.close()
        self._client = self._journal = None

    async def _open(self) -> UploadLine:
        former = identity.read(self._folder / identity.FOLDER)
        self._journal = await Journal.open(
            self._folder / identity.JOURNAL_FILES[0], station=former.station, clock=self._clock
        )
        # To the centre that it belonged to, which may be another than today's.
        self._client = CentreClient(Route(former.record.server_url, self._route.ca_file, self._route.proxy))
        contact = Contact()
        sessions = SessionHolder(
            former, self._journal, self._client, contact, self._clock, self._versions, drain=True
        )
        self._upload = UploadLine(
            former, self._journal, self._client, sessions, contact, self._clock, rest_s=DONE_REST_S
        )
        return self._upload
