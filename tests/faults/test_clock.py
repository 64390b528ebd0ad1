"""The clock of a till is set back and forward while it sells, and is wrong at a start: order never depends on it.

Debian's libfaketime lies to the agent's process about the time of day; the monotonic clock stays true, as it does
when somebody sets a machine's clock.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.faults.seller import Seller, reckon, sell, sent
from tests.support.chain import Chain, Station

pytestmark = pytest.mark.asyncio(loop_scope="module")

STATIONS = 0
LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
needs_faketime = pytest.mark.skipif(
    not LIBRARIES, reason="no libfaketime on this machine; on Debian: sudo apt install libfaketime"
)


class WrongClock:
    """The clock that an agent's process sees: the true one, moved by what the file says."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.move("+0")

    @property
    def env(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(LIBRARIES[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_CACHE_DURATION": "1",  # seconds until the file is read again
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",  # or each turn of Python's lock costs ten times as much
            "NO_FAKE_STAT": "1",
        }

    def move(self, by: str) -> None:
        """*by* as libfaketime writes it: "-1h", "+10y"."""
        part = self.file.with_suffix(".part")
        part.write_text(f"{by}\n", encoding="ascii")
        part.rename(self.file)


async def documents(chain: Chain, station: Station) -> list[dict[str, object]]:
    """The station's documents as the centre lists them, in the order of their delivery."""
    return [line for line in chain.delivered() if line["station"] == station.code]


@needs_faketime
@pytest.mark.parametrize("moves", [("-1h", "+1h"), ("-10y", "+10y")], ids=["an hour", "ten years"])
async def test_a_clock_that_is_set_while_the_till_sells(chain: Chain, moves: tuple[str, str]) -> None:
    """Back, forward and right again: every sale is taken, its place is its seq, and an alarm says what is wrong."""
    clock = WrongClock(chain.folder / f"clock{moves[0]}")
    async with chain.one_more(env=clock.env) as station:
        await sell(station, 5)
        await sent(chain)

        async def alarm() -> bool:
            return any("clock" in text for text in (await station.get("/v1/station"))["alarms"])

        assert not await alarm()
        async with Seller(station) as seller:
            for by in moves:
                clock.move(by)
                await seller.sold(10)
                await chain.until("the alarm says that the clock is wrong", alarm)
            clock.move("+0")
            await seller.sold(10)

            async def right_again() -> bool:
                return not await alarm()

            await chain.until("the alarm is gone", right_again)
        await reckon(chain)
        answers = list(station.accepted.values())
        assert len({answer["epoch"] for answer in answers}) == 1
        assert [answer["seq"] for answer in answers] == list(range(1, len(answers) + 1))
        delivered = {line["doc_id"]: line["header"] for line in await documents(chain, station)}
        told = [datetime.fromisoformat(delivered[doc_id]["time"]) for doc_id in station.accepted]
        assert told != sorted(told), "the clock was never wrong"
        ticks = [delivered[doc_id]["tick_ms"] for doc_id in station.accepted]
        assert ticks == sorted(ticks)


@needs_faketime
@pytest.mark.parametrize("at", ["1970-01-02 00:00:00", "2099-12-31 00:00:00"])
async def test_a_wrong_clock_at_the_start_stops_nothing(chain: Chain, at: str) -> None:
    """A flat battery: the machine believes it is 1970, or 2099. It sells, sends, and says so to HQ."""
    clock = WrongClock(chain.folder / f"clock-{at[:4]}")
    async with chain.one_more(env=clock.env) as station:
        await sell(station, 5)
        station.process.kill()
        clock.move(f"@{at}")
        await station.start()
        await sell(station, 10)
        await sent(chain)
        page = await station.get("/v1/station")
        assert any("clock" in alarm for alarm in page["alarms"])

        async def reported() -> bool:
            known = await chain.admin("GET", f"/stations/{station.code}")
            return any("clock" in alarm for alarm in (known.get("report") or {}).get("alarms", []))

        await chain.until("HQ has the alarm", reported)
        await reckon(chain)
        last = await chain.admin("GET", f"/documents/{list(station.accepted)[-1]}")
        assert last["state"] == "applied"
        station.process.kill()
        clock.move("+0")
        await station.start()
        await sell(station, 5)
        await reckon(chain)
        assert not any("clock" in alarm for alarm in (await station.get("/v1/station"))["alarms"])
        assert datetime.now(UTC).year < 2099
