"""A record as the readers of all forms give it."""

from __future__ import annotations

from typing import Any, NamedTuple


class Record(NamedTuple):
    """`line` is where it begins (of a sheet: its row). `why` is set where it cannot be read; `values` is then None."""

    line: int
    values: dict[str, Any] | None
    why: str = ""
