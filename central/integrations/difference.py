"""What differs between two versions of a definition, path by path. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from central.integrations.definition import Definition
from central.integrations.secret_values import hidden


@dataclass(frozen=True, slots=True)
class Difference:
    """One place; `before` None: it was not there, `after` None: it is gone. Secrets stand as `***`."""

    path: str
    before: Any
    after: Any


def written(definition: Definition) -> dict[str, Any]:
    """What its owner wrote, as JSON values; nothing that is a default."""
    return definition.model_dump(mode="json", exclude_unset=True)


def shown(definition: Definition) -> dict[str, Any]:
    """`written` without secrets."""
    values = written(definition)
    return values | ({"settings": hidden(values["settings"])} if "settings" in values else {})


def same(one: Definition, other: Definition) -> bool:
    return one.model_dump(mode="json") == other.model_dump(mode="json")


def differences(before: Definition, after: Definition) -> list[Difference]:
    """Every place that differs, in the order of paths; a secret that differs is told as one that does."""
    old, new = (one.model_dump(mode="json") for one in (before, after))
    found = list(_walk("", old, new))
    masked = [dict(_leaves("", one | {"settings": hidden(one["settings"])})) for one in (old, new)]
    return [
        Difference(one.path, masked[0].get(one.path, one.before), masked[1].get(one.path, one.after))
        for one in found
    ]


def _walk(path: str, old: Any, new: Any) -> Iterator[Difference]:
    before, after = dict(_leaves(path, old)), dict(_leaves(path, new))
    for place in sorted(before.keys() | after.keys()):
        if before.get(place) != after.get(place):
            yield Difference(place, before.get(place), after.get(place))


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Every value that is no table; lists of tables by their names or kinds, so that a moved one is no difference."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(f"{path}.{key}" if path else key, item)
    elif isinstance(value, list) and (by := _named_by(value)):
        for item in value:
            rest = {key: each for key, each in item.items() if key != by}
            yield from _leaves(f"{path}[{item[by]}]", rest)
    else:
        yield path, value


def _named_by(items: list[Any]) -> str | None:
    """What tells the tables of a list apart."""
    for by in ("name", "kind"):
        if items and all(isinstance(item, dict) and by in item for item in items):
            return by
    return None
