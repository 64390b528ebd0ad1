"""How a machine becomes a station: a code from HQ and a public key that it made and stored first.

Rule 1: the same code and key always get the same answer, so a lost reply costs nothing.
Rule 2: another key on a spent code is refused, so a copied code is of no use. Rule 3: only a *replace* code retires
the key that a station had. Stations of a group code wait until HQ approves them.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from central.db import registry
from central.db.database import Database
from central.registry import secrets
from shared.errors import BadInput, Conflict, NotAllowed, NotFound
from shared.ids import check_code
from shared.protocol.messages import EnrollReply, EnrollRequest

CODE_VALID_S = 7 * 86_400
CODE_VALID_MAX_S = 366 * 86_400
USES_MAX = 10_000


class Enrolment:
    """Codes given out, stations signed up."""

    def __init__(self, database: Database, centre_id: str) -> None:
        self._database = database
        self._centre_id = centre_id

    async def create_code(
        self,
        connection: AsyncConnection,
        *,
        station_no: int | None = None,
        group_no: int | None = None,
        store_no: int | None = None,
        replace: bool = False,
        uses: int = 1,
        valid_s: int = CODE_VALID_S,
    ) -> str:
        """Draw a code for one station, or for a group whose new stations are put into *store_no*.

        The code is shown once: the database keeps its hash.
        """
        if (station_no is None) == (group_no is None) or (group_no is not None and store_no is None):
            raise BadInput("a code is for one station, or for a group and the store of its new stations")
        if replace and station_no is None:
            raise BadInput("only a code for one station can replace its key")
        if not 1 <= uses <= (USES_MAX if group_no is not None else 1):
            raise BadInput(
                f"a code for {'a group' if group_no is not None else 'one station'} cannot have {uses} uses"
            )
        if not 1 <= valid_s <= CODE_VALID_MAX_S:
            raise BadInput(f"a code is valid for 1 to {CODE_VALID_MAX_S} seconds, not {valid_s}")
        now_ms = await self._database.now_ms(connection)
        code = secrets.draw_code()
        await registry.add_code(
            connection,
            code_hash=secrets.code_hash(code),
            station_no=station_no,
            group_no=group_no,
            store_no=store_no,
            replace=replace,
            uses_left=uses,
            expires_ms=now_ms + valid_s * 1_000,
            created_ms=now_ms,
        )
        return code

    async def enroll(self, request: EnrollRequest) -> EnrollReply:
        """Sign a machine up, or tell it again what it was told before.

        Raises:
            NotAllowed: the code is not known, has expired, or the station or key is revoked.
            Conflict: the code is spent, or the key or the wished station belongs to somebody.
        """
        return await self._database.run(lambda connection: self._enroll(connection, request))

    async def _enroll(self, connection: AsyncConnection, request: EnrollRequest) -> EnrollReply:
        public_key = bytes.fromhex(request.public_key)
        code = await registry.code_by_hash(connection, secrets.code_hash(request.code))
        if code is None:
            raise NotAllowed(
                "this enrolment code is not known here", hint="ask HQ for a new one", code="unknown-code"
            )
        owner = await registry.key_owner(connection, public_key)
        if owner is not None and owner.state == "revoked":
            raise NotAllowed("this key was revoked by HQ", hint="ask HQ why", code="key-revoked")
        if owner is not None and await self._is_repeat(connection, code, owner):
            return await self._reply(connection, owner.station_no)
        await self._check_usable(connection, code)
        if owner is not None and owner.station_no != code.station_no:
            raise Conflict(
                "this key belongs to another station",
                hint="a machine that changes its station makes a new key",
            )
        if code.station_no is not None:
            station_no = await self._take_station(connection, code, public_key, owner)
        else:
            station_no = await self._new_station(connection, code, request.station)
            await registry.add_key(
                connection, station_no, public_key, await self._database.now_ms(connection)
            )
        await registry.use_code(connection, code.hash, public_key)
        return await self._reply(connection, station_no)

    async def _is_repeat(self, connection: AsyncConnection, code: Any, owner: Any) -> bool:
        if owner.state != "active":
            return False
        if code.station_no is not None:
            return bool(owner.station_no == code.station_no)
        return await registry.is_member(connection, owner.station_no, code.group_no)

    async def _check_usable(self, connection: AsyncConnection, code: Any) -> None:
        if code.uses_left < 1:
            raise Conflict(
                "this enrolment code was used by another key", hint="ask HQ for a new one", code="code-spent"
            )
        if code.expires_ms < await self._database.now_ms(connection):
            raise NotAllowed(
                "this enrolment code has expired", hint="ask HQ for a new one", code="code-expired"
            )

    async def _take_station(
        self, connection: AsyncConnection, code: Any, public_key: bytes, owner: Any
    ) -> int:
        station = await registry.station_by_no(connection, code.station_no, lock=True)
        assert station is not None, "a code's station is a foreign key"
        if station.state == "revoked":
            raise NotAllowed(
                f'station "{station.code}" was revoked by HQ', hint="ask HQ why", code="key-revoked"
            )
        now_ms = await self._database.now_ms(connection)
        if code.replace:
            await registry.retire_keys(connection, station.station_no)
        elif await registry.active_keys(connection, station.station_no):
            raise Conflict(
                f'station "{station.code}" is enrolled already, with another key',
                hint="if its machine was replaced, ask HQ for a replace code",
            )
        if owner is not None:
            raise Conflict(
                "this key was replaced once", hint="delete the identity folder's key and enrol again"
            )
        await registry.add_key(connection, station.station_no, public_key, now_ms)
        await registry.update_station(connection, station.station_no, state="active")
        await registry.note(
            connection,
            now_ms,
            f"station {station.code}",
            "key replaced" if code.replace else "enrolled",
            public_key.hex(),
        )
        return int(station.station_no)

    async def _new_station(self, connection: AsyncConnection, code: Any, wished: str | None) -> int:
        group = await registry.group_by_no(connection, code.group_no)
        now_ms = await self._database.now_ms(connection)
        if wished is not None:
            name = check_code(wished, "station")
            if await registry.station_by_code(connection, name) is not None:
                raise Conflict(
                    f'station "{name}" exists already', hint="wish another code, or ask HQ for a code for it"
                )
        else:
            taken = await registry.taken_codes(connection, f"{group.code}-")
            name = next(
                name for n in range(1, len(taken) + 2) if (name := f"{group.code}-{n:03d}") not in taken
            )
        station_no = await registry.add_station(
            connection,
            code=name,
            store_no=code.store_no,
            name=name,
            created_ms=now_ms,
            group_nos=[code.group_no],
        )
        await registry.update_station(connection, station_no, state="waiting")
        await registry.note(connection, now_ms, f"station {name}", "asks for approval", f"group {group.code}")
        return station_no

    async def approve(self, connection: AsyncConnection, station_no: int) -> None:
        """HQ takes a station of a group code in; harmless when it is active already."""
        station = await registry.station_by_no(connection, station_no, lock=True)
        if station is None:
            raise NotFound(f"there is no station number {station_no}")
        if station.state not in ("waiting", "active"):
            raise Conflict(f'station "{station.code}" is {station.state}; only a waiting one can be approved')
        await registry.update_station(connection, station_no, state="active")

    async def _reply(self, connection: AsyncConnection, station_no: int) -> EnrollReply:
        station = await registry.station_by_no(connection, station_no)
        assert station is not None
        return EnrollReply(
            station=station.code,
            store=station.store,
            zone=station.zone,
            currency=station.currency,
            state=station.state,
            centre=self._centre_id,
        )
