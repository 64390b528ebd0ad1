"""Prove a journal right, or say what is wrong with it: the invariants that one station's database can show.

I3 positions without a hole, I4 the recomputed chain is the stored one, I5 nothing went that was not safe; every
document fits its hashes and stands at a position; day totals are the sums of their documents. It reads one
consistent view on a connection of its own and changes nothing, so it may run beside a till that sells.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from edge_agent.db.check import Link
from edge_agent.db.reader import JournalReader
from edge_agent.sync.plan import LocalEpoch
from shared.ids import reference
from shared.journal import link


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: which check, where, and what."""

    check: str
    where: str
    what: str


async def verify(journal: JournalReader) -> list[Finding]:
    """All findings of a journal as it is now, worst first; none for one that is whole."""
    async with journal.view() as view:
        findings = [Finding("structure", "journal.db", what) for what in await view.structure()]
        for epoch in await view.epochs():
            findings += await _verify_epoch(view, epoch)
        findings += [
            Finding("positions", f"document {doc_id}", "stands at no position of the journal")
            for doc_id in await view.orphans()
        ]
        findings += [Finding("totals", "day totals", what) for what in await view.wrong_totals()]
    return findings


async def _verify_epoch(journal: JournalReader, epoch: LocalEpoch) -> list[Finding]:
    name = f"epoch {epoch.epoch.hex()}"
    findings: list[Finding] = []
    if epoch.first - 1 > epoch.safe_seq:
        what = f"was purged up to {epoch.first - 1}, but only {epoch.safe_seq} documents are safe"
        findings.append(Finding("purge", name, what))
    head = await journal.head_at(epoch.epoch, epoch.first - 1)
    seq = epoch.first - 1
    while page := await journal.links(epoch.epoch, seq):
        for position in page:
            if position.seq != seq + 1:
                findings.append(
                    Finding("positions", name, f"documents {seq + 1} to {position.seq - 1} are missing")
                )
                head = None
            seq = position.seq
            findings += _verify_document(epoch, position)
            if (
                head is not None
                and position.header_hash is not None
                and position.payload_hash is not None
                and link(head, seq, position.header_hash, position.payload_hash) != position.head
            ):
                findings.append(
                    Finding("chain", f"{name}, document {seq}", "its stored head does not follow from it")
                )
            head = position.head
    if epoch.safe_seq == seq and head is not None and head != epoch.safe_head:
        findings.append(Finding("chain", name, f"the head that the centre has safe at {seq} is another one"))
    return findings


def _verify_document(epoch: LocalEpoch, position: Link) -> list[Finding]:
    where = f"epoch {epoch.epoch.hex()}, document {position.seq} ({reference(epoch.epoch, position.seq)})"
    if position.header is None or position.payload is None:
        # What a folded epoch held is purged with its later position.
        return (
            []
            if epoch.folded
            else [Finding("documents", where, "the position is there, its document is not")]
        )
    wrong = [
        part
        for part, data, recorded in (
            ("header", position.header, position.header_hash),
            ("payload", position.payload, position.payload_hash),
        )
        if hashlib.sha256(data).digest() != recorded
    ]
    return (
        [Finding("documents", where, f"its {' and '.join(wrong)} no longer fit the recorded hash")]
        if wrong
        else []
    )
