"""Who may start an integration's pulls from outside: another system with the integration's own secret, or an API key.

The secret is 160 random bits, shown once; the database keeps its SHA-256. It opens this one door and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence
from typing import Protocol

from central.audit import Note, unnoted
from central.identities import KeyIdentity
from central.integrations.integration import Integration
from central.integrations.pulls import Pulls
from central.integrations.registry import Integrations
from shared.errors import BadInput, NotAllowed, NotAuthenticated, NotFound

SECRET_BYTES = 20
PREFIX = "cf_trigger_"


class KeysPort(Protocol):
    """What of `central.keys.ApiKeys` is used here."""

    async def authenticate(self, key: str) -> KeyIdentity: ...


class Triggers:
    """Start pulls because another system says that something has changed."""

    def __init__(
        self,
        integrations: Integrations,
        pulls: Pulls,
        keys: KeysPort,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._integrations = integrations
        self._pulls = pulls
        self._keys = keys
        self._random_bytes = random_bytes

    async def draw(self, name: str, *, audited: Note = unnoted) -> str:
        """A new secret; the one before it ends."""
        secret = PREFIX + base64.b32encode(self._random_bytes(SECRET_BYTES)).decode().lower()
        await self._integrations.set_trigger(name, _hash(secret), audited=audited)
        return secret

    async def fire(self, name: str, credential: str, pull: str | None = None) -> Sequence[str]:
        """Have the pulls run that may be triggered; returns their names.

        Raises:
            NotAuthenticated: neither this integration's secret nor an API key.
            NotAllowed: an API key that may not.
            BadInput: none of its pulls has `on = ["webhook"]`.
        """
        one = await self._let_in(name, credential)
        names = [
            each.name
            for each in one.definition.pull
            if "webhook" in each.on and each.enabled and pull in (None, each.name)
        ]
        if not names:
            what = f'pull "{pull}"' if pull else "no pull"
            raise BadInput(
                f'integration "{name}": {what} is started by a trigger',
                hint='a [[pull]] with on = ["webhook"] is',
            )
        for each in names:
            await self._pulls.ask(name, each)
        return names

    async def _let_in(self, name: str, credential: str) -> Integration:
        try:
            one = await self._integrations.get(name)
        except NotFound:
            one = None
        if not credential.startswith(PREFIX):
            key = await self._keys.authenticate(credential)
            if key.role != "admin":
                raise NotAllowed(f'the API key "{key.who}" has the role {key.role}; this needs admin')
            if one is None:
                raise NotFound(f'there is no integration "{name}"')
            return one
        known = one.trigger_hash if one is not None else None
        # Whether an integration is there is nobody's business without its secret.
        if one is None or known is None or not hmac.compare_digest(known, _hash(credential)):
            raise NotAuthenticated(
                "this is not the integration's trigger secret",
                hint="`counterflow-central integrations trigger NAME` draws a new one",
            )
        return one


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).digest()
