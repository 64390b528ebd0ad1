"""Scopes: sets of catalog rows that many stations share, and which of them wins.

Where one key stands in several scopes of a station: station > store > group by its priority > pricelist > base.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.errors import BadInput

BASE = "base"
_FAMILIES = ("pricelist", "store", "group", "station")


def check_scope(name: str) -> str:
    """Return *name* if it is `base` or `<family>/<code>` of a known family; `BadInput` otherwise."""
    family, _, code = name.partition("/")
    if name != BASE and not (family in _FAMILIES and code):
        raise BadInput(
            f'"{name}" is not a scope', hint='use "base", "pricelist/P", "store/S", "group/G" or "station/T"'
        )
    return name


@dataclass(frozen=True, slots=True)
class Membership:
    """Where a station belongs. `groups` are (code, priority, price list or None), highest priority first."""

    station: str
    store: str
    price_list: str | None
    groups: tuple[tuple[str, int, str | None], ...] = ()


def scopes_of(member: Membership) -> list[str]:
    """The station's scopes, strongest first: their index is the rank that the manifest tells."""
    groups = sorted(member.groups, key=lambda group: (-group[1], group[0]))
    price_lists = [group[2] for group in groups if group[2]] + (
        [member.price_list] if member.price_list else []
    )
    names = [
        f"station/{member.station}",
        f"store/{member.store}",
        *(f"group/{code}" for code, _, _ in groups),
        *(f"pricelist/{code}" for code in price_lists),
        BASE,
    ]
    return list(dict.fromkeys(names))
