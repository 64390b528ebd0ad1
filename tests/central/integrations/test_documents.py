"""Records that become documents: through the same door as posted ones, with the pull's own duplicate check."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from central.centre import Centre
from central.integrations.definition import Pull
from central.integrations.documents import PulledDocuments, request_of
from shared.errors import BadInput, Conflict, CounterflowError, NotFound
from tests.support.centre import count, open_centre
from tests.support.foreign import OUTLET, add_outlet
from tests.support.papers import order


def pull(**changes: Any) -> Pull:
    said = {"name": "orders", "source": "sale.order", "document": "order", "fields": {"status": "new"}}
    return Pull.model_validate({**said, **changes})


async def taken(centre: Centre, of: Pull, record: dict[str, Any], source_id: str = "7") -> str:
    one: Any = SimpleNamespace(name="shop")
    (answer,) = await PulledDocuments(centre.foreign)(one, of, [(source_id, record)])
    if isinstance(answer, CounterflowError):
        raise answer
    return answer


async def test_a_record_is_taken_once_and_its_changes_are_updates(database_url: str, tmp_path: Path) -> None:
    """Read again by an overlap nothing happens; another status is a new version of the document."""
    async with open_centre(database_url, tmp_path) as centre:
        await add_outlet(centre)
        outcomes = [
            await taken(centre, pull(), order(status, outlet=OUTLET, number="SO7"))
            for status in ("new", "new", "paid", "paid")
        ]
        assert outcomes == ["accepted", "unchanged", "updated", "unchanged"]
        await centre.applier.drain()
        assert await count(centre, "documents", "number = 'SO7'") == 2


async def test_a_refused_record_is_told_like_a_wrong_one(database_url: str, tmp_path: Path) -> None:
    """It stands among the rejected rows of the run."""
    async with open_centre(database_url, tmp_path) as centre:
        await add_outlet(centre)
        await taken(centre, pull(duplicate="error"), order(outlet=OUTLET))
        for record in (order(outlet=OUTLET), order("paid", outlet="S9"), {"outlet": OUTLET}):
            with pytest.raises((BadInput, Conflict, NotFound)):
                await taken(centre, pull(duplicate="error"), record)
        assert await count(centre, "bodies") == 1


def test_the_envelope_is_taken_out_of_the_record() -> None:
    """What is left is the payload; without an outlet nobody knows whose document it is."""
    record = order(outlet="S1", number="SO7", business_date="2026-11-22")
    request = request_of("shop", pull(duplicate_key=["number"]), record, "7")
    assert request.submitted.payload == order()
    assert (request.outlet, request.submitted.number, request.submitted.source_id) == ("S1", "SO7", "7")
    assert request.policy is not None
    assert request.policy.key == ["number"]
    with pytest.raises(BadInput, match="of no outlet"):
        request_of("shop", pull(), order(), "7")
    with pytest.raises(BadInput, match="business_date"):
        request_of("shop", pull(), order(outlet="S1", business_date="today"), "7")
