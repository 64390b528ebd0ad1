"""What HQ does to one station, or tells many: make, move, group, poke, release, revoke.

Invariant: whatever changes what a station is offered also bumps its `poke`, so that it looks at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from central.db import registry
from central.db import stores as rows
from central.registry.acts import Acts, find_group, find_station, find_store
from shared.canonical import parse
from shared.errors import Conflict
from shared.ids import check_code


@dataclass(frozen=True, slots=True)
class Released:
    """What a release did."""

    was_quarantined: bool
    documents: int


class StationActs(Acts):
    """Acts on stations."""

    async def add_station(
        self, code: str, *, store: str, groups: Sequence[str], name: str, valid_s: int, who: str
    ) -> str:
        """Make a station and draw its enrolment code."""
        check_code(code, "station code")

        async def work(connection: AsyncConnection) -> str:
            if await rows.lock_station(connection, code) is not None:
                raise Conflict(
                    f'there is a station "{code}" already',
                    hint=f"for another code: `codes add --station {code}`; for another PC: add --replace",
                )
            store_no = (await find_store(connection, store)).store_no
            group_nos = [(await find_group(connection, group)).group_no for group in dict.fromkeys(groups)]
            at_ms = await self.database.now_ms(connection)
            station_no = await registry.add_station(
                connection, code=code, store_no=store_no, name=name, created_ms=at_ms, group_nos=group_nos
            )
            detail = {"code": code, "store": store, "groups": list(groups), "name": name}
            await self.note(connection, who, "station.create", detail)
            return await self.enrolment.create_code(connection, station_no=station_no, valid_s=valid_s)

        return await self.database.run(work)

    async def move_station(self, code: str, store: str, *, force: bool, who: str) -> None:
        """Put a station into another store.

        Raises:
            Conflict: it still has documents that the centre does not, which would count to the new store.
        """

        async def work(connection: AsyncConnection) -> None:
            station = await find_station(connection, code)
            target = await find_store(connection, store)
            if target.store_no == station.store_no:
                return
            unsent = int(parse(bytes(station.report)).get("backlog", 0)) if station.report else 0
            if unsent and not force:
                raise Conflict(
                    f'station "{code}" said at its last report that {unsent} documents are not sent yet; '
                    f'they would count to store "{store}"',
                    hint="let it send them first, or add --force",
                )
            await rows.set_station(connection, station.station_no, {"store_no": target.store_no})
            await rows.poke(connection, codes=[code])
            await self.note(
                connection, who, "station.move", {"station": code, "store": store, "force": force}
            )

        await self.database.run(work)

    async def change_groups(
        self, code: str, add: Sequence[str], remove: Sequence[str], *, who: str
    ) -> list[str]:
        """Put a station into groups and take it out of others; returns the groups that it is in then."""

        async def work(connection: AsyncConnection) -> list[str]:
            station = await find_station(connection, code)
            present = (await rows.groups_of(connection, [station.station_no]))[station.station_no]
            added = [group for group in dict.fromkeys(add) if group not in present]
            removed = [group for group in dict.fromkeys(remove) if group in present]
            numbers = {group: (await find_group(connection, group)).group_no for group in {*add, *remove}}
            await rows.add_to_groups(connection, station.station_no, [numbers[group] for group in added])
            await rows.remove_from_groups(
                connection, station.station_no, [numbers[group] for group in removed]
            )
            if added or removed:
                await rows.poke(connection, codes=[code])
                detail = {"station": code, "added": added, "removed": removed}
                await self.note(connection, who, "station.groups", detail)
            return (await rows.groups_of(connection, [station.station_no]))[station.station_no]

        return await self.database.run(work)

    async def poke(self, *, station: str | None, store: str | None, group: str | None, who: str) -> int:
        """ "Sync now": one station, a store's, a group's, or all; returns how many were told."""

        async def work(connection: AsyncConnection) -> int:
            if station is not None:
                await find_station(connection, station)
            told = await rows.poke(
                connection,
                codes=[station] if station is not None else None,
                store_no=(await find_store(connection, store)).store_no if store is not None else None,
                group_no=(await find_group(connection, group)).group_no if group is not None else None,
            )
            detail = {"station": station, "store": store, "group": group, "stations": told}
            await self.note(connection, who, "station.poke", detail)
            return told

        return await self.database.run(work)

    async def release_station(self, code: str, *, who: str) -> Released:
        """End a quarantine: what is held is applied. Of two machines, the one that is no longer wanted enrols anew."""

        async def work(connection: AsyncConnection) -> Released:
            station = await find_station(connection, code)
            documents = await rows.release_held(connection, station.station_no)
            await registry.forget_current(connection, station.station_no)
            # A new session offers it what another machine sold, to be read back (R7).
            await rows.poke(connection, codes=[code])
            was = bool(station.quarantined)
            await self.note(
                connection, who, "station.release", {"station": code, "documents": documents, "was": was}
            )
            return Released(was, documents)

        return await self.database.run(work)

    async def revoke_station(self, code: str, *, who: str) -> None:
        """Never take anything from this station's keys again (a stolen PC). What it sent stays."""

        async def work(connection: AsyncConnection) -> None:
            station = await find_station(connection, code)
            await rows.revoke_station(connection, station.station_no)
            await self.note(connection, who, "station.revoke", {"station": code})

        await self.database.run(work)

    async def reinstate_station(self, code: str, *, valid_s: int, who: str) -> str:
        """Take a revoked station back with a new machine: its old keys stay revoked. Returns an enrolment code."""

        async def work(connection: AsyncConnection) -> str:
            station = await find_station(connection, code)
            if station.state != "revoked":
                raise Conflict(
                    f'station "{code}" is {station.state}, not revoked',
                    hint=f"for a new PC of a working station: `codes add --station {code} --replace`",
                )
            await rows.set_station(connection, station.station_no, {"state": "new"})
            await self.note(connection, who, "station.reinstate", {"station": code})
            return await self.enrolment.create_code(
                connection, station_no=station.station_no, valid_s=valid_s
            )

        return await self.database.run(work)

    async def approve_station(self, code: str, *, who: str) -> None:
        """Take in a station that enrolled with a group's code."""

        async def work(connection: AsyncConnection) -> None:
            station = await find_station(connection, code)
            await self.enrolment.approve(connection, station.station_no)
            await self.note(connection, who, "station.approve", {"station": code})

        await self.database.run(work)
