"""What the glance tells somebody to look at."""

from __future__ import annotations

from central.monitoring.collect import Facts, IntegrationFacts, StationFacts, attention

NOW_MS = 1_790_000_000_000


def station(code: str, **fields: object) -> StationFacts:
    known: dict[str, object] = {
        "store": "S1",
        "state": "active",
        "quarantined": False,
        "last_seen_ms": NOW_MS - 1_000,
        "backlog": 0,
        "oldest_unsent_ms": None,
        "version": "0.1.0",
        "alarms": (),
    }
    return StationFacts(code=code, **{**known, **fields})  # type: ignore[arg-type]


def facts(*stations: StationFacts, **fields: object) -> Facts:
    known: dict[str, object] = {
        "integrations": [],
        "scopes": [],
        "documents": 0,
        "pending": 0,
        "oldest_pending_s": 0,
        "waiting": 0,
        "parked": 0,
        "held": 0,
    }
    return Facts(now_ms=NOW_MS, stations=stations, **{**known, **fields})  # type: ignore[arg-type]


def test_nothing_to_do_is_nothing_to_say() -> None:
    """Work under way is no reason to call anybody: pending for a moment, waiting for a reference."""
    assert attention(facts(station("T-1"), pending=500, oldest_pending_s=3, waiting=2)) == []


def test_every_cause_names_what_to_do() -> None:
    """The most urgent stands first."""
    told = attention(
        facts(
            station("T-1", quarantined=True),
            station("T-2", last_seen_ms=NOW_MS - 600_000),
            station("T-3", state="waiting", last_seen_ms=None),
            station("T-4", alarms=("disk almost full",)),
            station("T-5", state="new", last_seen_ms=None),
            integrations=[
                IntegrationFacts("erp", enabled=True, paused_until_ms=1, problem="password refused")
            ],
            pending=9,
            oldest_pending_s=90,
            parked=3,
            held=2,
        )
    )
    assert [line.split(":")[0].split(" in ")[0] for line in told] == [
        "station T-1",
        "9 documents wait to be applied, the oldest for 90 s",
        "3 documents are parked",
        "2 documents are held",
        "integration erp",
        "station T-4",
        "station T-2 not seen for 5 minutes",
        "station T-3 waiting for approval",
    ]
    assert "stations release T-1" in told[0]


def test_many_are_told_by_their_number() -> None:
    """Two thousand silent stations are one line, and fifty alarms are eleven."""
    silent = [station(f"T-{n:04}", last_seen_ms=None, alarms=("x",)) for n in range(2_000)]
    told = attention(facts(*silent))
    assert len(told) == 12
    assert "2000 stations (T-0000, T-0001" in told[-1]


def test_agents_below_the_minimum_are_told() -> None:
    """By numbers and not by letters; who has not said its version yet, or is no longer active, is not meant."""
    told = attention(
        facts(
            station("T-1", version="0.9.12"),
            station("T-2", version="0.10.0"),
            station("T-3", version=None),
            station("T-4", version="0.1.0", state="revoked"),
        ),
        minimum_agent="0.10.0",
    )
    assert told == ["station T-1 below agent version 0.10.0: install a newer agent there"]
