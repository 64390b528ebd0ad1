"""Stores, groups and stations: what HQ may do to them, each act in one transaction with its line in the audit trail.

Invariants: nothing is ever deleted here, documents point at it; whatever changes what a station is offered also bumps
its `poke`, so that it looks at once; a list of stations is taken as a whole or not at all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy.ext.asyncio import AsyncConnection

from central import audit
from central.db import registry
from central.db import stores as rows
from central.db.database import Database
from central.registry.enrolment import Enrolment
from central.registry.import_csv import LineError, StationRow
from shared.canonical import parse
from shared.errors import BadInput, Conflict, NotFound
from shared.ids import check_code

_CURRENCY = re.compile(r"^[A-Z]{3}$")


@dataclass(frozen=True, slots=True)
class ImportedStation:
    """One line of an import's answer. `result`: `created`, `new code` (known, not enrolled yet), `already enrolled`."""

    line: int
    code: str
    store: str
    result: str
    enrolment_code: str | None


@dataclass(frozen=True, slots=True)
class Released:
    """What a release did."""

    was_quarantined: bool
    documents: int


class Registry:
    """The registry of one centre."""

    def __init__(self, database: Database, enrolment: Enrolment) -> None:
        self._database = database
        self._enrolment = enrolment

    # ---- stores and groups ----

    async def add_store(
        self, code: str, *, name: str, zone: str, currency: str, price_list: str | None, who: str
    ) -> None:
        check_code(code, "store code")
        values: dict[str, Any] = {
            "name": name or code,
            "zone": zone,
            "currency": currency,
            "price_list": price_list,
        }
        _check_store(values)

        async def work(connection: AsyncConnection) -> None:
            if await rows.store_by_code(connection, code) is not None:
                raise Conflict(
                    f'there is a store "{code}" already', hint=f"change it: `stores set {code} ...`"
                )
            await registry.add_store(connection, code=code, **values)
            await self._note(connection, who, "store.create", {"code": code, **values})

        await self._database.run(work)

    async def change_store(self, code: str, changes: dict[str, Any], *, who: str) -> None:
        """Change name, zone, currency or price list; stations see a new price list at once."""
        _check_store(changes)

        async def work(connection: AsyncConnection) -> None:
            store = await _store(connection, code)
            await rows.update_store(connection, store.store_no, changes)
            await rows.poke(connection, store_no=store.store_no)
            await self._note(connection, who, "store.change", {"code": code, **_diff(store, changes)})

        await self._database.run(work)

    async def add_group(
        self, code: str, *, name: str, priority: int, price_list: str | None, who: str
    ) -> None:
        check_code(code, "group code")
        values: dict[str, Any] = {"name": name or code, "priority": priority, "price_list": price_list}
        _check_price_list(price_list)

        async def work(connection: AsyncConnection) -> None:
            if await rows.group_by_code(connection, code) is not None:
                raise Conflict(
                    f'there is a group "{code}" already', hint=f"change it: `groups set {code} ...`"
                )
            await registry.add_group(connection, code=code, **values)
            await self._note(connection, who, "group.create", {"code": code, **values})

        await self._database.run(work)

    async def change_group(self, code: str, changes: dict[str, Any], *, who: str) -> None:
        """Change name, priority or price list; its stations see it at once."""
        _check_price_list(changes.get("price_list"))

        async def work(connection: AsyncConnection) -> None:
            group = await _group(connection, code)
            await rows.update_group(connection, group.group_no, changes)
            await rows.poke(connection, group_no=group.group_no)
            await self._note(connection, who, "group.change", {"code": code, **_diff(group, changes)})

        await self._database.run(work)

    # ---- stations ----

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
            store_no = (await _store(connection, store)).store_no
            group_nos = [(await _group(connection, group)).group_no for group in dict.fromkeys(groups)]
            at_ms = await self._database.now_ms(connection)
            station_no = await registry.add_station(
                connection, code=code, store_no=store_no, name=name, created_ms=at_ms, group_nos=group_nos
            )
            detail = {"code": code, "store": store, "groups": list(groups), "name": name}
            await self._note(connection, who, "station.create", detail)
            return await self._enrolment.create_code(connection, station_no=station_no, valid_s=valid_s)

        return await self._database.run(work)

    async def import_stations(
        self,
        listed: Sequence[StationRow],
        errors: Sequence[LineError],
        *,
        valid_s: int,
        dry_run: bool,
        who: str,
    ) -> list[ImportedStation]:
        """Make all stations of a list and draw their codes, in one transaction.

        A station that is there already and equal gets a new code while it is not enrolled, and none once it is, so
        the same list may be sent again. *errors* are those that reading the list found.

        Raises:
            BadInput: any line is wrong; all faults are in it and nothing was imported.
        """

        async def work(connection: AsyncConnection) -> list[ImportedStation]:
            store_nos, group_nos = (
                await rows.stores_by_code(connection),
                await rows.groups_by_code(connection),
            )
            known = await rows.stations_by_code(connection, [row.code for row in listed])
            known_groups = await rows.groups_of(
                connection, [station.station_no for station in known.values()]
            )
            faults = list(errors)
            for row in listed:
                faults += _faults(row, store_nos, group_nos, known.get(row.code), known_groups)
            if faults:
                raise _import_refused(faults, {row.line for row in listed} | {fault.line for fault in faults})
            result = []
            at_ms = await self._database.now_ms(connection)
            for row in listed:
                station = known.get(row.code)
                enrolled = station is not None and station.state != "new"
                code = None
                if not dry_run and not enrolled:
                    station_no = station.station_no if station is not None else None
                    if station_no is None:
                        station_no = await registry.add_station(
                            connection,
                            code=row.code,
                            store_no=store_nos[row.store],
                            name=row.name,
                            created_ms=at_ms,
                            group_nos=[group_nos[group] for group in row.groups],
                        )
                    # What is printed last is what counts: an older list that got lost opens nothing.
                    await rows.drop_unused_codes(connection, station_no)
                    code = await self._enrolment.create_code(
                        connection, station_no=station_no, valid_s=valid_s
                    )
                told = "already enrolled" if enrolled else "created" if station is None else "new code"
                result.append(ImportedStation(row.line, row.code, row.store, told, code))
            if not dry_run:
                created = [row.code for row in result if row.result == "created"]
                detail = {"stations": len(result), "created": len(created), "codes": created[:200]}
                await self._note(connection, who, "stations.import", detail)
            return result

        return await self._database.run(work)

    async def move_station(self, code: str, store: str, *, force: bool, who: str) -> None:
        """Put a station into another store.

        Raises:
            Conflict: it still has documents that the centre does not, which would count to the new store.
        """

        async def work(connection: AsyncConnection) -> None:
            station = await _station(connection, code)
            target = await _store(connection, store)
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
            await self._note(
                connection, who, "station.move", {"station": code, "store": store, "force": force}
            )

        await self._database.run(work)

    async def change_groups(
        self, code: str, add: Sequence[str], remove: Sequence[str], *, who: str
    ) -> list[str]:
        """Put a station into groups and take it out of others; returns the groups that it is in then."""

        async def work(connection: AsyncConnection) -> list[str]:
            station = await _station(connection, code)
            present = (await rows.groups_of(connection, [station.station_no]))[station.station_no]
            added = [group for group in dict.fromkeys(add) if group not in present]
            removed = [group for group in dict.fromkeys(remove) if group in present]
            numbers = {group: (await _group(connection, group)).group_no for group in {*add, *remove}}
            await rows.add_to_groups(connection, station.station_no, [numbers[group] for group in added])
            await rows.remove_from_groups(
                connection, station.station_no, [numbers[group] for group in removed]
            )
            if added or removed:
                await rows.poke(connection, codes=[code])
                detail = {"station": code, "added": added, "removed": removed}
                await self._note(connection, who, "station.groups", detail)
            return (await rows.groups_of(connection, [station.station_no]))[station.station_no]

        return await self._database.run(work)

    async def poke(self, *, station: str | None, store: str | None, group: str | None, who: str) -> int:
        """ "Sync now": one station, a store's, a group's, or all; returns how many were told."""

        async def work(connection: AsyncConnection) -> int:
            if station is not None:
                await _station(connection, station)
            told = await rows.poke(
                connection,
                codes=[station] if station is not None else None,
                store_no=(await _store(connection, store)).store_no if store is not None else None,
                group_no=(await _group(connection, group)).group_no if group is not None else None,
            )
            detail = {"station": station, "store": store, "group": group, "stations": told}
            await self._note(connection, who, "station.poke", detail)
            return told

        return await self._database.run(work)

    async def release_station(self, code: str, *, who: str) -> Released:
        """End a quarantine: what is held is applied. Of two machines, the one that is no longer wanted enrols anew."""

        async def work(connection: AsyncConnection) -> Released:
            station = await _station(connection, code)
            documents = await rows.release_held(connection, station.station_no)
            await registry.forget_current(connection, station.station_no)
            was = bool(station.quarantined)
            await self._note(
                connection, who, "station.release", {"station": code, "documents": documents, "was": was}
            )
            return Released(was, documents)

        return await self._database.run(work)

    async def revoke_station(self, code: str, *, who: str) -> None:
        """Never take anything from this station's keys again (a stolen PC). What it sent stays."""

        async def work(connection: AsyncConnection) -> None:
            station = await _station(connection, code)
            await rows.revoke_station(connection, station.station_no)
            await self._note(connection, who, "station.revoke", {"station": code})

        await self._database.run(work)

    async def reinstate_station(self, code: str, *, valid_s: int, who: str) -> str:
        """Take a revoked station back with a new machine: its old keys stay revoked. Returns an enrolment code."""

        async def work(connection: AsyncConnection) -> str:
            station = await _station(connection, code)
            if station.state != "revoked":
                raise Conflict(
                    f'station "{code}" is {station.state}, not revoked',
                    hint=f"for a new PC of a working station: `codes add --station {code} --replace`",
                )
            await rows.set_station(connection, station.station_no, {"state": "new"})
            await self._note(connection, who, "station.reinstate", {"station": code})
            return await self._enrolment.create_code(
                connection, station_no=station.station_no, valid_s=valid_s
            )

        return await self._database.run(work)

    async def approve_station(self, code: str, *, who: str) -> None:
        """Take in a station that enrolled with a group's code."""

        async def work(connection: AsyncConnection) -> None:
            station = await _station(connection, code)
            await self._enrolment.approve(connection, station.station_no)
            await self._note(connection, who, "station.approve", {"station": code})

        await self._database.run(work)

    # ---- enrolment codes ----

    async def add_code(
        self,
        *,
        station: str | None,
        group: str | None,
        store: str | None,
        replace: bool,
        uses: int,
        valid_s: int,
        who: str,
    ) -> str:
        """Draw a code for a station, or for a group and the store of its new stations."""

        async def work(connection: AsyncConnection) -> str:
            station_no = (await _station(connection, station)).station_no if station is not None else None
            if station_no is not None:
                await rows.drop_unused_codes(connection, station_no)
            code = await self._enrolment.create_code(
                connection,
                station_no=station_no,
                group_no=(await _group(connection, group)).group_no if group is not None else None,
                store_no=(await _store(connection, store)).store_no if store is not None else None,
                replace=replace,
                uses=uses,
                valid_s=valid_s,
            )
            detail = {"station": station, "group": group, "store": store, "replace": replace, "uses": uses}
            await self._note(connection, who, "code.create", detail)
            return code

        return await self._database.run(work)

    async def cancel_code(self, code_id: str, *, who: str) -> None:
        """Let nobody use an enrolment code any more; *code_id* is what the list of open codes calls it."""

        async def work(connection: AsyncConnection) -> None:
            now_ms = await self._database.now_ms(connection)
            found = [
                row for row in await rows.open_codes(connection, now_ms) if code_id_of(row.hash) == code_id
            ]
            if not found:
                raise NotFound(
                    f'there is no open code "{code_id}"', hint="`counterflow-central codes list` shows them"
                )
            await rows.close_code(connection, found[0].hash)
            detail = {"id": code_id, "station": found[0].station, "group": found[0].group}
            await self._note(connection, who, "code.cancel", detail)

        await self._database.run(work)

    async def _note(self, connection: AsyncConnection, who: str, what: str, detail: dict[str, Any]) -> None:
        await audit.record(connection, await self._database.now_ms(connection), who, what, detail)


