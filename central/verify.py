"""Prove what the centre's database says about itself: the invariants that stored rows can show.

Everything is read in one consistent view, in pages, while the centre works on. Chains are computed anew from the
stored bytes (I4), seqs are counted (I3), every document must be in exactly one state and have one set of rows that
says what its payload says (I2), and every scope's digest is summed up again (I12). The payload is read here by hand
and not through the code that made the rows, so that one mistake cannot hide the other.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from central.connectors import CONNECTORS
from central.db import deliveries
from central.db import verify as rows
from central.db.database import AnyRow, Database
from central.monitoring import totals
from shared import journal
from shared.canonical import sha256, version_of
from shared.digest import Digest, row_hash
from shared.documents import RECEIPT_KINDS
from shared.ids import EPOCH_BYTES

PAGE_DOCUMENTS = 200
PAGE_ROWS = 2_000
FINDINGS_MAX = 500
"""So many are listed; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that must not be, and where."""

    check: str
    what: str
    station: str | None = None
    epoch: str | None = None
    seq: int | None = None
    doc_id: str | None = None
    scope: str | None = None
    hint: str = ""


@dataclass(slots=True)
class Report:
    """What was looked at, and what was wrong with it."""

    checked: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    more: int = 0

    @property
    def ok(self) -> bool:
        return not self.findings

    def add(self, finding: Finding) -> None:
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(finding)
        else:
            self.more += 1

    def count(self, name: str, number: int) -> None:
        self.checked[name] = self.checked.get(name, 0) + number


async def verify(database: Database, station: str | None = None) -> Report:
    """Check everything, or what one station sent."""
    async with database.read() as connection:
        return await verify_in(connection, station)


async def verify_in(connection: AsyncConnection, station: str | None = None) -> Report:
    """`verify` in the caller's view."""
    report = Report()
    epochs = await rows.all_epochs(connection, station)
    station_codes = {epoch.station_no: epoch.station for epoch in epochs}
    for epoch in epochs:
        await _chain(connection, epoch, report)
    if station is None:
        await _documents(connection, None, station_codes, report)
        await _orphans(connection, report)
        await _deliveries(connection, report)
        await _catalog(connection, report)
    else:
        for station_no in station_codes:
            await _documents(connection, station_no, station_codes, report)
    await _totals(connection, station, report)
    return report


# ---- chains: I3, I4, R6 ----


async def _chain(connection: AsyncConnection, epoch: AnyRow, report: Report) -> None:
    name = epoch.epoch.hex()

    def wrong(what: str, seq: int | None = None, hint: str = "") -> None:
        report.add(Finding("chain", what, station=epoch.station, epoch=name, seq=seq, hint=hint))

    head = journal.genesis(epoch.station, epoch.epoch)
    safe_head = head if epoch.safe_seq == 0 else None
    seq = 0
    while page := await rows.chain_page(connection, epoch.epoch_no, seq, PAGE_DOCUMENTS):
        for position in page:
            whole = position.seq == seq + 1
            if not whole:
                missing = f"{seq + 1}" if position.seq == seq + 2 else f"{seq + 1} to {position.seq - 1}"
                wrong(
                    f"position {missing} is missing", seq + 1, "the station sends it again if it still has it"
                )
            seq = position.seq
            if position.header is None:
                wrong(f"document {position.doc_no} at this position is not stored", seq)
            else:
                computed = journal.link(head, seq, *_hashes(position))
                if whole and computed != position.head:
                    wrong("header or payload does not fit the chain: it was changed after it was stored", seq)
                if position.station_no != epoch.station_no:
                    # Not an alias either: only the same station's equal document may stand at two positions.
                    wrong(f"document {position.doc_no} at this position is another station's", seq)
            head = position.head
            if seq == epoch.safe_seq:
                safe_head = head
        report.count("positions", len(page))
    if seq != epoch.last or (head != epoch.head and seq == epoch.last):
        wrong(f"the chain ends at {seq}, but the epoch's row says {epoch.last} with another head", seq)
    if safe_head != epoch.safe_head:
        wrong(
            f"the safe point {epoch.safe_seq} does not have the head that the chain has there", epoch.safe_seq
        )
    report.count("epochs", 1)


