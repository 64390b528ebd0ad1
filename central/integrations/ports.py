"""What pulls work with, as the centre has it: cross-reference, door for documents, rate budget."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pydantic
from sqlalchemy.ext.asyncio import AsyncConnection

from central import codes
from central.db.database import Database
from central.deliveries.budgets import Budgets
from central.intake.duplicates import Policy
from central.intake.foreign import TAKEN_TOGETHER_MAX, ForeignDocuments
from central.intake.submitted import Request, Submitted
from central.integrations.definition import Pull
from central.integrations.integration import Integration
from central.integrations.mapping.lookups import LookUp
from central.integrations.pull_run import Ports
from central.integrations.taking import PublishPort
from shared.clock import Clock
from shared.errors import BadInput, CounterflowError
from shared.protocol.problems import from_validation

ENVELOPE = ("number", "business_date", "time")
"""Mapped fields of a document that stand beside its payload, as `outlet` does."""


class OurCodes:
    """Their codes in, ours out; what nobody knows goes on the list of the unmatched."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def look_up(self, connection: AsyncConnection, wanted: Collection[LookUp]) -> Mapping[LookUp, str]:
        return await codes.look_up_ours(connection, wanted)

    async def miss(self, wanted: Collection[LookUp]) -> None:
        async def work(connection: AsyncConnection) -> None:
            await codes.miss(self._database, connection, wanted, way="in")

        await self._database.run(work)

    async def learn(self, system: str, kind: str, pairs: Collection[tuple[str, str]], by: str) -> None:
        matches = [codes.Match(kind, ours, theirs) for ours, theirs in pairs]

        async def work(connection: AsyncConnection) -> None:
            await codes.note(self._database, connection, system, matches, by=by)

        await self._database.run(work)


class Door:
    """Records of another system become documents, by the pull's own duplicate policy."""

    def __init__(self, foreign: ForeignDocuments) -> None:
        self._foreign = foreign

    async def __call__(
        self, integration: Integration, pull: Pull, made: Sequence[tuple[str, dict[str, Any]]]
    ) -> Sequence[str | CounterflowError]:
        answers: list[str | CounterflowError] = []
        requests: list[Request] = []
        places: list[int] = []
        for place, (source_id, values) in enumerate(made):
            try:
                requests.append(_request(integration, pull, source_id, values))
                places.append(place)
                answers.append("")
            except CounterflowError as error:
                answers.append(error)
        for start in range(0, len(requests), TAKEN_TOGETHER_MAX):
            part = requests[start : start + TAKEN_TOGETHER_MAX]
            for place, answer in zip(places[start:], await self._foreign.take_all(part), strict=False):
                answers[place] = answer if isinstance(answer, CounterflowError) else answer.taken.outcome
        return answers


def _request(integration: Integration, pull: Pull, source_id: str, values: dict[str, Any]) -> Request:
    assert pull.document is not None
    rest = dict(values)
    outlet = rest.pop("outlet", None) or pull.outlet
    if not outlet:
        raise BadInput(
            "outlet: the document says of no store that it happened there", hint="map the field outlet"
        )
    envelope = {name: rest.pop(name) for name in ENVELOPE if name in rest}
    try:
        submitted = Submitted.model_validate(
            {"kind": pull.document, "number": source_id, "payload": rest, "source_id": source_id} | envelope
        )
    except pydantic.ValidationError as error:
        raise from_validation(error, pull.document) from None
    policy = Policy(duplicate=pull.duplicate, key=list(pull.duplicate_key))
    return Request(integration.name, str(outlet), submitted, None, policy)


class Paced:
    """Reads share the credential's budget with deliveries and with other nodes."""

    def __init__(self, budgets: Budgets, clock: Clock) -> None:
        self._budgets = budgets
        self._clock = clock

    async def __call__(self, integration: Integration) -> None:
        while wait_s := await self._budgets.spend(integration.definition.budget, 1):
            await self._clock.sleep(wait_s)


def ports_of(database: Database, publisher: PublishPort, foreign: ForeignDocuments, clock: Clock) -> Ports:
    """The centre's own."""
    return Ports(database, publisher, OurCodes(database), Door(foreign), Paced(Budgets(database), clock))
