"""The emulator's own connector: how one is written; and one that is written wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Any, ClassVar
from uuid import uuid4

import aiohttp
from pydantic import BaseModel

from central.connectors.base import (
    Answer,
    Batch,
    Connector,
    Exchange,
    Finding,
    Idempotency,
    NoAnswer,
    Page,
    Read,
    Rejection,
    Source,
    Target,
    TargetAway,
    TargetDenies,
    Trait,
    UnknownBatches,
    Written,
    tell_nobody,
)
from shared.clock import Clock
from tests.support.emulator import PASSWORD, USER


class EmulatorSettings(BaseModel):
    url: str
    user: str = USER
    password: str = PASSWORD
    timeout_s: float = 5.0
    batch_documents: int = 50


class EmulatorConnector(Connector):
    title = "Emulator"
    Settings = EmulatorSettings
    idempotency = Idempotency.LOOK_UP
    tested = "an emulator"
    sources: ClassVar[Mapping[str, Source]] = {
        "items": Source(
            "Items",
            {
                "id": Trait("text"),
                "code": Trait("text"),
                "active": Trait("boolean"),
                "barcodes": Trait("list"),
                "changed": Trait("integer"),
            },
            cursor="time",
        )
    }
    targets: ClassVar[Mapping[str, Target]] = {
        "document": Target("Document", kinds=("sale", "return")),
        "party": Target("Party", undo=True, find=("tax_id", "name"), create=True),
    }

    def __init__(self, name: str, settings: BaseModel, clock: Clock) -> None:
        super().__init__(name, settings, clock)
        assert isinstance(settings, EmulatorSettings)
        self._settings = settings
        self._token: str | None = None

    @property
    def batch_documents(self) -> int:
        return self._settings.batch_documents

    @property
    def resource(self) -> str:
        return self._settings.url

    async def prepare(self) -> None: ...

    async def check(self) -> Sequence[Finding]:
        try:
            await self._ask("/look", {"keys": []}, changes=False)
        except (TargetAway, TargetDenies) as error:
            return [Finding("signed in", ok=False, detail=error.what)]
        return [Finding("signed in", ok=True)]

    async def read(self, request: Read) -> AsyncIterator[Page]:
        after, cursor = "", None
        since = max(0, int(request.since or 0) - request.overlap_s)
        while True:
            query = f"/items?since={since}&after={after}&page={request.page}"
            told = await self._ask(query, None, changes=False)
            cursor = cursor if cursor is not None else str(told["clock"])
            rows = told["rows"]
            yield Page(rows, cursor=cursor if len(rows) < request.page else None)
            if len(rows) < request.page:
                return
            # The page may come in any order: what it went as far as is its greatest id.
            after = max(row["id"] for row in rows)

    async def probe(self, batch: Batch, unknown_batches: UnknownBatches) -> Mapping[str, Written | None]:
        keys = [one.key for one in batch.deliveries]
        told = await self._ask("/look", {"keys": keys}, changes=False, tell=batch.tell)
        return dict.fromkeys(told["found"])

    async def deliver(self, batch: Batch) -> Answer:
        documents = [{"key": one.key, "number": one.number} for one in batch.deliveries]
        told = await self._ask("/documents", {"documents": documents}, changes=True, tell=batch.tell)
        return Answer({key: Rejection(why) for key, why in told["refused"].items()})

    async def find(
        self, target: str, field_name: str, values: Collection[str]
    ) -> Mapping[str, Sequence[str]]:
        told = await self._ask("/parties/find", {"field": field_name, "values": list(values)}, changes=False)
        found: Mapping[str, Sequence[str]] = told["found"]
        return found

    async def create(self, target: str, record: Mapping[str, Any]) -> Written:
        return Written((await self._ask("/parties", {"party": dict(record)}, changes=True))["id"])

    async def undo(self, target: str, ids: Sequence[str]) -> Mapping[str, Rejection]:
        await self._ask("/parties/undo", {"ids": list(ids)}, changes=True)
        return {}

    async def _ask(
        self, path: str, body: dict[str, Any] | None, *, changes: bool, tell: Any = tell_nobody
    ) -> Any:
        timeout = aiohttp.ClientTimeout(total=self._settings.timeout_s)
        async with aiohttp.ClientSession(self._settings.url, timeout=timeout) as http:
            for _ in range(2):
                if self._token is None:
                    self._token = await self._sign_in(http)
                # Tells a request that the network repeats from one that we send again.
                headers = {"Authorization": self._token, "Request-Id": uuid4().hex}
                try:
                    method = "GET" if body is None else "POST"
                    async with http.request(method, path, json=body, headers=headers) as answer:
                        status, told = answer.status, await answer.json()
                except aiohttp.ClientConnectorError as error:
                    raise TargetAway(str(error)) from error
                except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                    raise (NoAnswer if changes else TargetAway)(repr(error)) from error
                tell(Exchange(f"{path} {body}", f"{status} {told}"))
                if status != 401:
                    break
                self._token = None
        if status in (429, 503):
            raise TargetAway("busy", retry_after_s=1.0)
        if status in (401, 403):
            raise TargetDenies("not let in")
        if status != 200 or "error" in told:
            raise (NoAnswer if changes else TargetAway)(f"{status} {told}")
        return told

    async def _sign_in(self, http: aiohttp.ClientSession) -> str:
        who = {"user": self._settings.user, "password": self._settings.password}
        async with http.post("/sign-in", json=who) as answer:
            told = await answer.json()
        if answer.status != 200:
            raise TargetDenies(str(told["error"]))
        return str(told["token"])


class BlindConnector(EmulatorConnector):
    """Sends again whatever was not answered, and says that the system takes care of doubles. It does not."""

    title = "Blind"
    idempotency = Idempotency.NATIVE_KEY


class TrustingConnector(EmulatorConnector):
    """Takes every 200 for a success, whatever stands in it."""

    title = "Trusting"

    async def deliver(self, batch: Batch) -> Answer:
        try:
            return await super().deliver(batch)
        except NoAnswer as error:
            if error.what.startswith("200"):
                return Answer()
            raise
