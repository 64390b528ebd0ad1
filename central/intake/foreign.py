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
from contextlib import suppress
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from central.catalog.record_kinds import OWN_DESK
from central.db import foreign as rows
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
from central.intake.taking import Key, Named, Taking
from shared import journal
from shared.canonical import canonical, sha256
from shared.clock import from_rfc3339
from shared.errors import BadInput, Conflict, CounterflowError, NotFound, TooLarge
from shared.faultpoints import reach
from shared.ids import EPOCH_BYTES

TAKEN_TOGETHER_MAX = 500
"""Documents of one transaction."""


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
            taking = Taking(self._database, connection, await self._database.now_ms(connection))
            await self._look_up(taking, [one for one in read if isinstance(one, Read)])
            answers: list[Answer | CounterflowError] = []
            for left, one in zip(range(len(read), 0, -1), read, strict=True):
                if isinstance(one, Read):
                    answers.append(await self._answer(taking, one, left))
                else:
                    answers.append(one)
            await taking.store()
            reach("foreign.before_commit")
            return answers, taking.stored

        try:
            answers, stored = await self._database.run(work, retry=came_second)
        except BaseException:
            self._numbers.forget()
            raise
        reach("foreign.after_commit")
        if stored:
            self._hand_over(stored)
        return answers

    async def _look_up(self, taking: Taking, reads: Sequence[Read]) -> None:
        """Ask for all of them together what each would ask for by itself, desks first."""
        named: dict[Named, tuple[Read, str]] = {}
        for read in reads:
            with suppress(CounterflowError):  # its own answer will say so
                await self._desk(taking, read.request)
                policy = await self._policy(taking, read.request)
                if policy.duplicate != "off":
                    key = key_of(policy, envelope(read.request), read.payload)
                    named[_named(read, key)] = read, key
        await taking.look_up_keys(named)
        doc_ids = []
        for one, (read, key) in named.items():
            known = await taking.key(one)
            doc_ids.append(self._doc_id(read, key, str(known.values["version"] + 1 if known else 1)).bytes)
        await taking.look_up_gate(doc_ids)

    async def _answer(self, taking: Taking, read: Read, left: int) -> Answer | CounterflowError:
        """The answer to one request; a refusal leaves nothing behind but the count of duplicates."""
        key = read.request.key
        try:
            desk = await self._desk(taking, read.request)
            if key is not None:
                known = await rows.answered(taking.connection, desk.station_no, key)
                if known is not None:
                    return _first_answer(known, read)
            taken = await self._take(taking, read, desk, left)
        except CounterflowError as refusal:
            return refusal
        body = canonical(taken.model_dump())
        answer = Answer(201 if taken.outcome in ("accepted", "updated") else 200, body, repeated=False)
        if key is not None:
            values = {"request_hash": read.content_hash, "status": answer.status, "answer": body}
            values |= {"station_no": desk.station_no, "key": key, "at_ms": taking.now_ms}
            await rows.add_answer(taking.connection, values)
        return answer

    async def _desk(self, taking: Taking, request: Request) -> rows.Desk:
        code = code_of(request.source, request.outlet)
        desk = taking.desks.get(code) or await rows.lock_desk(taking.connection, code)
        if desk is None:
            store = (
                await rows.own_store(self._database, taking.connection)
                if request.source == OWN_DESK
                else await stores.store_by_code(taking.connection, request.outlet)
            )
            if store is None:
                raise NotFound(
                    f'there is no store "{request.outlet}"',
                    hint="HQ makes it: `counterflow-central stores add`",
                )
            epoch = self._random_bytes(EPOCH_BYTES)
            first = journal.genesis(code, epoch)
            desk = await rows.add_desk(taking.connection, code, store, epoch, first, taking.now_ms)
        taking.desks[code] = desk
        return desk

    async def _take(self, taking: Taking, read: Read, desk: rows.Desk, left: int) -> Taken:
        submitted = read.request.submitted
        policy = await self._policy(taking, read.request)
        if policy.duplicate == "off":
            # Nothing but the request's own name, or what it says, tells it from another one.
            named_by = read.request.key or submitted.source_id or submitted.number
            doc_id = self._doc_id(read, desk.store, named_by)
            taken, _, _ = await self._store(taking, read, desk, doc_id, None, left)
            return taken
        key = key_of(policy, envelope(read.request), read.payload)
        named = _named(read, key)
        known = await taking.key(named)
        here = known.header if known is not None else None
        outcome = decide(policy, _known(known), read.content_hash)
        if known is not None and outcome in (Outcome.REFUSED, Outcome.SKIPPED, Outcome.UNCHANGED):
            assert here is not None
            if outcome is not Outcome.UNCHANGED:
                taking.count_repeat(known)
            if outcome is Outcome.REFUSED:
                raise _duplicate(here, key)
            return Taken(
                doc_id=here["doc_id"], kind=here["kind"], number=here["number"], outcome=outcome.value
            )
        version = known.values["version"] + 1 if known is not None else 1
        doc_id = self._doc_id(read, key, str(version))
        replaced = here["doc_id"] if here is not None else None
        taken, doc_no, header = await self._store(taking, read, desk, doc_id, replaced, left)
        newest = {"doc_no": doc_no, "version": version, "content_hash": read.content_hash}
        taking.set_key(named, key, newest, header)
        return taken

    def _doc_id(self, read: Read, *named: str) -> UUID:
        request = read.request
        return doc_id_of(
            self._centre_id, request.source, request.submitted.kind, *named, read.content_hash.hex()
        )

    async def _policy(self, taking: Taking, request: Request) -> Policy:
        if request.policy is not None:
            return request.policy
        if request.source not in taking.policies:
            taking.policies[request.source] = await rows.policies(taking.connection, request.source)
        text = taking.policies[request.source]
        return policies_of(text).get(request.submitted.kind, Policy()) if text is not None else Policy()

    async def _store(
        self, taking: Taking, read: Read, desk: rows.Desk, doc_id: UUID, replaced: str | None, left: int
    ) -> tuple[Taken, int, dict[str, Any]]:
        """Seal the document behind the desk's chain and let it be applied; the same one again changes nothing.

        Returns:
            what became of it, its number and its header.
        """
        submitted = read.request.submitted
        time_ms = from_rfc3339(submitted.time) if submitted.time else taking.now_ms
        taken = Taken(
            doc_id=str(doc_id),
            kind=submitted.kind,
            number=submitted.number,
            outcome="updated" if replaced else "accepted",
            replaces=replaced,
        )
        header = header_of(read, taken, desk.store, desk.zone, time_ms)
        if (here := await taking.at_gate(doc_id.bytes)) is not None:
            return taken.model_copy(update={"outcome": "unchanged"}), here, header
        header_bytes = canonical(header)
        if len(header_bytes) + len(read.payload_bytes) > journal.DOCUMENT_MAX_BYTES:
            raise TooLarge(
                f"the document has {len(header_bytes) + len(read.payload_bytes)} bytes; "
                f"at most {journal.DOCUMENT_MAX_BYTES} can be sealed",
                hint="attach pictures and the like elsewhere",
            )
        doc_no = await taking.number(self._numbers, left)
        sealed = journal.seal(desk.head, desk.last + 1, header_bytes, read.payload_bytes)
        desk.last, desk.head = sealed.seq, sealed.head
        stored = Stored(doc_no, desk.station_no, taking.now_ms, header, sealed.payload)
        taking.add(desk, stored, sealed.header, sealed.payload_hash, doc_id.bytes)
        return taken, doc_no, header


def _tried(request: Request) -> Read | CounterflowError:
    try:
        return read_request(request)
    except CounterflowError as refusal:
        return refusal


def _named(read: Read, key: str) -> Named:
    return read.request.source, read.request.submitted.kind, sha256(key.encode())


def _known(key: Key | None) -> Known | None:
    if key is None:
        return None
    values = key.values
    return Known(values["doc_no"], values["version"], bytes(values["content_hash"]))


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
