"""What a check found, and how much was looked at."""

from __future__ import annotations

from dataclasses import dataclass, field

FINDINGS_MAX = 500
"""So many are listed; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that must not be, and where."""

    check: str
    what: str
    station: str | None = None
    epoch: str | None = None
    seq: int | None = None
    doc_id: str | None = None
    scope: str | None = None
    hint: str = ""


@dataclass(slots=True)
class Report:
    """What was looked at, and what was wrong with it."""

    checked: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    more: int = 0

    @property
    def ok(self) -> bool:
        return not self.findings

    def add(self, finding: Finding) -> None:
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(finding)
        else:
            self.more += 1

    def count(self, name: str, number: int) -> None:
        self.checked[name] = self.checked.get(name, 0) + number
