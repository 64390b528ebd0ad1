"""Chains computed anew from the stored bytes: seqs without a hole (I3), heads that follow (I4), safe points (R6)."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from central.db import verify as rows
from central.db.database import AnyRow
from central.verify.report import Finding, Report
from central.verify.stored import raw
from shared import journal
from shared.canonical import sha256

PAGE_DOCUMENTS = 200


async def check_chain(connection: AsyncConnection, epoch: AnyRow, report: Report) -> None:
    """Walk one epoch from its genesis to its end."""
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
    return sha256(raw(position.header)), sha256(raw(position.payload))
