"""API keys: what HQ's people, scripts and feed consumers show at the door.

A key is 160 random bits and shown once; the database keeps its SHA-256 (nothing slower is needed for a secret that
nobody can guess). Invariants: a revoked key opens nothing from the next request on, on every node; the last admin
key cannot be revoked, or nobody could ever make another one.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from central import audit
from central.db import admin as rows
from central.db import foreign, stores
from central.db.database import Database
from central.identities import KeyIdentity
from shared.errors import BadInput, Conflict, NotAuthenticated, NotFound
from shared.ids import check_code

ROLES = ("read", "admin", "feed", "documents")
KEY_BYTES = 20


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key as lists show it: never the key itself."""

    name: str
    role: str
    consumer: str | None
    source: str | None
    outlet: str | None
    created_ms: int
    revoked_ms: int | None


class Binding(NamedTuple):
    """Whom a key stands for: a consumer of the feed, or an outlet of a source of documents."""

    consumer: str | None = None
    source: str | None = None
    outlet: str | None = None


UNBOUND = Binding()


class ApiKeys:
    """Make, check and revoke API keys."""

    def __init__(
        self, database: Database, random_bytes: Callable[[int], bytes] = secrets.token_bytes
    ) -> None:
        self._database = database
        self._random_bytes = random_bytes

    async def authenticate(self, key: str) -> KeyIdentity:
        """Whose key it is.

        Raises:
            NotAuthenticated: no key of ours, or a revoked one.
        """
        async with self._database.read() as connection:
            row = await rows.key_by_hash(connection, _hash(key))
        if row is None:
            raise NotAuthenticated(
                "this API key is not known here",
                hint="check the address of the centre and the key; `counterflow-central init --new-key` on the "
                "centre's machine draws another one",
            )
        if row.revoked_ms is not None:
            raise NotAuthenticated(
                f'the API key "{row.name}" was revoked', hint="ask for a new one", code="key-revoked"
            )
        return KeyIdentity(row.name, row.role, row.consumer, row.source, row.outlet)

    async def create(self, name: str, role: str, binding: Binding = UNBOUND, *, who: str) -> str:
        """Draw a key; the only time that it is seen.

        Raises:
            BadInput: unknown role, or one that is not bound as it must be.
            NotFound: it is to be bound to something that is not there.
            Conflict: the name is taken (a revoked key's name too: the trail must stay unambiguous).
        """

        async def work(connection: AsyncConnection) -> str:
            return await self.create_in(connection, name, role, binding, who=who)

        return await self._database.run(work)

    async def create_in(
        self, connection: AsyncConnection, name: str, role: str, binding: Binding = UNBOUND, *, who: str
    ) -> str:
        """`create` within a transaction."""
        check_code(name, "key name")
        if role not in ROLES:
            raise BadInput(f'role "{role}" is not known', hint=f"use {', '.join(ROLES[:-1])} or {ROLES[-1]}")
        _check_binding(role, binding)
        if await rows.key_exists(connection, name):
            raise Conflict(
                f'there is an API key "{name}" already', hint="names are not used twice; choose another"
            )
        await _check_bound(connection, binding)
        key = f"cf_{role}_{base64.b32encode(self._random_bytes(KEY_BYTES)).decode().lower()}"
        at_ms = await self._database.now_ms(connection)
        await rows.insert_key(connection, name, _hash(key), role, binding._asdict(), at_ms)
        await audit.record(
            connection, at_ms, who, "key.create", {"name": name, "role": role, **binding._asdict()}
        )
        return key

    async def revoke(self, name: str, *, who: str) -> None:
        """Close the door for a key at once; revoking it again changes nothing."""

        async def work(connection: AsyncConnection) -> None:
            if not await rows.key_exists(connection, name):
                raise NotFound(
                    f'there is no API key "{name}"', hint="`counterflow-central keys list` shows them"
                )
            if await rows.live_admin_keys(connection) == [name]:
                raise Conflict(
                    f'"{name}" is the last admin key',
                    hint="make another one first: `counterflow-central keys add`",
                )
            at_ms = await self._database.now_ms(connection)
            await rows.revoke_key(connection, name, at_ms)
            await audit.record(connection, at_ms, who, "key.revoke", {"name": name})

        await self._database.run(work)

    async def list(self) -> list[KeyRow]:
        async with self._database.read() as connection:
            return [KeyRow(**row._mapping) for row in await rows.list_keys(connection)]


def _check_binding(role: str, binding: Binding) -> None:
    if (role == "feed") != (binding.consumer is not None):
        raise BadInput(
            "a key of role feed names its consumer, and no other key does", hint="add --consumer NAME"
        )
    bound = binding.source is not None, binding.outlet is not None
    if bound != (role == "documents", role == "documents"):
        raise BadInput(
            "a key of role documents names its source and its outlet, and no other key does",
            hint="add --source NAME --outlet STORE",
        )


async def _check_bound(connection: AsyncConnection, binding: Binding) -> None:
    if binding.consumer is not None and not await rows.consumer_exists(connection, binding.consumer):
        raise NotFound(
            f'there is no consumer "{binding.consumer}"', hint="`counterflow-central consumers add` makes one"
        )
    if binding.source is not None and await foreign.policies(connection, binding.source) is None:
        raise NotFound(
            f'there is no source "{binding.source}"', hint="`counterflow-central sources add` makes one"
        )
    if binding.outlet is not None and await stores.store_by_code(connection, binding.outlet) is None:
        raise NotFound(f'there is no store "{binding.outlet}"', hint="`counterflow-central stores list`")


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode(errors="surrogatepass")).digest()
