"""Sessions: who gets a token, what it tells, and how two machines with one identity are found."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from central.centre import Centre
from central.db import registry
from shared import journal
from shared.canonical import canonical
from shared.errors import BadInput, CounterflowError, NotAllowed, NotAuthenticated
from shared.protocol import wire
from shared.protocol.messages import SessionRequest
from tests.support.centre import HandStation, add_station, count, enrolled, open_centre
from tests.support.hq import open_hq, report
from tests.support.sales import sale

EPOCH_A, EPOCH_B = b"\xaa" * 16, b"\xbb" * 16


async def sign_in_late(centre: Centre, machine: HandStation, nonce: str) -> None:
    body = machine.session_request(nonce)
    await centre.sessions.open(body, SessionRequest.model_validate(body))


async def test_session_tells_how_far_the_centre_is(database_url: str, tmp_path: Path) -> None:
    """Claimed epochs are answered with the centre's last and head; those it never saw with 0."""
    async with open_centre(database_url, tmp_path) as centre:
        station = await enrolled(centre)
        await station.push(centre, [sale(1), sale(2)])
        unseen = {"epoch": EPOCH_B.hex(), "last": 5, "head": "11" * 32}
        claim = {"epoch": station.epoch.hex(), "last": 2, "head": station.head.hex()}
        answer = await station.sign_in(centre, epochs=[claim, unseen])
        assert [(state.last, state.head) for state in answer.epochs] == [
            (2, station.head.hex()),
            (0, journal.genesis("T-1", EPOCH_B).hex()),
        ]
        assert answer.other_epochs == []
        assert answer.last_number == 2


async def test_epochs_that_the_station_lost_are_offered(database_url: str, tmp_path: Path) -> None:
    """A restored station hears of what the centre has beyond its own, to read it back (R7)."""
    async with open_centre(database_url, tmp_path) as centre:
        station = await enrolled(centre)
        await station.push(centre, [sale(1)])
        lost = station.epoch
        station.new_epoch(EPOCH_A)
        answer = await station.sign_in(centre)
        assert [state.epoch for state in answer.other_epochs] == [lost.hex()]


async def test_epoch_that_comes_back_is_a_second_machine(database_url: str, tmp_path: Path) -> None:
    """Two clones that take turns are found as soon as the first one speaks again; a restart is not."""
    async with open_centre(database_url, tmp_path) as centre:
        one = await enrolled(centre)
        two = HandStation("T-1")
        two.new_epoch(EPOCH_A)
        assert not (await one.sign_in(centre)).quarantined
        assert not (await two.sign_in(centre)).quarantined  # looks like a restart
        assert (await one.sign_in(centre)).quarantined
        assert (await two.sign_in(centre)).quarantined
        assert await count(centre, "audit", "what = 'quarantined'") == 1


async def test_draining_takes_no_part_in_the_check(database_url: str, tmp_path: Path) -> None:
    """An archived journal that is being emptied is not a second machine."""
    async with open_centre(database_url, tmp_path) as centre:
        station = await enrolled(centre)
        archive = HandStation("T-1")
        archive.new_epoch(EPOCH_A)
        await archive.sign_in(centre, drain=True)
        await station.sign_in(centre)
        assert not (await archive.sign_in(centre, drain=True)).quarantined