def code_id_of(code_hash: bytes) -> str:
    """What a code is called where it must not be shown."""
    return code_hash.hex()[:12]


async def _store(connection: AsyncConnection, code: str) -> Any:
    store = await rows.store_by_code(connection, code)
    if store is None:
        raise NotFound(f'there is no store "{code}"', hint="`counterflow-central stores list` shows them")
    return store


async def _group(connection: AsyncConnection, code: str) -> Any:
    group = await rows.group_by_code(connection, code)
    if group is None:
        raise NotFound(f'there is no group "{code}"', hint="`counterflow-central groups list` shows them")
    return group


async def _station(connection: AsyncConnection, code: str) -> Any:
    station = await rows.lock_station(connection, code)
    if station is None:
        raise NotFound(f'there is no station "{code}"', hint="`counterflow-central stations list` shows them")
    return station


def _check_store(values: dict[str, Any]) -> None:
    zone, currency = values.get("zone"), values.get("currency")
    if zone is not None:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise BadInput(
                f'"{zone}" is not a time zone',
                hint='use an IANA name such as "Europe/Berlin" or "Asia/Tashkent"',
            ) from None
    if currency is not None and not _CURRENCY.match(currency):
        raise BadInput(f'"{currency}" is not a currency', hint="use its three letters, such as EUR or UZS")
    _check_price_list(values.get("price_list"))


