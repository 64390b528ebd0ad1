"""Judge what the station knows of itself: what HQ must hear of, and whether the till may sell. Pure.

A till without its centre is healthy: it sells. What stops it is only its own disk.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.versions import is_older

SKEW_ALARM_MS = 60_000
BACKLOG_ALARM_AGE_MS = 24 * 3_600_000
DISK_FREE_MIN_BYTES = 64 << 20
"""Below this the journal may soon be refused its next commit."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What was found; None where it could not be found out.

    `stored_alarms` are those that the journal keeps until somebody clears them (a salvage, a journal that was lost).
    """

    now_ms: int
    backlog: int
    oldest_unsent_ms: int | None
    disk_free_bytes: int | None
    disk_total_bytes: int | None
    disk_alarm_percent: int
    offset_ms: int | None
    quarantined: bool
    revoked: bool
    approved: bool
    version: str = ""
    minimum_version: str = ""
    broken_lines: tuple[tuple[str, str], ...] = ()
    catalog_faults: tuple[str, ...] = ()
    stored_alarms: tuple[str, ...] = field(default=())


def alarms(facts: Facts) -> list[str]:
    """One sentence for each thing that a person should know, the worst first."""
    found = list(facts.stored_alarms)
    found += [f"the line {name} does no work: {why}" for name, why in facts.broken_lines]
    if facts.revoked:
        found.append(
            "HQ has revoked this station: it sells on, and nothing is taken from it until it is enrolled again"
        )
    if facts.quarantined:
        found.append(
            "two machines have this identity, or this one was replaced: the centre keeps its documents, "
            "and applies them when HQ releases them"
        )
    if not facts.approved:
        found.append("HQ has not approved this station yet: documents wait here")
    if (used := used_percent(facts)) is not None and used >= facts.disk_alarm_percent:
        found.append(
            f"the disk is {used} % full; unsent documents are never deleted, so free space elsewhere"
        )
    if facts.offset_ms is not None and abs(facts.offset_ms) > SKEW_ALARM_MS:
        direction = "behind" if facts.offset_ms > 0 else "ahead of"
        found.append(f"this machine's clock is {abs(facts.offset_ms) // 1000} s {direction} the centre's")
    if facts.oldest_unsent_ms is not None and facts.now_ms - facts.oldest_unsent_ms > BACKLOG_ALARM_AGE_MS:
        hours = (facts.now_ms - facts.oldest_unsent_ms) // 3_600_000
        found.append(f"{facts.backlog} documents wait to be sent, the oldest for {hours} hours")
    if is_older(facts.version, facts.minimum_version):
        found.append(f"this agent is {facts.version}; HQ wants {facts.minimum_version} or later")
    found.extend(facts.catalog_faults)
    return found


def used_percent(facts: Facts) -> int | None:
    """How full the disk of the journal is."""
    if facts.disk_free_bytes is None or not facts.disk_total_bytes:
        return None
    return 100 - facts.disk_free_bytes * 100 // facts.disk_total_bytes


def not_ready(disk_free_bytes: int | None) -> list[str]:
    """Why a sale might be refused now; empty when the till may sell."""
    if disk_free_bytes is not None and disk_free_bytes < DISK_FREE_MIN_BYTES:
        return [f"only {disk_free_bytes >> 20} MiB are free on the journal's disk"]
    return []
