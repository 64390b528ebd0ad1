"""Repair of parked documents: many at once, by cause, with the sealed bytes untouched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import text

from central.centre import Centre
from central.intake import parked
from central.intake.parked import Correction, Repaired, corrected, parse_path, put, told
from shared.canonical import canonical
from shared.errors import BadInput
from tests.support.centre import count, enrolled, open_centre
from tests.support.sales import broken_sale, cancellation, header, payload, sale

REASON = "missing field lines[].product"


async def park(centre: Centre, *documents: tuple[bytes, bytes]) -> None:
    station = await enrolled(centre)
    await station.push(centre, documents)
    await centre.applier.drain()


async def parked_row(centre: Centre) -> Any:
    async with centre.database.read() as connection:
        return (await connection.execute(text("SELECT * FROM parked ORDER BY doc_no"))).first()


async def test_one_correction_repairs_all_of_a_cause(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What many documents lack is set once; they and what waits for them are applied, and the bytes stay."""
    monkeypatch.setattr(parked, "CHUNK", 2)
    async with open_centre(database_url, tmp_path) as centre:
        other = (canonical(header(9)), canonical(payload(total_minor=1)))
        await park(centre, *[broken_sale(n) for n in range(5)], sale(6), cancellation(7, of=3), other)
        sealed = await count(centre, "bodies", "length(payload) > 0")
        repaired = await centre.parked.repair(
            reason=REASON, correction=Correction(values={"lines[*].product": "MISC"}), who="Ann"
        )
        assert repaired == Repaired(tried=5, applied=5, still_parked=0)
        await centre.applier.drain()
        assert await count(centre, "documents") == 7
        assert await count(centre, "lines", "product = 'MISC'") == 5
        assert (await count(centre, "parked"), await count(centre, "waiting")) == (1, 0)
        assert await count(centre, "repairs") == 5
        assert await count(centre, "bodies", "length(payload) > 0") == sealed


async def test_attempt_that_fails_is_told(database_url: str, tmp_path: Path) -> None:
    """Trying again without a cure changes nothing but the count and the history."""
    async with open_centre(database_url, tmp_path) as centre:
        await park(centre, broken_sale(1))
        assert await centre.parked.repair(reason=REASON, who="Ann") == Repaired(1, 0, 1)
        row = await parked_row(centre)
        assert (row.reason, row.attempts, len(orjson.loads(row.history))) == (REASON, 2, 2)
        assert "Ann" in orjson.loads(row.history)[-1]["what"]
        assert await count(centre, "repairs") == 0


