"""What the station last learned about the centre: for headers of documents, the status page and reports.

Nothing is decided by it; a till that never met its centre sells just the same.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Contact:
    """The newest facts of the line to the centre, kept in memory and shared by all parts of the agent.

    Attributes:
        offset_ms: the centre's time minus the device's at the last session; None before the first.
        last_ms: device time of the last answer that was surely the centre's.
        last_error: why the line is down, empty while it is up.
        quarantined: two machines run with this identity; documents are kept at the centre, but not applied.
        revoked: HQ has taken this station's key back.
        approved: False while a group enrolment waits for HQ.
        minimum_version: the oldest agent that the centre wants to see.
    """

    offset_ms: int | None = None
    last_ms: int | None = None
    last_error: str = ""
    quarantined: bool = False
    revoked: bool = False
    approved: bool = True
    minimum_version: str = ""

    def met(self, now_ms: int) -> None:
        """An answer came that was surely the centre's."""
        self.last_ms = now_ms
        self.last_error = ""

    def lost(self, why: str) -> None:
        """The line is down."""
        self.last_error = why
