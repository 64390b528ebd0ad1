"""What a fleet is told; apart from the fleet, so that the process with the stopwatch need not load the agent."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Spec:
    """What a fleet is to do.

    Attributes:
        folder: each station has one of its own in it.
        stations: enrolment code by station code.
        sales_each: sales that every station has to push.
        batch: documents of one push.
        by_rows: load the catalog by changes, as if there were no snapshot.
    """

    folder: str
    server_url: str
    stations: dict[str, str]
    sales_each: int = 0
    batch: int = 0
    by_rows: bool = False

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Spec:
        return cls(**json.loads(text))
