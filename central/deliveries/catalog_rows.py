"""What is special about rows of the catalog on their way out: the newest counts, and its target's id is the row's.

A row that changed again before it was sent is passed over; so what a row is called over there may stand at any of the
documents before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from central.catalog.record_kinds import OWN_DESK, RECORD_KINDS
from central.db import catalog_records
from central.db import delivery_records as kept
from central.db.database import AnyRow, Database

BACK_MAX = 1_000
"""Documents of one row that were passed over one after the other, at most."""
FORGED = "only the centre itself says what is in its catalog"
Names = dict[bytes, dict[str, dict[str, Any]]]


def is_forged(document: Mapping[str, Any]) -> bool:
    """Whether a till or a foreign system hands in what looks like a row of the catalog."""
    return document["kind"] in RECORD_KINDS and document["station"] != OWN_DESK


async def outdated(
    database: Database,
    connection: AsyncConnection,
    members: Sequence[AnyRow],
    documents: Sequence[Mapping[str, Any]],
) -> set[int]:
    """doc_no of those about whose row there is a newer document."""
    named: dict[str, dict[int, str]] = {}
    for row, document in zip(members, documents, strict=True):
        if document["kind"] in RECORD_KINDS and not is_forged(document):
            payload = document["payload"]
            key = catalog_records.key_of(payload["scope"], payload["key"])
            named.setdefault(document["kind"], {})[row.doc_no] = key
    found: set[int] = set()
    for kind, keys in named.items():
        newest = await catalog_records.newest(database, connection, kind, set(keys.values()))
        found |= keys.keys() - newest
    return found


async def earlier_names(
    connection: AsyncConnection,
    integration_no: int,
    documents: Sequence[Mapping[str, Any]],
    names: Mapping[bytes, Mapping[str, Any]],
) -> Names:
    """What the other system calls the rows of the catalog whose document before was passed over, under its doc_id."""
    asked = {
        bytes.fromhex(ref.replace("-", ""))
        for document in documents
        if document["kind"] in RECORD_KINDS
        for ref in document.get("refs", ())
    } - names.keys()
    found: Names = {}
    trails = {ref: ref for ref in asked}  # where each has got to
    for _ in range(BACK_MAX):
        if not trails:
            break
        before = await catalog_records.refs_of(connection, set(trails.values()))
        trails = {ref: before[at][0] for ref, at in trails.items() if before.get(at)}
        known = await kept.written_names(connection, integration_no, set(trails.values()))
        found |= {ref: known[at] for ref, at in trails.items() if at in known}
        trails = {ref: at for ref, at in trails.items() if at not in known}
    return found
