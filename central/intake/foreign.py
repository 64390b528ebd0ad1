"""The door for documents of systems that have no agent: posted to the API, pulled by an integration, or our catalog's.

A foreign system gets its answer at once: what is refused is refused in the reply, nothing waits in a list for it.
Each outlet of a source has a *desk*: a row among the stations, with a chain that the centre seals itself, so that all
that holds for a station's documents holds for these (ADR 7). Invariants: document, key and answer are committed
together; a repeated request gets the first answer; doc_ids follow from what was said, so that what is handed in again
to a centre that came back from a backup is the same document to every system behind it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from central.catalog.record_kinds import OWN_DESK
from central.db import foreign as rows
from central.db import journal as journal_rows
from central.db import stores
from central.db.database import AnyRow, Database
from central.db.failures import came_second
from central.intake.accept import Stored
from central.intake.duplicates import Known, Outcome, Policy, decide, key_of, policies_of
from central.intake.numbers import DocNumbers
from central.intake.submitted import (
    Answer,
    Read,
    Request,
    Taken,
    code_of,
    doc_id_of,
    envelope,
    header_of,
    read_request,
)
from shared import journal
from shared.canonical import canonical, sha256
from shared.clock import from_rfc3339
from shared.errors import BadInput, Conflict, CounterflowError, NotFound, TooLarge
from shared.faultpoints import reach
from shared.ids import EPOCH_BYTES

TAKEN_TOGETHER_MAX = 500
"""Documents of one transaction."""


@dataclass(slots=True)
class _Going:
    """One transaction: the desks that it has locked, and what it has stored."""

    connection: AsyncConnection
    now_ms: int
    desks: dict[str, rows.Desk] = field(default_factory=dict)
    stored: list[Stored] = field(default_factory=list)


class ForeignDocuments:
    """Takes what foreign systems hand in."""

    def __init__(
        self,
        database: Database,
        numbers: DocNumbers,
        centre_id: str,
        hand_over: Callable[[Sequence[Stored]], None],
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._database = database
        self._numbers = numbers
        self._centre_id = centre_id
        self._hand_over = hand_over
        self._random_bytes = random_bytes

    async def take(self, request: Request) -> Answer:
        """Take one document.

        Raises:
            BadInput: it cannot be taken as it is, or its Idempotency-Key stands for another request.
            Conflict: `duplicate-document`, with the `doc_id` of the one that is here.
            NotFound: there is no such outlet.
        """
        (answer,) = await self.take_all([request])
        if isinstance(answer, CounterflowError):
            raise answer
        return answer

    async def take_all(self, requests: Sequence[Request]) -> list[Answer | CounterflowError]:
        """Take up to `TAKEN_TOGETHER_MAX` documents in one transaction; each has its own answer or refusal."""
        assert len(requests) <= TAKEN_TOGETHER_MAX
        read = [_tried(request) for request in requests]

        async def work(connection: AsyncConnection) -> tuple[list[Answer | CounterflowError], list[Stored]]:
            going = _Going(connection, await self._database.now_ms(connection))
            answers: list[Answer | CounterflowError] = []
            for one in read:
                if isinstance(one, Read):
                    answers.append(await self._answer(going, one))
                else:
                    answers.append(one)
            reach("foreign.before_commit")
            return answers, going.stored

        try:
            answers, stored = await self._database.run(work, retry=came_second)
        except BaseException:
            self._numbers.forget()
            raise
        reach("foreign.after_commit")
        if stored:
            self._hand_over(stored)
        return answers

    async def _answer(self, going: _Going, read: Read) -> Answer | CounterflowError:
        """The answer to one request; a refusal leaves nothing behind but the count of duplicates."""
        key = read.request.key
        try:
            desk = await self._desk(going, read.request)
            if key is not None:
                known = await rows.answered(going.connection, desk.station_no, key)
                if known is not None:
                    return _first_answer(known, read)
            taken = await self._take(going, read, desk)
        except CounterflowError as refusal:
            return refusal
        body = canonical(taken.model_dump())
        answer = Answer(201 if taken.outcome in ("accepted", "updated") else 200, body, repeated=False)
        if key is not None:
            values = {"request_hash": read.content_hash, "status": answer.status, "answer": body}
            values |= {"station_no": desk.station_no, "key": key, "at_ms": going.now_ms}
            await rows.add_answer(going.connection, values)
        return answer

    async def _desk(self, going: _Going, request: Request) -> rows.Desk:
        code = code_of(request.source, request.outlet)
        desk = going.desks.get(code) or await rows.lock_desk(going.connection, code)
        if desk is None:
            store = (
                await rows.own_store(self._database, going.connection)
                if request.source == OWN_DESK
                else await stores.store_by_code(going.connection, request.outlet)
            )
            if store is None:
                raise NotFound(
                    f'there is no store "{request.outlet}"',
                    hint="HQ makes it: `counterflow-central stores add`",
                )
            epoch = self._random_bytes(EPOCH_BYTES)
            first = journal.genesis(code, epoch)
            desk = await rows.add_desk(going.connection, code, store, epoch, first, going.now_ms)
        going.desks[code] = desk
        return desk

    async def _take(self, going: _Going, read: Read, desk: rows.Desk) -> Taken:
        connection = going.connection
        source, submitted = read.request.source, read.request.submitted
        policy = read.request.policy or await self._policy(connection, source, submitted.kind)
        if policy.duplicate == "off":
            # Nothing but the request's own name, or what it says, tells it from another one.
            named = read.request.key or submitted.source_id or submitted.number
            doc_id = self._doc_id(read, desk.store, named)
            taken, _ = await self._store(going, read, desk, doc_id, None)
            return taken
        key = key_of(policy, envelope(read.request), read.payload)
        key_hash = sha256(key.encode())
        known = await rows.known_key(connection, source, submitted.kind, key_hash)
        of_key = Known(known.doc_no, known.version, bytes(known.content_hash)) if known is not None else None
        outcome = decide(policy, of_key, read.content_hash)
        if known is not None and outcome in (Outcome.REFUSED, Outcome.SKIPPED, Outcome.UNCHANGED):
            if outcome is not Outcome.UNCHANGED:
                values = {"repeats": known.repeats + 1, "repeated_ms": going.now_ms}
                await rows.change_key(connection, known, values)
            here = orjson.loads(await rows.header_of(connection, known.doc_no))
            if outcome is Outcome.REFUSED:
                raise _duplicate(here, key)
            return Taken(
                doc_id=here["doc_id"], kind=here["kind"], number=here["number"], outcome=outcome.value
            )
        version = known.version + 1 if known is not None else 1
        doc_id = self._doc_id(read, key, str(version))
        replaced = (
            orjson.loads(await rows.header_of(connection, known.doc_no))["doc_id"]
            if known is not None
            else None
        )
        taken, doc_no = await self._store(going, read, desk, doc_id, replaced)
        newest = {
            "doc_no": doc_no,
            "version": version,
            "content_hash": read.content_hash,
        }
        if known is not None:
            await rows.change_key(connection, known, newest)
        else:
            named_by = {"source": source, "kind": submitted.kind, "key_hash": key_hash, "key": key}
            await rows.add_key(connection, {**named_by, **newest})
        return taken

    def _doc_id(self, read: Read, *named: str) -> UUID:
        request = read.request
        return doc_id_of(
            self._centre_id, request.source, request.submitted.kind, *named, read.content_hash.hex()
        )

    async def _policy(self, connection: AsyncConnection, source: str, kind: str) -> Policy:
        text = await rows.policies(connection, source)
        return policies_of(text).get(kind, Policy()) if text is not None else Policy()

    async def _store(
        self, going: _Going, read: Read, desk: rows.Desk, doc_id: UUID, replaced: str | None
    ) -> tuple[Taken, int]:
        """Seal the document behind the desk's chain and let it be applied; the same one again changes nothing."""
        submitted = read.request.submitted
        time_ms = from_rfc3339(submitted.time) if submitted.time else going.now_ms
        taken = Taken(
            doc_id=str(doc_id),
            kind=submitted.kind,
            number=submitted.number,
            outcome="updated" if replaced else "accepted",
            replaces=replaced,
        )
        if (here := await rows.at_gate(going.connection, doc_id.bytes)) is not None:
            return taken.model_copy(update={"outcome": "unchanged"}), here
        header = header_of(read, taken, desk.store, desk.zone, time_ms)
        header_bytes = canonical(header)
        if len(header_bytes) + len(read.payload_bytes) > journal.DOCUMENT_MAX_BYTES:
            raise TooLarge(
                f"the document has {len(header_bytes) + len(read.payload_bytes)} bytes; "
                f"at most {journal.DOCUMENT_MAX_BYTES} can be sealed",
                hint="attach pictures and the like elsewhere",
            )
        transaction = self._database.within(going.connection)
        doc_no = next(await self._numbers.draw(transaction, 1))
        sealed = journal.seal(desk.head, desk.last + 1, header_bytes, read.payload_bytes)
        new = journal_rows.NewRows([], [], [], [], [], [], [])
        new.journal.append((desk.epoch_no, sealed.seq, doc_no, sealed.head))
        new.bodies.append((doc_no, desk.station_no, going.now_ms, False, sealed.header, sealed.payload))
        new.gate.append((doc_id.bytes, doc_no, desk.station_no, sealed.payload_hash))
        new.pending.append((doc_no,))
        new.epochs.append((sealed.seq, sealed.head, 0, going.now_ms, desk.epoch_no))
        await journal_rows.store(transaction, new)
        desk.last, desk.head = sealed.seq, sealed.head
        going.stored.append(Stored(doc_no, desk.station_no, going.now_ms, header, sealed.payload))
        return taken, doc_no


def _tried(request: Request) -> Read | CounterflowError:
    try:
        return read_request(request)
    except CounterflowError as refusal:
        return refusal


def _first_answer(known: AnyRow, read: Read) -> Answer:
    if bytes(known.request_hash) != read.content_hash:
        raise BadInput(
            f'the Idempotency-Key "{read.request.key}" was used before, for a request with another content',
            hint="repeat a request unchanged; give every new document a new key",
            code="idempotency-mismatch",
        )
    return Answer(known.status, bytes(known.answer), repeated=True)


def _duplicate(here: dict[str, Any], key: str) -> Conflict:
    return Conflict(
        f"this {here['kind']} is here already, as {here['doc_id']} with the number {here['number']}: "
        f"its key is {key}",
        hint="HQ says what counts as a duplicate and what happens with one: `counterflow-central sources policy`",
        code="duplicate-document",
        doc_id=here["doc_id"],
        number=here["number"],
    )
