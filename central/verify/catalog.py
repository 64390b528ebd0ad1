"""Scopes summed up again (I11, I12): digests, versions, seqs, and the snapshots that are offered."""

from __future__ import annotations

import hashlib

from sqlalchemy.ext.asyncio import AsyncConnection

from central.db import verify as rows
from central.db.database import AnyRow
from central.verify.report import Finding, Report
from central.verify.stored import raw
from shared.canonical import version_of
from shared.digest import Digest, row_hash

PAGE_ROWS = 2_000


async def check_catalog(connection: AsyncConnection, report: Report) -> None:
    """All scopes and their snapshots."""
    for scope in await rows.all_scopes(connection):
        await _scope(connection, scope, report)
    for snapshot in await rows.all_snapshots(connection):
        if snapshot.scope is None:
            report.add(
                Finding("catalog", f"snapshot {snapshot.sha256.hex()} is of a scope that is not there")
            )
            continue
        if snapshot.scope_gen == snapshot.gen and snapshot.seq > snapshot.head:
            what = f"its snapshot says seq {snapshot.seq}, but the head is {snapshot.head}"
            report.add(Finding("catalog", what, scope=snapshot.scope))
        if not await _snapshot_whole(connection, snapshot):
            what = f"snapshot {snapshot.sha256.hex()} does not have the bytes that its name says"
            report.add(Finding("catalog", what, scope=snapshot.scope))
        report.count("snapshots", 1)


async def _scope(connection: AsyncConnection, scope: AnyRow, report: Report) -> None:
    count = total = 0
    seq = 0
    while page := await rows.scope_page(connection, scope.scope_no, seq, PAGE_ROWS):
        seq = page[-1].seq
        for row in page:
            if row.version is None:
                continue
            count += 1
            total += row_hash(row.entity, row.key, raw(row.version))
            if row.payload is None or version_of(raw(row.payload)) != row.version:
                what = f"{row.entity} {row.key}: the payload is not of its version"
                report.add(Finding("catalog", what, scope=scope.scope, seq=row.seq))
        report.count("catalog_rows", len(page))
    computed = Digest().shift(count, total)
    if seq > scope.head:
        report.add(Finding("catalog", f"a row has seq {seq}, above the head {scope.head}", scope=scope.scope))
    if count != scope.rows or computed.total != int.from_bytes(scope.digest, "big"):
        what = f"{count} rows give another digest than the scope's row with {scope.rows} says"
        report.add(
            Finding(
                "catalog", what, scope=scope.scope, hint="stations would fetch the snapshot again and again"
            )
        )
    report.count("scopes", 1)


async def _snapshot_whole(connection: AsyncConnection, snapshot: AnyRow) -> bool:
    digest, size, part = hashlib.sha256(), 0, 0
    while (data := await rows.snapshot_part(connection, snapshot.sha256, part)) is not None:
        digest.update(data)
        size += len(data)
        part += 1
    return bool(size == snapshot.bytes and digest.digest() == snapshot.sha256)
