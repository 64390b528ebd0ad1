"""Parties and reference values in another system: found, made once, or decided by HQ."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Any

import pytest
from sqlalchemy import text

from central.codes import look_up
from central.codes.desk import Fields, Ignored, PartyDesk
from central.codes.once import Once
from central.codes.parties import Party, Unclear, Use
from central.connectors.base import NoAnswer, TargetAway, TargetDenies, Written
from central.db import integrations as table
from central.db import pulls
from central.db.database import Database
from central.db.parties import decision
from central.mapping.lookups import LookUp
from shared.errors import BadInput, NotFound

FIELDS = Fields("party", "inn", "kpp", "origin")
INN, A, B = "7707083893", "770101001", "770201001"


class System:
    """A small directory. `failure` is raised by the next `create`: after it took effect if *lost*."""

    name = "erp"
    timeout_s = 5.0

    def __init__(self) -> None:
        self.records: dict[str, Mapping[str, Any]] = {}
        self.failure: Exception | None = None
        self.searches = 0

    async def find(
        self, target: str, field_name: str, values: Collection[str]
    ) -> Mapping[str, Sequence[str]]:
        self.searches += 1
        await asyncio.sleep(0)
        return {
            value: [id_ for id_, one in self.records.items() if one.get(field_name) == value]
            for value in values
        }

    async def create(self, target: str, record: Mapping[str, Any]) -> Written:
        failure, self.failure = self.failure, None
        if failure is not None and not isinstance(failure, NoAnswer):
            raise failure
        await asyncio.sleep(0)
        made = str(len(self.records) + 1)
        self.records[made] = record
        if failure is not None:
            raise failure
        return Written(made)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    await database.create()
    yield database
    await database.close()


async def time_passes(database: Database) -> None:
    """All claims are over."""
    async with database.write() as connection:
        await connection.execute(text("UPDATE reference_values SET until_ms = 0"))


async def test_a_value_that_a_system_lacks_is_made_once(database: Database) -> None:
    """However many ask at once; those that come in between are told to ask again."""
    system, once = System(), Once(database)
    got = await asyncio.gather(
        *(once.id_of(system, "industry", "name", "retail") for _ in range(8)), return_exceptions=True
    )
    assert {one for one in got if isinstance(one, str)} == {"1"}
    assert all(isinstance(one, str | TargetAway) for one in got)
    assert await Once(database).id_of(system, "industry", "name", "retail") == "1"
    assert list(system.records.values()) == [{"name": "retail"}]


async def test_a_value_that_is_there_is_not_made(database: Database) -> None:
    """One is used, of two none is."""
    system, once = System(), Once(database)
    system.records = {"7": {"name": "EUR"}, "8": {"name": "USD"}, "9": {"name": "USD"}}
    assert await once.id_of(system, "currency", "name", "EUR") == "7"
    for _ in range(2):
        with pytest.raises(BadInput, match="2 records of currency in erp"):
            await once.id_of(system, "currency", "name", "USD")
    assert len(system.records) == 3


async def test_a_lost_answer_makes_no_second_one(database: Database) -> None:
    """Nobody tries before the claim is over, and then it is found; a refusal lets others try at once."""
    system, once = System(), Once(database)
    system.failure = NoAnswer("the line broke")
    with pytest.raises(NoAnswer):
        await once.id_of(system, "industry", "name", "retail")
    with pytest.raises(TargetAway):
        await once.id_of(system, "industry", "name", "retail")
    await time_passes(database)
    assert await once.id_of(system, "industry", "name", "retail") == "1"
    system.failure = TargetDenies("no rights")
    with pytest.raises(TargetDenies):
        await once.id_of(system, "industry", "name", "food")
    assert await once.id_of(system, "industry", "name", "food") == "2"
    assert len(system.records) == 2


async def resolve(database: Database, system: System, party: Party) -> Use | Unclear | Ignored:
    record = {"inn": party.tax_id, "kpp": party.branch, "origin": party.code, "name": party.name}

    async def make() -> Mapping[str, Any]:
        return record

    return await PartyDesk(database).resolve(system, FIELDS, party, make)


async def of_inn() -> Mapping[str, Any]:
    return {"inn": INN}


async def test_a_party_is_found_or_made_and_known_from_then_on(database: Database) -> None:
    """By tax id and branch; another branch of the same company is another record; the system is asked once."""
    system = System()
    system.records = {"1": {"inn": INN, "kpp": A}}
    assert await resolve(database, system, Party("C1", "7707 083893", A, "RU")) == Use("1")
    system.records["2"] = {"inn": INN, "kpp": B}
    assert await resolve(database, system, Party("C2", INN, B, "RU")) == Use("2")
    assert await resolve(database, system, Party("C4", "500100732259", "", "RU")) == Use("3")
    searches = system.searches
    assert await resolve(database, system, Party("C4", "500100732259", "", "RU")) == Use("3")
    assert system.searches == searches
    async with database.read() as connection:
        assert await look_up(connection, [LookUp("party", "erp", "C1")]) == {
            LookUp("party", "erp", "C1"): "1"
        }


async def test_what_hq_decides_is_remembered(database: Database) -> None:
    """Use this one, create, ignore: each holds for all that comes later, and nothing is made before."""
    system, desk = System(), PartyDesk(database)
    system.records = {"1": {"inn": INN}, "2": {"inn": INN}}
    parties = [Party(code, INN, "", "RU", "Romashka") for code in ("C1", "C2", "C3")]
    for _ in range(2):
        for party in parties:
            answer = await resolve(database, system, party)
            assert isinstance(answer, Unclear)
            assert answer.candidates == ("1", "2")
    assert len(system.records) == 2
    await desk.decide("erp", "C1", "use", "2", who="boss")
    await desk.decide("erp", "C2", "create", None, who="boss")
    await desk.decide("erp", "C3", "ignore", None, who="boss")
    for _ in range(2):
        assert [await resolve(database, system, party) for party in parties] == [
            Use("2"),
            Use("3"),
            Ignored(),
        ]
    assert len(system.records) == 3
    with pytest.raises(NotFound, match="is unclear in erp"):
        await desk.decide("erp", "C9", "ignore", None, who="boss")
    with pytest.raises(BadInput, match="needs the id"):
        await desk.decide("erp", "C1", "use", None, who="boss")


async def test_a_party_that_hq_has_made_is_made_once_though_the_answer_is_lost(database: Database) -> None:
    """Also where the system keeps no code of ours: what it had before the decision is told from what came since."""
    system, desk = System(), PartyDesk(database)
    fields = Fields("party", "inn")
    system.records = {"1": {"inn": INN}, "2": {"inn": INN}}
    party = Party("C1", INN, "", "RU")
    assert isinstance(await desk.resolve(system, fields, party, of_inn), Unclear)
    await desk.decide("erp", "C1", "create", None, who="boss")
    system.failure = NoAnswer("the line broke")
    with pytest.raises(NoAnswer):
        await desk.resolve(system, fields, party, of_inn)
    await time_passes(database)
    assert await desk.resolve(system, fields, party, of_inn) == Use("3")
    assert len(system.records) == 3


async def test_what_is_made_is_known_as_ours_though_the_answer_is_lost(database: Database) -> None:
    """So that an undo takes it back; what was there, or was refused and came from elsewhere, is not ours."""
    system, once = System(), Once(database)
    async with database.write() as connection:
        await table.add(connection, "erp", "{}", True, 0)
    system.failure = NoAnswer("the line broke")
    with pytest.raises(NoAnswer):
        await once.id_of(system, "industry", "name", "retail")
    await time_passes(database)
    assert await once.id_of(system, "industry", "name", "retail") == "1"
    system.failure = TargetDenies("no rights")
    with pytest.raises(TargetDenies):
        await once.id_of(system, "industry", "name", "food")
    system.records["2"] = {"name": "food"}
    assert await once.id_of(system, "industry", "name", "food") == "2"
    async with database.read() as connection:
        assert [row.id for row in await pulls.created(connection, 1, 0)] == ["1"]


async def test_one_record_is_never_two_of_ours(database: Database) -> None:
    """Two of our customers with one tax id are a case for HQ; the first keeps its record."""
    system = System()
    system.records = {"1": {"inn": INN}}
    assert await resolve(database, system, Party("C1", INN, "", "RU")) == Use("1")
    answer = await resolve(database, system, Party("C2", INN, "", "RU"))
    assert answer == Unclear("the record 1 is our C1 already", ("1",))
    assert await resolve(database, system, Party("C1", INN, "", "RU")) == Use("1")
    await PartyDesk(database).decide("erp", "C2", "create", None, who="boss")
    assert await resolve(database, system, Party("C2", INN, "", "RU")) == Use("2")


async def test_where_none_is_made_hq_is_asked(database: Database) -> None:
    """And a word of HQ that cannot be followed is told."""
    system, desk = System(), PartyDesk(database)
    party = Party("C1", INN, "", "RU")
    assert await desk.resolve(system, FIELDS, party, None) == Unclear("it is not there, and none is made")
    await desk.decide("erp", "C1", "create", None, who="boss")
    with pytest.raises(BadInput, match="nothing says of what"):
        await desk.resolve(system, FIELDS, party, None)
    assert system.records == {}


async def test_what_could_not_be_found_again_is_not_made(database: Database) -> None:
    """A record that bears neither our code nor the tax id would come a second time after a lost answer."""
    system = System()

    async def nameless() -> Mapping[str, Any]:
        return {"inn": "other", "name": "Romashka"}

    for fields in (FIELDS, Fields("party", "inn")):
        with pytest.raises(BadInput, match="cannot be made safely"):
            await PartyDesk(database).resolve(system, fields, Party("C1", INN, "", "RU"), nameless)
    assert system.records == {}


async def test_a_choice_that_holds_no_more_is_looked_at_anew(database: Database) -> None:
    """The record that HQ chose was given to another one since: nothing is made in its place."""
    system, desk = System(), PartyDesk(database)
    system.records = {"1": {"inn": INN}, "2": {"inn": INN}}
    party = Party("C1", INN, "", "RU")
    assert isinstance(await resolve(database, system, party), Unclear)
    await desk.decide("erp", "C1", "use", "1", who="boss")
    async with database.write() as connection:
        await connection.execute(text("DELETE FROM code_matches"))
    assert isinstance(await resolve(database, system, party), Unclear)
    async with database.read() as connection:
        assert await decision(connection, "erp", "C1") is None
    assert len(system.records) == 2
