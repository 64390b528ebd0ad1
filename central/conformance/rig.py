"""What an author of a connector gives to the kit: how it is connected, how its system is seen, its bad days."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar

from central.conformance.faults import Fault
from central.connectors.base import Connector, Delivery


class Rig(ABC):
    """One connector and its system, or an emulator of it.

    Attributes:
        source: of `Connector.read`, whose records the checks of reading look at; None for a connector that reads none.
        writes: as the connector's own; what is sent is then not checked, and `effects` and `delivery` are not asked.
        impossible: faults that this system cannot have, each with the reason. What stands neither here nor in `meet`
            makes the kit fail: a connector is not conforming by silence.
    """

    source: ClassVar[str | None] = None
    writes: ClassVar[bool] = True
    impossible: ClassVar[Mapping[Fault, str]] = {}

    @abstractmethod
    def connect(self, *, wrong_credentials: bool = False, clock_off: bool = False) -> Connector:
        """As a process has it after its start."""

    @abstractmethod
    def meet(self, fault: Fault) -> AbstractAsyncContextManager[None]:
        """Inside it the fault happens, for as many requests as it lasts; at its end it must have happened."""

    # ---- for connectors that write ----

    async def effects(self) -> list[str]:
        """The delivery keys of all that took effect in the system, doubles included."""
        raise NotImplementedError

    def delivery(self, number: int) -> Delivery:
        """The same delivery for the same number, in the form in which this connector takes it."""
        raise NotImplementedError

    async def consume(self) -> None:
        """The system goes on working with what it got, e.g. takes the files away; most just keep it."""
        return

    # ---- for connectors that read ----

    async def put(self, key: str) -> None:
        """Make the record *key*, or change it."""
        raise NotImplementedError

    async def put_late(self, key: str) -> None:
        """Change the record *key* with a date that lies before the last one, as a long transaction does."""
        raise NotImplementedError

    async def deactivate(self, key: str) -> None:
        """Take the record *key* out of use."""
        raise NotImplementedError

    async def twins(self, first: str, second: str) -> None:
        """Make two records with one barcode."""
        raise NotImplementedError

    def key(self, record: Mapping[str, Any]) -> str:
        """Which key a record that was read bears."""
        return str(record["id"])

    def active(self, record: Mapping[str, Any]) -> bool:
        """Whether a record that was read is in use."""
        return bool(record["active"])
