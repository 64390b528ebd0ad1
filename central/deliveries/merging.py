"""The document that a closed group is sent as. Its members are fixed, so it is the same whenever it is made.

Invariant: nothing is counted twice or lost: as many documents are put together as the group has, and their total is
that of the rows which applying made of them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from central.db import attempts, closed_groups
from central.db.database import AnyRow, Database
from central.db.tables.registry import OWN_STORE
from central.deliveries import group_plan
from central.mapping.documents import document_of
from central.mapping.grouping import correction, merge
from shared.canonical import parse_object
from shared.errors import BadInput

PAGE = 1_000
"""Documents read at a time."""


async def merged_document(database: Database, group: AnyRow) -> dict[str, Any]:
    """One document of all of a group's, as mappings see it.

    A correction's `refs_written` is what the other system calls the group that it corrects.

    Raises:
        BadInput: they do not make one, or not one that adds up.
    """
    documents: list[dict[str, Any]] = []
    total_minor, after = 0, 0
    async with database.read() as connection:
        while page := await closed_groups.member_documents(connection, group.group_no, after, PAGE):
            after = page[-1].doc_no
            total_minor += sum(row.total_minor or 0 for row in page)
            # Thousands of receipts: whoever else is on this node's loop goes on meanwhile.
            documents += await asyncio.to_thread(_read, page)
        refs_written = [await _names(connection, group)] if group.correction else []
    if len(documents) != group.size:
        raise BadInput(f"the group has {group.size} documents, and {len(documents)} are there")
    merged = await asyncio.to_thread(_merged, documents, group)
    told_minor = merged["payload"].get("total_minor", 0)
    if told_minor != total_minor:
        raise BadInput(f"the group adds up to {told_minor}, its documents as applied to {total_minor}")
    number = group_plan.name_of(group.group_key, group.correction)
    return {**merged, "number": number, "written": {}, "refs_written": refs_written}


async def _names(connection: AsyncConnection, group: AnyRow) -> dict[str, dict[str, Any]]:
    """What the other system calls the group that this one corrects, by effect."""
    leader = await closed_groups.first_leader(connection, group)
    found = await attempts.written_of(connection, group.integration_no, [leader])
    return {row.effect: {"id": row.id, "number": row.number} for row in found if row.part == 0}


def _read(page: Sequence[AnyRow]) -> list[dict[str, Any]]:
    return [document_of_row(row) for row in page]


def document_of_row(row: AnyRow) -> dict[str, Any]:
    """A stored document as mappings see it.

    Raises:
        BadInput: it cannot be read.
    """
    header = parse_object(row.header, "header")
    payload = json.loads(row.payload, parse_float=Decimal)
    if not isinstance(payload, dict):
        raise BadInput(f"the payload of {header['doc_id']} is not an object")
    # A till that was moved has sold for its earlier store; only its header knows which.
    store = header.get("store") or row.store
    return document_of(header, payload, station=row.station, store=None if store == OWN_STORE else store)


def _merged(documents: Sequence[dict[str, Any]], group: AnyRow) -> dict[str, Any]:
    by = group_plan.by_of(group.group_key)
    if not group.correction:
        return merge(documents, by)
    return correction({"group": group.group_key, "members": []}, documents, by, group.correction)
