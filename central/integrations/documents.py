"""Documents that an integration reads go through the same door as those that are posted.

A mapped record is the payload of its kind; the fields `number`, `business_date`, `time` and `outlet`, which no payload
has, are the envelope's. The integration's name is the source; its pull says what is done with duplicates (S3).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pydantic

from central.db.database import chunks
from central.intake.duplicates import Policy
from central.intake.foreign import TAKEN_TOGETHER_MAX, ForeignDocuments
from central.intake.submitted import Request, Submitted
from central.integrations.definition import Pull
from central.integrations.integration import Integration
from shared.documents.masking import without_cards
from shared.errors import BadInput, CounterflowError
from shared.protocol.problems import from_validation

ENVELOPE = ("number", "business_date", "time")


class PulledDocuments:
    """The port of a pull whose records become documents."""

    def __init__(self, door: ForeignDocuments) -> None:
        self._door = door

    async def __call__(
        self, integration: Integration, pull: Pull, made: Sequence[tuple[str, dict[str, Any]]]
    ) -> Sequence[str | CounterflowError]:
        """Answer each (source's id, mapped record) in order: accepted, updated, unchanged, skipped, or why not."""
        answers: list[str | CounterflowError] = []
        requests: list[tuple[int, Request]] = []
        for place, (source_id, payload) in enumerate(made):
            answers.append("")
            try:
                requests.append((place, request_of(integration.name, pull, payload, source_id)))
            except BadInput as refusal:
                answers[place] = refusal
        for part in chunks(requests, TAKEN_TOGETHER_MAX):
            taken = await self._door.take_all([request for _, request in part])
            for (place, _), answer in zip(part, taken, strict=True):
                answers[place] = answer if isinstance(answer, CounterflowError) else answer.taken.outcome
        return answers


def request_of(name: str, pull: Pull, record: dict[str, Any], source_id: str) -> Request:
    """What a mapped record asks of the door. Pure.

    Raises:
        BadInput: it names no outlet, or a field of the envelope is wrong.
    """
    payload = dict(record)
    envelope = {field: payload.pop(field) for field in ENVELOPE if payload.get(field) is not None}
    outlet = payload.pop("outlet", None) or pull.outlet
    if not isinstance(outlet, str):
        raise BadInput(
            f"{pull.document} {source_id}: it is of no outlet",
            hint=f'map a store to the field "outlet" in the fields of [[pull]] {pull.name}',
        )
    envelope = {"number": source_id, **envelope, "source_id": source_id}
    try:
        submitted = Submitted.model_validate({"kind": pull.document, "payload": payload, **envelope})
    except pydantic.ValidationError as error:
        raise without_cards(from_validation(error, f"{pull.document} {source_id}")) from None
    policy = Policy(duplicate=pull.duplicate, key=pull.duplicate_key)
    return Request(name, outlet, submitted, policy=policy)
