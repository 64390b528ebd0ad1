"""A document as mappings, filters and groups see it: the header's fields, where it was made, and the payload inside.

So `{{store}}`, `{{business_date}}`, `{{payload.total_minor}}`, and `each = "payload.lines"`. A group of documents has
the same form with `members` (links back) beside it, and a part of a split one has `part`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from central.connectors.base import Trait
from central.integrations.mapping.names import traits_of
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
    kinds: Collection[str], *, grouped: bool = False, split: bool = False
) -> dict[str, Trait]:
    """What may be named in a mapping of documents of these kinds; a field of one of them is enough."""
    traits = {**traits_of(Header), **_PLACE, "payload": Trait("object", required=True)}
    for kind in kinds:
        traits |= traits_of(KINDS[kind], "payload.")
    return traits | (_GROUP if grouped else {}) | (_PART if split else {})