def _check_price_list(code: str | None) -> None:
    if code is not None:
        check_code(code, "price list")


def _diff(row: Any, changes: dict[str, Any]) -> dict[str, Any]:
    """What the audit trail shows of a change: old and new of each field that moved."""
    old = row._mapping
    return {key: {"old": old[key], "new": value} for key, value in changes.items() if old[key] != value}


def _faults(
    row: StationRow,
    store_nos: dict[str, int],
    group_nos: dict[str, int],
    station: Any,
    known_groups: dict[int, list[str]],
) -> list[LineError]:
    found = []
    if row.store not in store_nos:
        found.append(LineError(row.line, "store", row.store, "there is no such store"))
    found += [
        LineError(row.line, "groups", group, "there is no such group")
        for group in row.groups
        if group not in group_nos
    ]
    if found or station is None:
        return found
    if station.store_no != store_nos[row.store]:
        found.append(
            LineError(row.line, "store", row.store, "the station is in another store; move it first")
        )
    if set(row.groups) != set(known_groups[station.station_no]):
        there = " ".join(known_groups[station.station_no]) or "none"
        why = f"the station is in other groups ({there}); change them first"
        found.append(LineError(row.line, "groups", " ".join(row.groups), why))
    if station.state == "revoked":
        found.append(LineError(row.line, "code", row.code, "the station is revoked"))
    return found


def _import_refused(faults: list[LineError], lines: set[int]) -> BadInput:
    faults.sort(key=lambda fault: fault.line)
    first = faults[0]
    wrong = len({fault.line for fault in faults})
    return BadInput(
        f"nothing was imported: {wrong} of {len(lines)} lines are wrong; the first is line {first.line}, "
        f'{first.column} "{first.value}": {first.why}',
        hint="correct the lines and send the whole list again",
        code="invalid-rows",
        rows=[asdict(fault) for fault in faults[:1_000]],
    )
