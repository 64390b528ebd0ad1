"""Another system as a script: it keeps what took effect, and fails as the test says.

A step of the script is used up by one `deliver`: `ok`; `lost` (takes effect, no answer), `half` (half of it takes
effect, no answer), `cut` (no effect, no answer), `away`, `denied`, `crash` (a fault of the connector itself), or a set
of document numbers that are refused.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import BaseModel

from central.connectors.base import (
    Answer,
    Batch,
    Connector,
    Delivery,
    Exchange,
    Finding,
    Idempotency,
    NoAnswer,
    Rejection,
    Target,
    TargetAway,
    TargetDenies,
    UnknownBatches,
    Written,
)
from shared.clock import Clock

SYSTEMS: dict[str, System] = {}
"""The other systems, by the account that a connector uses: they outlive any process of ours."""


class System:
    """What another system holds: the effects in the order in which they took place, doubles included."""

    def __init__(self, *script: Any) -> None:
        self.script = deque(script)
        self.effects: list[str] = []
        self.deliveries: list[Delivery] = []
        self.findings: list[Finding] = []
        self.probes = 0
        self.sends = 0
        self.exchange: Exchange | None = None

    def name_of(self, key: str) -> Written:
        """What it calls an effect: numbered in the order in which they took place."""
        number = self.effects.index(key) + 1
        return Written(f"ERP-{number}", f"N-{number}")


class Settings(BaseModel):
    account: str
    batch_documents: int = 100
    password: str = ""


class ScriptedConnector(Connector):
    title = "A script"
    Settings = Settings
    idempotency: ClassVar[Idempotency] = Idempotency.LOOK_UP
    timeout_s = 10.0
    targets: ClassVar[Mapping[str, Target]] = {
        name: Target(name) for name in ("orders", "payments", "parties")
    }

    def __init__(self, name: str, settings: BaseModel, clock: Clock) -> None:
        super().__init__(name, settings, clock)
        assert isinstance(settings, self.Settings)
        self._settings = settings
        self.system = SYSTEMS[settings.account]

    @property
    def batch_documents(self) -> int:
        return self._settings.batch_documents

    @property
    def resource(self) -> str:
        return self._settings.account

    async def prepare(self) -> None: ...

    async def check(self) -> Sequence[Finding]:
        return self.system.findings

    async def probe(self, batch: Batch, unknown_batches: UnknownBatches) -> Mapping[str, Written]:
        self.system.probes += 1
        if self.system.script and self.system.script[0] == "deaf":
            self.system.script.popleft()
            raise TargetAway("the system does not answer")
        return {
            one.key: self.system.name_of(one.key)
            for one in batch.deliveries
            if one.key in self.system.effects
        }

    async def deliver(self, batch: Batch) -> Answer:
        self.system.sends += 1
        if self.system.exchange is not None:
            batch.tell(self.system.exchange)
        step = self.system.script.popleft() if self.system.script else "ok"
        match step:
            case "away":
                raise TargetAway("busy", retry_after_s=20.0)
            case "denied":
                raise TargetDenies("the password has changed")
            case "cut":
                raise NoAnswer("the line broke")
            case "crash":
                raise RuntimeError("a fault of the connector")
        refused = (
            {one.key for one in batch.deliveries if int(one.number.split("-")[-1]) in step}
            if isinstance(step, set)
            else set()
        )
        accepted = [one.key for one in batch.deliveries if one.key not in refused]
        if step == "half":
            accepted = accepted[: len(accepted) // 2]
        self.system.effects += accepted
        self.system.deliveries += [one for one in batch.deliveries if one.key in accepted]
        if step in ("lost", "half"):
            raise NoAnswer("the answer was lost")
        return Answer(
            {key: Rejection("unknown item 7") for key in refused},
            {key: self.system.name_of(key) for key in accepted},
        )


class PlainConnector(ScriptedConnector):
    title = "A script that cannot be asked"
    idempotency = Idempotency.AT_LEAST_ONCE


SCRIPTED: dict[str, type[Connector]] = {"scripted": ScriptedConnector, "plain": PlainConnector}
