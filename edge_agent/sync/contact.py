"""What the station last learned about the centre: for headers of documents, the status page and reports.

Nothing is decided by it; a till that never met its centre sells just the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field

OUTWARD = ("upload", "download", "report")
"""The lines to the centre, by name."""


@dataclass(slots=True)
class Contact:
    """The newest facts of the line to the centre, kept in memory and shared by all parts of the agent.

    Attributes:
        offset_ms: the centre's time minus the device's at the last session; None before the first.
        last_ms: device time of the last answer that was surely the centre's.
        last_error: why the line is down, empty while it is up.
        broken: by line, the error of this agent or its files that keeps it from its work, until a step works again.
        quarantined: two machines run with this identity; documents are kept at the centre, but not applied.
        revoked: HQ has taken this station's key back.
        approved: False while a group enrolment waits for HQ.
        minimum_version: the oldest agent that the centre wants to see.
    """

    offset_ms: int | None = None
    last_ms: int | None = None
    last_error: str = ""
    broken: dict[str, str] = field(default_factory=dict)
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

    def broke(self, line: str, why: str) -> None:
        """A line cannot do its work, whatever the way to the centre is like; with no *why* it can again."""
        if why:
            self.broken[line] = why
        else:
            self.broken.pop(line, None)

    def why_down(self) -> str:
        """What keeps this station from the centre; empty while nothing does."""
        # An answer to one line says nothing of the others.
        return self.last_error or "; ".join(
            f"{line}: {self.broken[line]}" for line in OUTWARD if line in self.broken
        )