async def test_callers_who_come_together_share_a_look(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a publication all stations come at once: whether they are ours costs two queries, not one for each."""
    looks = 0
    callers = registry.callers

    async def counted(*args: Any) -> dict[tuple[int, bytes], registry.Caller]:
        nonlocal looks
        looks += 1
        return await callers(*args)

    monkeypatch.setattr(registry, "callers", counted)
    async with open_centre(database_url, tmp_path) as centre:
        ours = [await enrolled(centre, f"T-{n}") for n in range(1, 9)]
        names = await asyncio.gather(*(centre.sessions.authenticate(station.token) for station in ours))
        assert [name.code for name in names] == [f"T-{n}" for n in range(1, 9)]
        assert {name.key_no for name in names} == {station.public_key for station in ours}
        assert looks <= 2


async def test_late_session_changes_nothing(database_url: str, tmp_path: Path) -> None:
    """A session request that wandered about in the network is stale once a later one was accepted."""
    async with open_centre(database_url, tmp_path) as centre:
        station = await enrolled(centre)
        nonce = (await centre.sessions.hello()).nonce
        async with centre.database.write() as connection:
            now_ms = await centre.database.now_ms(connection)
            await registry.update_station(connection, 1, newest_nonce_ms=now_ms + 1_000)
        station.new_epoch(EPOCH_A)
        with pytest.raises(NotAuthenticated) as caught:
            await sign_in_late(centre, station, nonce)
        assert caught.value.name == "stale-nonce"
        assert await count(centre, "epochs") == 1


async def test_nonce_and_token_run_out_by_the_databases_clock(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A nonce lives a minute and a token ten; no station's clock is asked."""
    async with open_centre(database_url, tmp_path) as centre:
        station = await enrolled(centre)
        nonce = (await centre.sessions.hello()).nonce
        async with centre.database.read() as connection:
            now_ms = await centre.database.now_ms(connection)
        later = {"ms": now_ms + 61_000}

        async def moved(_connection: object) -> int:
            return later["ms"]

        monkeypatch.setattr(centre.database, "now_ms", moved)
        with pytest.raises(NotAuthenticated) as caught:
            await sign_in_late(centre, station, nonce)
        assert caught.value.name == "stale-nonce"
        assert (await centre.station(station.token)).code == "T-1"
        later["ms"] += 600_000
        with pytest.raises(NotAuthenticated) as caught:
            await centre.station(station.token)
        assert caught.value.name == "session-expired"


async def test_wrong_signature_is_refused(database_url: str, tmp_path: Path) -> None:
    """Every claim of a session is signed: changing one breaks it."""
    async with open_centre(database_url, tmp_path) as centre:
        station = await enrolled(centre)
        body = station.session_request((await centre.sessions.hello()).nonce)
        body["drain"] = True
        with pytest.raises(BadInput) as caught:
            await centre.sessions.open(body, SessionRequest.model_validate(body))
        assert caught.value.name == "wrong-signature"


async def test_strangers_are_not_let_in(database_url: str, tmp_path: Path) -> None:
    """An unknown station, and a known one with an unknown key, get nothing."""
    async with open_centre(database_url, tmp_path) as centre:
        await enrolled(centre)
        for stranger in (HandStation("T-9"), HandStation("T-1", seed=2)):
            with pytest.raises(NotAuthenticated) as caught:
                await stranger.sign_in(centre)
            assert caught.value.name == "not-authenticated"


async def test_revoked_station_is_told_so(database_url: str, tmp_path: Path) -> None:
    """Revocation is read with every request: the token in hand is of no use any more."""
    async with open_centre(database_url, tmp_path) as centre:
        station = await enrolled(centre)
        async with centre.database.write() as connection:
            await registry.update_station(connection, 1, state="revoked")
        with pytest.raises(NotAllowed):
            await centre.station(station.token)
        with pytest.raises(CounterflowError) as caught:
            await station.sign_in(centre)
        assert caught.value.name == "key-revoked"


async def test_replaced_machine_may_empty_its_journal(database_url: str, tmp_path: Path) -> None:
    """A retired key still signs in, and is no second machine."""
    async with open_centre(database_url, tmp_path) as centre:
        old = await enrolled(centre)
        new = HandStation("T-1", seed=2)
        new.new_epoch(EPOCH_B)
        await new.enroll(centre, await add_station(centre, replace=True))
        await new.sign_in(centre)
        await old.sign_in(centre)
        assert not (await new.sign_in(centre)).quarantined


async def test_report_of_a_replaced_machine_is_heard_but_not_kept(database_url: str, tmp_path: Path) -> None:
    """HQ sees what the new machine says of itself, never what the retired one says beside it."""
    async with open_hq(database_url, tmp_path) as hq:
        old = await enrolled(hq.centre)
        new = HandStation("T-1", seed=2)
        new.new_epoch(EPOCH_B)
        await new.enroll(hq.centre, await add_station(hq.centre, replace=True))
        await new.sign_in(hq.centre)
        for machine, alarm in ((new, "of the new one"), (old, "of the old one")):
            sent = {"scopes": [], "backlog": 0, "clock_ms": 0, "alarms": [alarm]}
            body, frame = wire.pack(canonical(sent))
            frame["Authorization"] = f"Bearer {machine.token}"
            async with hq.session.post(f"{hq.url}/v1/report", data=body, headers=frame) as answer:
                assert answer.status == 200
        assert (await hq.client.get("/v1/admin/stations/T-1"))["alarms"] == ["of the new one"]


async def test_station_is_told_the_oldest_agent_that_hq_wants(database_url: str, tmp_path: Path) -> None:
    """The setting stands in the greeting and in every session; an old agent is let in all the same."""
    async with open_hq(database_url, tmp_path, minimum_agent="9.0.0") as hq:
        station = await enrolled(hq.centre)
        assert (await hq.centre.sessions.hello()).versions["minimum_agent"] == "9.0.0"
        assert (await station.sign_in(hq.centre)).minimum_version == "9.0.0"
        await report(hq.centre, "T-1", versions={"agent": "0.1.0"})
        (told,) = (await hq.client.get("/v1/admin/status"))["attention"]
        assert told.startswith("station T-1 below agent version 9.0.0")