def _hashes(position: AnyRow) -> tuple[bytes, bytes]:
    if position.damaged and position.header_hash is not None:
        return position.header_hash, position.payload_hash
    return sha256(_raw(position.header)), sha256(_raw(position.payload))


# ---- documents: I1, I2 ----


async def _documents(
    connection: AsyncConnection, station_no: int | None, station_codes: dict[int, str], report: Report
) -> None:
    states = await rows.states(connection)
    after = 0
    while page := await rows.documents_page(connection, station_no, after, PAGE_DOCUMENTS):
        after = page[-1].doc_no
        applied = [(row.station_no, row.doc_no) for row in page if row.kind is not None]
        line_sums = await rows.line_sums(connection, applied)
        payment_sums = await rows.payment_sums(connection, applied)
        headers = [_object(row.header) for row in page]
        ids = [_doc_id(header) for header in headers]
        gates = await rows.gates(connection, [doc_id for doc_id in ids if doc_id is not None])
        for row, header, doc_id in zip(page, headers, ids, strict=True):
            station, told_id = station_codes.get(row.station_no), _text(header.get("doc_id"), row.doc_no)
            held_as = states["held"].get(row.doc_no)
            faults = _state(row, states) + _gate(row, doc_id, gates.get(doc_id) if doc_id else None, held_as)
            if row.kind in RECEIPT_KINDS:
                faults += _rows(row, line_sums.get(row.doc_no, (0, 0)), payment_sums.get(row.doc_no, (0, 0)))
            for check, what in faults:
                report.add(Finding(check, what, station=station, doc_id=told_id))
        report.count("documents", len(page))
        report.count("applied", len(applied))


def _state(row: AnyRow, states: dict[str, dict[int, str]]) -> list[tuple[str, str]]:
    found = [name for name, members in states.items() if row.doc_no in members]
    if row.kind is not None:
        found.insert(0, "applied")
    if len(found) == 1:
        return []
    if not found:
        return [
            ("state", "is stored, but neither applied nor pending, waiting, parked or held: it has no effect")
        ]
    return [("state", f"is in more than one state: {', '.join(found)}")]


def _gate(
    row: AnyRow, doc_id: bytes | None, at_gate: AnyRow | None, held_as: str | None
) -> list[tuple[str, str]]:
    if row.damaged or doc_id is None or held_as == "conflict":
        # What nobody can read, or contradicts another document, holds no doc_id.
        if at_gate is not None and at_gate.doc_no == row.doc_no:
            return [("gate", "holds a doc_id at the gate, but is damaged or in conflict")]
        return []
    if at_gate is None:
        return [("gate", "its doc_id is not at the gate: the same document could be taken twice")]
    if at_gate.doc_no != row.doc_no:
        return [("gate", f"document {at_gate.doc_no} holds the same doc_id: one of the two is a double")]
    faults = []
    if at_gate.station_no != row.station_no:
        faults.append(("gate", "the gate names another station for it"))
    if _raw(at_gate.payload_hash) != sha256(_raw(row.sealed)):
        faults.append(("gate", "the gate has another payload hash for it"))
    return faults


def _rows(row: AnyRow, line_sum: tuple[int, int], payment_sum: tuple[int, int]) -> list[tuple[str, str]]:
    payload = _object(row.payload)
    expected_lines = _amounts(payload.get("lines"))
    expected_payments = _amounts(payload.get("payments"))
    faults = []
    if row.total_minor != payload.get("total_minor"):
        faults.append(
            ("rows", f"its row says total {row.total_minor}, its payload {payload.get('total_minor')}")
        )
    for name, stored, expected in (
        ("lines", line_sum, expected_lines),
        ("payments", payment_sum, expected_payments),
    ):
        if stored != expected:
            faults.append(
                (
                    "rows",
                    f"{stored[0]} {name} of {stored[1]} in all are stored, "
                    f"its payload has {expected[0]} of {expected[1]}",
                )
            )
    return faults


