"""Every document in exactly one state, at the gate once, with one set of rows that says what its payload says (I1, I2).

The payload is read here by hand and not through the code that made the rows, so that one mistake cannot hide the other.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from central.db import verify as rows
from central.db.database import AnyRow
from central.verify.report import Finding, Report
from central.verify.stored import as_object, doc_id_of, raw
from shared.canonical import sha256
from shared.documents import GOODS_KINDS, PAPER_KINDS, RECEIPT_KINDS

PAGE_DOCUMENTS = 200
_PAPER = {
    True: "has a row of orders, stock and money documents, but is none",
    False: "is an order, stock or money document without its own row",
}


async def check_documents(
    connection: AsyncConnection, station_no: int | None, station_codes: dict[int, str], report: Report
) -> None:
    states = await rows.states(connection)
    after = 0
    while page := await rows.documents_page(connection, station_no, after, PAGE_DOCUMENTS):
        after = page[-1].doc_no
        applied = [(row.station_no, row.doc_no) for row in page if row.kind is not None]
        line_sums = await rows.line_sums(connection, applied)
        payment_sums = await rows.payment_sums(connection, applied)
        headers = [as_object(row.header) for row in page]
        ids = [doc_id_of(header) for header in headers]
        gates = await rows.gates(connection, [doc_id for doc_id in ids if doc_id is not None])
        for row, header, doc_id in zip(page, headers, ids, strict=True):
            station, told_id = station_codes.get(row.station_no), _text(header.get("doc_id"), row.doc_no)
            kept = _kept_apart(row.doc_no, states)
            faults = _state(row, states) + _gate(row, doc_id, gates.get(doc_id) if doc_id else None, kept)
            if (row.kind in PAPER_KINDS) != (row.paper is not None):
                faults.append(("rows", _PAPER[row.paper is not None]))
            if row.kind in RECEIPT_KINDS or row.kind in GOODS_KINDS:
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
            (
                "state",
                "is stored, but neither applied nor anywhere else where it would be kept: it has no effect",
            )
        ]
    return [("state", f"is in more than one state: {', '.join(found)}")]


def _kept_apart(doc_no: int, states: dict[str, dict[int, str]]) -> bool:
    """Whether it has no place at the gate: damaged or in conflict until HQ decides, or discarded for good."""
    return doc_no in states["discarded"] or states["held"].get(doc_no) in ("conflict", "damaged")


def _gate(
    row: AnyRow, doc_id: bytes | None, at_gate: AnyRow | None, kept_apart: bool
) -> list[tuple[str, str]]:
    if doc_id is None or kept_apart:
        if at_gate is not None and at_gate.doc_no == row.doc_no:
            return [("gate", "holds a doc_id at the gate, but is damaged, in conflict or discarded")]
        return []
    if at_gate is None:
        return [("gate", "its doc_id is not at the gate: the same document could be taken twice")]
    if at_gate.doc_no != row.doc_no:
        return [("gate", f"document {at_gate.doc_no} holds the same doc_id: one of the two is a double")]
    faults = []
    if at_gate.station_no != row.station_no:
        faults.append(("gate", "the gate names another station for it"))
    if raw(at_gate.payload_hash) != (row.recorded_hash or sha256(raw(row.sealed))):
        faults.append(("gate", "the gate has another payload hash for it"))
    return faults


def _rows(row: AnyRow, line_sum: tuple[int, int], payment_sum: tuple[int, int]) -> list[tuple[str, str]]:
    payload = as_object(row.payload)
    expected_lines = _amounts(payload.get("lines"))
    expected_payments = _amounts(payload.get("payments")) if row.kind in RECEIPT_KINDS else (0, 0)
    faults = []
    if row.total_minor != payload.get("total_minor", 0 if row.kind in GOODS_KINDS else None):
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
    amounts = [item.get("amount_minor") for item in items if isinstance(item, dict)]
    return len(items), sum(amount for amount in amounts if isinstance(amount, int))


def _text(doc_id: object, doc_no: int) -> str:
    return doc_id if isinstance(doc_id, str) else f"(document {doc_no})"


async def check_orphans(connection: AsyncConnection, report: Report) -> None:
    """Nothing may speak of a document that is not there."""
    for table, doc_nos in (await rows.orphans(connection)).items():
        what = "stands at no position of any chain" if table == "bodies" else "has no stored document"
        for doc_no in doc_nos:
            report.add(Finding("state", f"row of table {table}: document {doc_no} {what}"))
