"""Which fields a side of a mapping has, so that a wrong name is found when the mapping is loaded, not at night.

Names of fields inside others are dotted: `lines`, `lines.product`. Where nothing is known of the inside of a field,
anything may be named there. Names that begin with `x_` are a chain's own fields and always right.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from decimal import Decimal
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel

from central.connectors.base import Trait

OWN = "x_"
_SCALARS = frozenset({"text", "integer", "decimal", "boolean", "date", "time"})


class Names:
    """The fields of one side; without any, anything may be named."""

    def __init__(self, traits: Mapping[str, Trait] | None, prefix: str = "") -> None:
        self._traits = traits or {}
        self._prefix = prefix

    def inside(self, segments: Sequence[str]) -> Names:
        """The fields of an element or table that stands under these names."""
        return Names(
            self._traits, "".join(f"{segment}." for segment in (self._prefix[:-1], *segments) if segment)
        )

    def required(self) -> list[str]:
        """Fields of this level that must be there."""
        return [name for name in self._here(self._prefix) if self._trait(self._prefix + name).required]

    def trouble(self, segments: Sequence[str]) -> str | None:
        """Why this field cannot be meant, with the nearest one that is known; None where it can."""
        prefix = self._prefix
        for segment in segments:
            known = self._here(prefix)
            parent = self._trait(prefix[:-1])
            if not known:
                if prefix and parent.type in _SCALARS and prefix[:-1] in self._traits:
                    return f'"{prefix[:-1]}" is a {parent.type} and has no fields inside'
                return None
            if segment.startswith(OWN):
                return None
            if segment not in known:
                near = get_close_matches(segment, known, 1)
                of = f' in "{prefix[:-1]}"' if prefix else ""
                return f'there is no field "{segment}"{of}' + (
                    f'; did you mean "{near[0]}"?' if near else f"; known are {', '.join(sorted(known)[:20])}"
                )
            prefix += segment + "."
        return None

    def _trait(self, name: str) -> Trait:
        return self._traits.get(name) or Trait("object")

    def _here(self, prefix: str) -> set[str]:
        return {
            name[len(prefix) :].split(".", 1)[0]
            for name in self._traits
            if name.startswith(prefix) and len(name) > len(prefix)
        }


def traits_of(model: type[BaseModel], prefix: str = "") -> dict[str, Trait]:
    """The fields of one of our own models, with those inside: what mappings into and out of it are checked against."""
    traits: dict[str, Trait] = {}
    for name, info in model.model_fields.items():
        kind, inner = _kind_of(info.annotation)
        traits[prefix + name] = Trait(kind, required=info.is_required(), about=info.description or "")
        if inner is not None:
            traits |= traits_of(inner, f"{prefix}{name}.")
    return traits


_PLAIN: dict[Any, Any] = {str: "text", int: "integer", bool: "boolean", Decimal: "decimal"}


def _kind_of(annotation: Any) -> tuple[Any, type[BaseModel] | None]:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _kind_of(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return _kind_of(next(part for part in arguments if part is not type(None)))
    if origin is typing.Literal:
        return "text", None
    if origin is list:
        return "list", _kind_of(arguments[0])[1]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "object", annotation
    return _PLAIN.get(annotation, "object"), None
