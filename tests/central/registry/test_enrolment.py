"""Enrolment: one machine per code, the same answer for the same machine, and who is kept out."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from central.centre import Centre
from central.db import registry
from shared.errors import BadInput, Conflict, CounterflowError, NotAllowed
from shared.protocol.messages import EnrollReply, EnrollRequest
from tests.support.centre import HandStation, add_station, count, open_centre


async def enroll(
    centre: Centre, code: str, machine: HandStation, *, wished: str | None = None
) -> EnrollReply:
    request = EnrollRequest(code=code, public_key=machine.public_key.hex(), station=wished)
    return await centre.enrolment.enroll(request)


async def group_code(centre: Centre, *, uses: int = 2) -> str:
    async with centre.database.write() as connection:
        store_no = await registry.add_store(
            connection, code="S1", name="S1", zone="Asia/Tashkent", currency="UZS"
        )
        group_no = await registry.add_group(connection, code="kiosks", name="Kiosks")
        return await centre.enrolment.create_code(connection, group_no=group_no, store_no=store_no, uses=uses)


async def refused(centre: Centre, code: str, machine: HandStation, *, wished: str | None = None) -> str:
    with pytest.raises(CounterflowError) as caught:
        await enroll(centre, code, machine, wished=wished)
    return caught.value.name


async def test_same_code_and_key_get_the_same_answer(database_url: str, tmp_path: Path) -> None:
    """A lost reply costs nothing: asking again tells the same, and spends nothing."""
    async with open_centre(database_url, tmp_path) as centre:
        code, machine = await add_station(centre, "T-1"), HandStation("T-1")
        first = await enroll(centre, code, machine)
        assert (first.station, first.store, first.state) == ("T-1", "S1", "active")
        assert await enroll(centre, code.lower(), machine) == first
        assert await count(centre, "station_keys") == 1


async def test_another_key_on_a_spent_code_is_refused(database_url: str, tmp_path: Path) -> None:
    """A copied code is of no use to a second machine."""
    async with open_centre(database_url, tmp_path) as centre:
        code = await add_station(centre)
        await enroll(centre, code, HandStation("T-1"))
        assert await refused(centre, code, HandStation("T-1", seed=2)) == "code-spent"


async def test_code_that_nobody_gave_out_is_refused(database_url: str, tmp_path: Path) -> None:
    """Guessing leads nowhere."""
    async with open_centre(database_url, tmp_path) as centre:
        assert await refused(centre, "A" * 32, HandStation("T-1")) == "unknown-code"


async def test_expired_code_is_refused(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A code that lay about too long is of no use, by the database's clock."""
    async with open_centre(database_url, tmp_path) as centre:
        code = await add_station(centre)
        async with centre.database.read() as connection:
            later = await centre.database.now_ms(connection) + 8 * 86_400_000

        async def now_ms(_connection: object) -> int:
            return later

        monkeypatch.setattr(centre.database, "now_ms", now_ms)
        assert await refused(centre, code, HandStation("T-1")) == "code-expired"


async def test_enrolled_station_needs_a_replace_code(database_url: str, tmp_path: Path) -> None:
    """Two plain codes for one station enrol one machine; a replace code retires the key of the first."""
    async with open_centre(database_url, tmp_path) as centre:
        first, second = await add_station(centre), await add_station(centre)
        old, new = HandStation("T-1"), HandStation("T-1", seed=2)
        await enroll(centre, first, old)
        assert await refused(centre, second, new) == "conflict"

        replace = await add_station(centre, replace=True)
        assert (await enroll(centre, replace, new)).station == "T-1"
        assert await count(centre, "station_keys", "state = 'retired'") == 1
        assert await refused(centre, await add_station(centre, replace=True), old) == "conflict"


async def test_key_of_another_station_is_refused(database_url: str, tmp_path: Path) -> None:
    """A machine that changes its station makes a new key."""
    async with open_centre(database_url, tmp_path) as centre:
        machine = HandStation("T-1")
        await enroll(centre, await add_station(centre, "T-1"), machine)
        assert await refused(centre, await add_station(centre, "T-2"), machine) == "conflict"


async def test_station_that_the_centre_forgot_enrols_with_its_key(database_url: str, tmp_path: Path) -> None:
    """After a restore of the centre a fresh code takes the station's old key, and its journal goes on."""
    async with open_centre(database_url, tmp_path) as centre:
        machine = HandStation("T-1")
        await enroll(centre, await add_station(centre), machine)
        async with centre.database.write() as connection:
            await registry.retire_keys(connection, 1)
            await connection.execute(text("DELETE FROM station_keys"))
        assert (await enroll(centre, await add_station(centre), machine)).state == "active"


async def test_stations_of_a_group_wait_for_approval(database_url: str, tmp_path: Path) -> None:
    """A group's code makes new stations that may do nothing until HQ says so."""
    async with open_centre(database_url, tmp_path) as centre:
        code = await group_code(centre)
        first, second = HandStation("kiosks-001"), HandStation("my-till", seed=2)
        answer = await enroll(centre, code, first)
        assert (answer.station, answer.zone, answer.state) == ("kiosks-001", "Asia/Tashkent", "waiting")
        assert await enroll(centre, code, first) == answer
        assert (await enroll(centre, code, second, wished="my-till")).station == "my-till"
        assert await refused(centre, code, HandStation("x", seed=3)) == "code-spent"

        with pytest.raises(NotAllowed, match="waits for approval") as waiting:
            await first.sign_in(centre)
        assert waiting.value.extra["retry_after_s"] == 15
        async with centre.database.write() as connection:
            await centre.enrolment.approve(connection, 1)
            await centre.enrolment.approve(connection, 1)
        assert (await first.sign_in(centre)).token


async def test_wished_code_that_is_taken_is_refused(database_url: str, tmp_path: Path) -> None:
    """A group's code never takes over a station that exists."""
    async with open_centre(database_url, tmp_path) as centre:
        code = await group_code(centre)
        await enroll(centre, code, HandStation("a"), wished="my-till")
        assert await refused(centre, code, HandStation("b"), wished="my-till") == "conflict"


async def test_revoked_station_stays_out(database_url: str, tmp_path: Path) -> None:
    """A code does not help a station that HQ has revoked."""
    async with open_centre(database_url, tmp_path) as centre:
        code = await add_station(centre)
        async with centre.database.write() as connection:
            await registry.update_station(connection, 1, state="revoked")
            with pytest.raises(Conflict):
                await centre.enrolment.approve(connection, 1)
        assert await refused(centre, code, HandStation("T-1")) == "key-revoked"


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"station_no": 1, "group_no": 1},
        {"group_no": 1},
        {"group_no": 1, "store_no": 1, "replace": True},
        {"station_no": 1, "uses": 2},
        {"station_no": 1, "valid_s": 0},
    ],
)
async def test_code_that_makes_no_sense_is_not_made(tmp_path: Path, asked: dict[str, int]) -> None:
    """A code is for one station, or for a group and a store, for a bounded time and number."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'c.db'}"
    async with open_centre(url, tmp_path) as centre, centre.database.write() as connection:
        with pytest.raises(BadInput):
            await centre.enrolment.create_code(connection, **asked)  # type: ignore[arg-type]
