"""A document as mappings, filters and groups see it: the header's fields, where it was made, and the payload inside.

So `{{store}}`, `{{business_date}}`, `{{payload.total_minor}}`, and `each = "payload.lines"`. A group of documents has
the same form with `members` (links back) beside it, and a part of a split one has `part`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from central.catalog.record_kinds import RECORD_KINDS, CatalogRecord
from central.connectors.base import Trait
from central.mapping.names import traits_of
from central.mapping.paths import plain_segments
from shared.catalog.entities import ENTITIES
from shared.documents import KINDS
from shared.documents.envelope import Header

_PLACE = {
    "station": Trait(required=True, about="code of the station that made it"),
    "store": Trait(about="code of its store"),
}
_GROUP = {
    "group": Trait(about="the group's key"),
    "count": Trait("integer", about="documents in it"),
    "members": Trait("list"),
    "members.doc_id": Trait(),
    "members.kind": Trait(),
    "members.number": Trait(),
    "members.station": Trait(),
    "members.time": Trait(),
    "members.total_minor": Trait("integer"),
    "corrects": Trait(about="the key of the group that these late documents belong to"),
    "correction": Trait("integer", about="1 for the first correction of a group"),
}
_WRITTEN = {
    "id": Trait(about="what the other system calls what this effect made there"),
    "number": Trait(about="its number for people"),
}
_PART = {
    "part": Trait("object", about="the element that this record is made for"),
    "part_number": Trait("integer", about="its position from 1"),
    "parts": Trait("integer", about="how many there are"),
}


def document_of(
    header: Mapping[str, Any], payload: Mapping[str, Any], *, station: str, store: str | None
) -> dict[str, Any]:
    """The record that is mapped for a document. Header and payload are shared with it, not copied."""
    return {**header, "station": station, "store": store, "payload": payload}


def document_traits(
    kinds: Collection[str], *, effects: Collection[str] = (), grouped: bool = False, split: str = ""
) -> dict[str, Trait]:
    """What may be named in a mapping of documents of these kinds; a field of one of them is enough.

    Args:
        effects: the `[[deliver]]`s of the integration, whose write-backs may be named.
        split: the path to the list that a document is split by.
    """
    traits = {**traits_of(Header), **_PLACE, "payload": Trait("object", required=True)}
    for kind in kinds:
        if entity := RECORD_KINDS.get(kind):
            traits |= traits_of(CatalogRecord, "payload.")
            traits |= traits_of(ENTITIES[entity].model, "payload.row.")
        else:
            traits |= traits_of(KINDS[kind], "payload.")
    for name, trait in (("written", Trait("object")), ("refs_written", Trait("list"))):
        traits[name] = trait
        for effect in effects:
            traits[f"{name}.{effect}"] = Trait("object")
            traits |= {f"{name}.{effect}.{field}": one for field, one in _WRITTEN.items()}
    if grouped:
        traits |= _GROUP
    if split:
        traits |= _PART | _element(traits, split)
    return traits


def _element(traits: Mapping[str, Trait], path: str) -> dict[str, Trait]:
    """The fields of `part`: those of the list's elements where its path is plain, else nobody knows them."""
    plain = plain_segments(path)
    prefix = ".".join(plain[1]) + "." if plain else ""
    return {
        f"part.{name.removeprefix(prefix)}": trait
        for name, trait in traits.items()
        if plain and name.startswith(prefix)
    }
