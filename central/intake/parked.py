"""Repair of parked documents, many at once: correct what they share, then try them again.

What the till sealed is never changed: a corrected payload is kept beside it and applied in its place. Each attempt is
counted and told in the document's history. Rule: a document leaves `parked` in the same transaction that applies it
(or makes it wait), so it is always in exactly one state; the line of the audit trail is in that transaction too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from central import audit
from central.db import apply as db
from central.db.database import Database, chunks
from central.db.failures import is_at_fault
from central.db.transactions import Transaction
from central.intake.apply import Ready, Targets, header_of, make_ready, plan
from shared.canonical import canonical
from shared.errors import BadInput

CHUNK = 500
"""Documents repaired in one transaction."""
HISTORY_MAX = 50
"""Entries of a document's history; the oldest but the first are dropped."""

_STEP = re.compile(r"([^.\[\]]+)|\[(\d+|\*)\]")


@dataclass(frozen=True, slots=True)
class Repaired:
    """How a repair went: documents tried, and of them applied (or waiting for another one), and still parked."""

    tried: int = 0
    applied: int = 0
    still_parked: int = 0

    def plus(self, other: Repaired) -> Repaired:
        return Repaired(
            self.tried + other.tried, self.applied + other.applied, self.still_parked + other.still_parked
        )


@dataclass(frozen=True, slots=True)
class Correction:
    """What is done to each payload before it is tried again; nothing of both: only try again."""

    values: Mapping[str, Any] | None = None
    payload: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class _Attempt:
    choice: db.Choice
    after: int
    correction: Correction
    who: str


class Parked:
    """Repairs, as HQ asks for them."""

    def __init__(self, database: Database, targets: Targets) -> None:
        self._database = database
        self._targets = targets

    async def repair(
        self,
        *,
        reason: str | None = None,
        doc_nos: Sequence[int] | None = None,
        correction: Correction | None = None,
        who: str,
    ) -> Repaired:
        """Correct and try again the parked documents of one reason, or those named.

        Raises:
            BadInput: a path of the correction cannot be read.
        """
        correction = correction or Correction()
        for path in correction.values or {}:
            parse_path(path)
        total = Repaired()
        for part in chunks(doc_nos, CHUNK) if doc_nos is not None else [None]:
            choice, after = db.Choice(reason, part), 0
            while True:
                attempt = _Attempt(choice, after, correction, who)
                after, done = await self._database.transact(
                    lambda transaction, attempt=attempt: self._repair(transaction, attempt)  # type: ignore[misc]
                )
                if after == 0:
                    break
                total = total.plus(done)
        return total

    async def _repair(self, transaction: Transaction, attempt: _Attempt) -> tuple[int, Repaired]:
        """The last number of the documents that were tried (0 when there were none), and what became of them."""
        rows = await db.parked_rows(transaction, attempt.choice, attempt.after, CHUNK)
        if not rows:
            return 0, Repaired()
        now_ms = await transaction.now_ms()
        batch: list[Ready] = []
        repaired = []
        for body in await db.bodies_of(transaction, [row.doc_no for row in rows]):
            payload = corrected(body.payload, attempt.correction)
            if payload != body.payload:
                repaired.append((body.doc_no, payload, attempt.who, now_ms))
            batch.append(make_ready(body.doc_no, body.station_no, header_of(body.header), payload))
        await db.put_repairs(transaction, repaired)
        failed = await self._try(transaction, batch, now_ms)
        again = []
        for row in rows:
            if row.doc_no in failed:
                why, detail = failed[row.doc_no]
                history = told(row.history, now_ms, f"tried again by {attempt.who}: {detail}")
                again.append(
                    row._replace(reason=why, detail=detail, attempts=row.attempts + 1, history=history)
                )
        gone = [row.doc_no for row in rows if row.doc_no not in failed]
        await db.settle_parked(transaction, gone, again)
        await audit.record_within(
            transaction, now_ms, attempt.who, "parked.repair", _act(attempt, rows, len(gone))
        )
        return rows[-1].doc_no, Repaired(len(rows), len(gone), len(again))

    async def _try(
        self, transaction: Transaction, batch: Sequence[Ready], now_ms: int
    ) -> dict[int, tuple[str, str]]:
        """Apply what can be; returns reason and detail of what cannot."""
        refs = {ref for ready in batch for ref in ready.refs}
        applied = await db.applied_ids(transaction, refs) if refs else set()
        new = plan(batch, applied, self._targets, now_ms)
        failed = {row[0]: (row[1], row[2]) for row in new.parked}
        new.parked = []
        try:
            async with transaction.savepoint():
                await db.store(transaction, new)
        except Exception as error:
            if not is_at_fault(error):
                raise
            if len(batch) == 1:
                return {
                    batch[0].doc_no: (f"the database refused it: {type(error).__name__}", str(error)[:2_000])
                }
            failed = {}
            for ready in batch:
                failed |= await self._try(transaction, [ready], now_ms)
        return failed


