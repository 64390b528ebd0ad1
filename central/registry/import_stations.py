"""Make all stations of a list and draw their codes: in one transaction, as a whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from central.db import registry
from central.db import stores as rows
from central.db.database import AnyRow
from central.registry.acts import Acts
from central.registry.import_csv import LineError, StationRow
from shared.errors import BadInput

FAULTS_MAX = 1_000
"""So many wrong lines are told in one refusal."""


@dataclass(frozen=True, slots=True)
class ImportedStation:
    """One line of an import's answer. `result`: `created`, `new code` (known, not enrolled yet), `already enrolled`."""

    line: int
    code: str
    store: str
    result: str
    enrolment_code: str | None


class ImportActs(Acts):
    """Taking in HQ's list."""

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
            at_ms = await self.database.now_ms(connection)
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
                    code = await self.enrolment.create_code(
                        connection, station_no=station_no, valid_s=valid_s
                    )
                told = "already enrolled" if enrolled else "created" if station is None else "new code"
                result.append(ImportedStation(row.line, row.code, row.store, told, code))
            if not dry_run:
                created = [row.code for row in result if row.result == "created"]
                detail = {"stations": len(result), "created": len(created), "codes": created[:200]}
                await self.note(connection, who, "stations.import", detail)
            return result

        return await self.database.run(work)


def _faults(
    row: StationRow,
    store_nos: dict[str, int],
    group_nos: dict[str, int],
    station: AnyRow | None,
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
        rows=[asdict(fault) for fault in faults[:FAULTS_MAX]],
    )