async def test_repair_and_its_line_in_the_trail_are_one(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody repairs without being named: where the line cannot be written, nothing was repaired."""
    cure = Correction({"lines[*].product": "A"})
    async with open_centre(database_url, tmp_path) as centre:
        await park(centre, broken_sale(1))
        with monkeypatch.context() as broken:
            broken.setattr(parked.audit, "record_within", refuse)
            with pytest.raises(OSError, match="the trail"):
                await centre.parked.repair(reason=REASON, correction=cure, who="Ann")
        assert (await count(centre, "parked"), await count(centre, "repairs")) == (1, 0)
        await centre.parked.repair(reason=REASON, correction=cure, who="Ann")
        async with centre.database.read() as connection:
            (line,) = (await connection.execute(text("SELECT * FROM audit WHERE who = 'Ann'"))).all()
        assert orjson.loads(line.detail) == {
            "reason": REASON,
            "doc_nos": [1],
            "set": {"lines[*].product": "A"},
            "applied": 1,
        }


async def refuse(*_: Any) -> None:
    raise OSError("the trail cannot be written")


async def test_payload_can_be_replaced(database_url: str, tmp_path: Path) -> None:
    """A single document can be given a whole new payload."""
    async with open_centre(database_url, tmp_path) as centre:
        await park(centre, (sale(1)[0], b"{"))
        row = await parked_row(centre)
        repaired = await centre.parked.repair(
            doc_nos=[row.doc_no], correction=Correction(payload=payload(900)), who="Ann"
        )
        assert repaired == Repaired(1, 1, 0)
        assert await count(centre, "documents", "total_minor = 900") == 1


async def test_cure_that_does_not_help_is_kept_for_the_next_one(database_url: str, tmp_path: Path) -> None:
    """Corrections add up: the second one finds what the first one set."""
    async with open_centre(database_url, tmp_path) as centre:
        content = payload()
        del content["lines"][0]["product"], content["lines"][0]["n"]
        await park(centre, (canonical(header(1)), canonical(content)))
        await centre.parked.repair(
            reason="missing field lines[].n", correction=Correction({"lines[*].n": 1}), who="Ann"
        )
        assert (await parked_row(centre)).reason == REASON
        done = await centre.parked.repair(
            reason=REASON, correction=Correction({"lines[*].product": "A"}), who="Ann"
        )
        assert done == Repaired(1, 1, 0)


async def test_what_the_database_refuses_stays_parked(database_url: str, tmp_path: Path) -> None:
    """A repair that runs into the database's own limits is redone one by one."""
    async with open_centre(database_url, tmp_path) as centre:
        content = payload(2**63)
        del content["lines"][0]["product"]
        await park(centre, broken_sale(1), (canonical(header(2)), canonical(content)))
        done = await centre.parked.repair(
            reason=REASON, correction=Correction({"lines[*].product": "A"}), who="Ann"
        )
        assert done == Repaired(2, 1, 1)
        assert (await parked_row(centre)).reason.startswith("the database refused it")


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        ("customer", ["customer"]),
        ("lines[*].product", ["lines", "*", "product"]),
        ("a[0][1].b", ["a", 0, 1, "b"]),
    ],
)
def test_path_is_read(path: str, steps: list[str | int]) -> None:
    """Names, positions and stars."""
    assert parse_path(path) == steps


@pytest.mark.parametrize("path", ["", "lines[", "lines[x].a", ".a", "a..b", "a."])
def test_path_that_cannot_be_read_is_refused(path: str) -> None:
    """A misspelt path is not guessed at."""
    with pytest.raises(BadInput):
        parse_path(path)


def test_star_sets_only_what_is_unfit() -> None:
    """Below a star, values that are there and of the right type stay."""
    content = {"lines": [{"product": "A"}, {}, {"product": 7}, {"product": None}, "x"]}
    assert put(content, ["lines", "*", "product"], "M")
    assert content["lines"] == [{"product": "A"}, {"product": "M"}, {"product": "M"}, {"product": "M"}, "x"]
    assert not put(content, ["lines", "*", "product"], "N")


def test_named_position_is_always_set() -> None:
    """A correction of one place says what shall stand there; a place that is not there is not made."""
    content: dict[str, Any] = {"lines": [{"product": "A"}]}
    assert put(content, ["lines", 0, "product"], "B")
    assert content == {"lines": [{"product": "B"}]}
    assert not put(content, ["lines", 5, "product"], "B")
    assert not put(content, ["lines", "product"], "B")
    assert not put(content, ["payments", "*", "n"], 1)
    assert not put(content, ["shift", "name"], 1)


def test_payload_without_change_stays_as_it_is() -> None:
    """The bytes are not re-serialised where nothing is corrected."""
    raw = b'{"b": 1, "a": 2}'
    assert corrected(raw, Correction()) == raw
    assert corrected(raw, Correction({"a": 2})) == raw
    assert corrected(b"{", Correction({"a": 2})) == b"{"
    assert corrected(raw, Correction({"a": 3})) == b'{"a":3,"b":1}'


def test_history_is_bounded_and_keeps_its_beginning() -> None:
    """Old attempts give way; how it began stays."""
    history = "[]"
    for n in range(parked.HISTORY_MAX + 20):
        history = told(history, n, f"try {n}")
    entries = orjson.loads(history)
    assert (len(entries), entries[0]["at_ms"], entries[-1]["at_ms"]) == (
        parked.HISTORY_MAX,
        0,
        parked.HISTORY_MAX + 19,
    )