def _act(attempt: _Attempt, rows: Sequence[db.ParkedRow], applied: int) -> dict[str, Any]:
    """What the audit trail says of it."""
    correction = {"set": attempt.correction.values, "payload": attempt.correction.payload}
    return {
        "reason": attempt.choice.reason,
        "doc_nos": [row.doc_no for row in rows],
        **{name: dict(given) for name, given in correction.items() if given is not None},
        "applied": applied,
    }


def told(history: str, at_ms: int, what: str) -> str:
    """The history with one more entry."""
    entries = [*orjson.loads(history), {"at_ms": at_ms, "what": what[:500]}]
    if len(entries) > HISTORY_MAX:
        entries = [entries[0], *entries[-HISTORY_MAX + 1 :]]
    return canonical(entries).decode()


def corrected(payload: bytes, correction: Correction) -> bytes:
    """The payload after a correction; as it was where that changes nothing or it cannot be read."""
    if correction.payload is not None:
        return canonical(dict(correction.payload))
    if not correction.values:
        return payload
    try:
        content = orjson.loads(payload)
    except ValueError:
        return payload
    changed = [put(content, parse_path(path), value) for path, value in correction.values.items()]
    return canonical(content) if any(changed) else payload


def parse_path(path: str) -> list[str | int]:
    """`lines[*].product` as its steps.

    Raises:
        BadInput: not a path.
    """
    steps: list[str | int] = []
    at = 0
    while at < len(path):
        match = _STEP.match(path, at)
        if match is None:
            break
        name, index = match.groups()
        steps.append(name if name is not None else index if index == "*" else int(index))
        at = match.end()
        if at < len(path) - 1 and path[at] == ".":
            at += 1
    if at < len(path) or not steps:
        raise BadInput(
            f'"{path}" is not a path',
            hint='write it like "customer", "lines[0].product" or "lines[*].product"',
        )
    return steps


def put(
    content: Any,
    steps: Sequence[str | int],
    value: Any,
    *,
    everywhere: bool = False,
    only_where_unfit: bool = False,
) -> bool:
    """Put *value* at a path; below a `[*]` only where it is missing or of another type. Returns whether it changed.

    Args:
        everywhere: below a `[*]` too, whatever stands there.
    """
    step, rest = steps[0], steps[1:]
    if step == "*":
        if not isinstance(content, list):
            return False
        changed = [
            put(content, [at, *rest], value, everywhere=everywhere, only_where_unfit=not everywhere)
            for at in range(len(content))
        ]
        return any(changed)
    if isinstance(step, int):
        if not isinstance(content, list) or step >= len(content):
            return False
        old = content[step]
    elif isinstance(content, dict):
        old = content.get(step)
    else:
        return False
    if rest:
        return put(old, rest, value, everywhere=everywhere, only_where_unfit=only_where_unfit)
    if old == value or (only_where_unfit and type(old) is type(value)):
        return False
    content[step] = value
    return True
