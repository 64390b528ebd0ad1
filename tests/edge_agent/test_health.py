"""Health: each thing that a person must know is one sentence, and only the disk stops a sale."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge_agent import health

WELL = health.Facts(
    now_ms=100 * 3_600_000,
    backlog=0,
    oldest_unsent_ms=None,
    disk_free_bytes=50 << 30,
    disk_total_bytes=100 << 30,
    disk_alarm_percent=85,
    offset_ms=120,
    quarantined=False,
    revoked=False,
    approved=True,
)


def test_a_well_station_has_no_alarm() -> None:
    """Silence means that nothing is wrong."""
    assert health.alarms(WELL) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"revoked": True}, "revoked"),
        ({"quarantined": True}, "two machines"),
        ({"approved": False}, "approved"),
        ({"disk_free_bytes": 10 << 30}, "90 % full"),
        ({"offset_ms": 61_000}, "61 s behind"),
        ({"offset_ms": -3_600_000}, "3600 s ahead of"),
        ({"backlog": 7, "oldest_unsent_ms": 3_600_000}, "99 hours"),
        ({"version": "0.9.12", "minimum_version": "0.10.0"}, "0.10.0 or later"),
        ({"broken_lines": (("upload", "TypeError: a bug"),)}, "upload does no work: TypeError"),
        ({"catalog_faults": ("scope base differs",)}, "scope base differs"),
        ({"stored_alarms": ("the journal was lost",)}, "the journal was lost"),
    ],
)
def test_each_fault_is_told(change: dict[str, object], told: str) -> None:
    """One sentence for each, with its figures."""
    (alarm,) = health.alarms(replace(WELL, **change))  # type: ignore[arg-type]
    assert told in alarm


def test_no_line_is_no_reason_not_to_sell() -> None:
    """A day without the centre is an alarm, and the till is ready all the same."""
    offline = replace(WELL, offset_ms=None, backlog=5_000, oldest_unsent_ms=0)
    assert health.alarms(offline)
    assert health.not_ready(offline.disk_free_bytes) == []


def test_a_full_disk_is() -> None:
    """The reason names the space that is left; an unknown disk is given the benefit of the doubt."""
    assert "10 MiB" in health.not_ready(10 << 20)[0]
    assert health.not_ready(None) == []
