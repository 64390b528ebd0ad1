"""Enrolment codes: drawn by HQ, listed while they are open, cancelled when they went astray."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from central.db import stores as rows
from central.registry.acts import Acts, find_group, find_station, find_store
from shared.errors import NotFound


class CodeActs(Acts):
    """Acts on enrolment codes."""

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
            station_no = (await find_station(connection, station)).station_no if station is not None else None
            if station_no is not None:
                await rows.drop_unused_codes(connection, station_no)
            code = await self.enrolment.create_code(
                connection,
                station_no=station_no,
                group_no=(await find_group(connection, group)).group_no if group is not None else None,
                store_no=(await find_store(connection, store)).store_no if store is not None else None,
                replace=replace,
                uses=uses,
                valid_s=valid_s,
            )
            detail = {"station": station, "group": group, "store": store, "replace": replace, "uses": uses}
            await self.note(connection, who, "code.create", detail)
            return code

        return await self.database.run(work)

    async def cancel_code(self, code_id: str, *, who: str) -> None:
        """Let nobody use an enrolment code any more; *code_id* is what the list of open codes calls it."""

        async def work(connection: AsyncConnection) -> None:
            now_ms = await self.database.now_ms(connection)
            found = [
                row for row in await rows.open_codes(connection, now_ms) if code_id_of(row.hash) == code_id
            ]
            if not found:
                raise NotFound(
                    f'there is no open code "{code_id}"', hint="`counterflow-central codes list` shows them"
                )
            await rows.close_code(connection, found[0].hash)
            detail = {"id": code_id, "station": found[0].station, "group": found[0].group}
            await self.note(connection, who, "code.cancel", detail)

        await self.database.run(work)


def code_id_of(code_hash: bytes) -> str:
    """What a code is called where it must not be shown."""
    return code_hash.hex()[:12]
