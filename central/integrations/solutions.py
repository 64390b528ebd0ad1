"""The gallery: integrations that are ready to be copied and adapted, beside the connectors that they are for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import central.connectors
from central.integrations import toml
from central.integrations.definition import Definition
from shared.errors import BadInput, Conflict

FOLDER = Path(central.connectors.__file__).parent


@dataclass(frozen=True, slots=True)
class Solution:
    """One ready-made integration; `text` is its file, with the comments that say what to change."""

    name: str
    text: str
    definition: Definition


def all_solutions() -> dict[str, Solution]:
    """Every solution by its name."""
    found = {}
    for path in sorted(FOLDER.glob("*/solutions/*.toml")):
        text = path.read_text(encoding="utf-8")
        found[path.stem] = Solution(path.stem, text, toml.read(text, path.name))
    return found


def copy(name: str, target: Path) -> Path:
    """Write a solution to a file that is not there yet.

    Raises:
        BadInput: there is no such solution.
        Conflict: the file is there already.
    """
    known = all_solutions()
    if name not in known:
        raise BadInput(f'there is no solution "{name}"', hint=f"known are {', '.join(known)}")
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(known[name].text)
    except FileExistsError:
        raise Conflict(f"{target} is there already; nothing was written") from None
    return target