def _amounts(items: Any) -> tuple[int, int]:
    if not isinstance(items, list):
        return 0, 0
    return len(items), sum(item.get("amount_minor", 0) for item in items if isinstance(item, dict))


def _raw(stored: bytes | str) -> bytes:
    """The bytes of a column that should hold bytes; a hand edit on SQLite may have left text there."""
    return stored.encode() if isinstance(stored, str) else bytes(stored)


def _object(raw: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(raw)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _doc_id(header: dict[str, Any]) -> bytes | None:
    try:
        raw = bytes.fromhex(header["doc_id"].replace("-", ""))
    except (KeyError, AttributeError, ValueError):
        return None
    return raw if len(raw) == EPOCH_BYTES else None


def _text(doc_id: object, doc_no: int) -> str:
    return doc_id if isinstance(doc_id, str) else f"(document {doc_no})"


async def _orphans(connection: AsyncConnection, report: Report) -> None:
    for table, doc_nos in (await rows.orphans(connection)).items():
        what = "stands at no position of any chain" if table == "bodies" else "has no stored document"
        for doc_no in doc_nos:
            report.add(Finding("state", f"row of table {table}: document {doc_no} {what}"))


# ---- day totals: I1, as the stations see it ----


async def _totals(connection: AsyncConnection, station: str | None, report: Report) -> None:
    for total in await totals.lacking(connection, station):
        code, business_date, kind, currency = total.key
        said, stored = total.station or (0, 0), total.centre
        report.add(
            Finding(
                "totals",
                f"{business_date} {kind} {currency}: the station counts {said[0]} payments of {said[1]} in all, "
                f"the centre has {stored[0]} of {stored[1]}",
                station=code,
                hint="the station says that it has sent all: run `counterflow-agent verify` there",
            )
        )


# ---- deliveries: I2 ----


async def _deliveries(connection: AsyncConnection, report: Report) -> None:
    for doc_no in await rows.unapplied_deliveries(connection):
        report.add(Finding("deliveries", f"document {doc_no} has a delivery but was never applied"))
    for row in await rows.stuck_deliveries(connection):
        batch = (
            f"batch {row.batch_id}, which is done"
            if row.batch_id
            else f"batch {row.batch_no}, which is not there"
        )
        report.add(Finding("deliveries", f"document {row.doc_no} is {row.state} in {batch}"))
    for integration in await rows.active_integrations(connection):
        for doc_no in await _missing(connection, integration):
            report.add(
                Finding(
                    "deliveries",
                    f"document {doc_no} is applied, but {integration.name} was never to get it",
                    hint="the sweep puts this right within a minute; if it stays, see the server's log",
                )
            )
        report.count("integrations", 1)


async def _missing(connection: AsyncConnection, integration: AnyRow) -> list[int]:
    """Applied documents that this integration was never to get, by the question that the sweep asks."""
    connector = CONNECTORS.get(integration.connector)
    if connector is None:
        return []
    effects: dict[str, list[str]] = {}
    for kind in orjson.loads(integration.kinds):
        for effect in connector.effects(kind):
            effects.setdefault(effect, []).append(kind)
    found: list[int] = []
    for effect, kinds in effects.items():
        found += await deliveries.missing(
            connection, integration.integration_no, effect, kinds, integration.from_ms, 0, FINDINGS_MAX
        )
    return found


# ---- catalog: I11, I12 ----


async def _catalog(connection: AsyncConnection, report: Report) -> None:
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
            total += row_hash(row.entity, row.key, _raw(row.version))
            if row.payload is None or version_of(_raw(row.payload)) != row.version:
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
