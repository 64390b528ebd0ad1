"""What a station says of itself, and when it may say that it has answered HQ."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from edge_agent.sync.report import ReportLine
from tests.edge_agent.test_health import WELL
from tests.support.clock import ManualClock


@dataclass
class World:
    """All that a report is made of; `read_back` says whether the session's history is here."""

    read_back: bool = True
    poke: int = 0
    offset_ms: int = 0
    during_totals: list[Any] = field(default_factory=list)

    @property
    def is_read_back(self) -> bool:
        return self.read_back

    async def day_totals(self, since_date: str) -> list[Any]:
        for act in self.during_totals:
            act()
        return []

    async def scopes(self) -> dict[str, Any]:
        return {}

    async def facts(self) -> Any:
        return WELL


def line_of(world: Any) -> ReportLine:
    return ReportLine(
        world,
        world,
        world,
        world,
        world,
        ManualClock(),
        world.facts,
        lambda: world.poke,
        interval_s=5,
        versions={},
    )


async def test_a_call_is_answered_once_the_history_is_read_back() -> None:
    """Until then the day totals lack what another machine sold, and HQ must not call that a difference."""
    world = World()
    line = line_of(world)
    assert (await line.compose()).poke == 0
    world.poke, world.read_back = 1, False
    assert (await line.compose()).poke == 0
    world.read_back = True
    assert (await line.compose()).poke == 1


async def test_history_that_comes_while_the_totals_are_added_up_counts_next_time() -> None:
    """The totals of this report may be from before it."""
    world = World(read_back=False, poke=1)
    world.during_totals.append(lambda: setattr(world, "read_back", True))
    line = line_of(world)
    assert (await line.compose()).poke == 0
    assert (await line.compose()).poke == 1
