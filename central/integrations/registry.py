"""Which systems are connected, and what of each document they get.

The database is the truth; this holds a copy of it for the apply worker, which asks `targets` for every document and
cannot wait. A change made through another node is seen within `REFRESH_S`; what was applied meanwhile is found by
the sweep of `central/deliveries/run.py`, so the copy may be late and never loses a delivery.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import orjson
import pydantic
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from central.connectors import CONNECTORS
from central.connectors.base import Connector
from central.db import delivery_desk
from central.db import integrations as table
from central.db.database import AnyRow, Database
from shared.canonical import canonical
from shared.clock import Clock
from shared.documents import KINDS
from shared.errors import BadInput, ConfigError, Conflict, NotFound
from shared.ids import check_code
from shared.protocol.problems import from_validation

REFRESH_S = 5.0
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Integration:
    """One connected system. `kinds` are the documents that it gets, none for one that only hands lists in."""

    integration_no: int
    name: str
    connector: str
    settings: dict[str, Any]
    kinds: tuple[str, ...]
    enabled: bool
    from_ms: int
    paused_until_ms: int
    problem: str | None


class Integrations:
    """The connected systems, as rows and as connectors."""

    def __init__(
        self, database: Database, clock: Clock, connectors: Mapping[str, type[Connector]] = CONNECTORS
    ) -> None:
        self._database = database
        self._clock = clock
        self._kinds = connectors
        self._all: dict[int, Integration] = {}
        self._connectors: dict[int, tuple[Integration, Connector]] = {}
        self._targets: dict[str, list[tuple[int, str]]] = {}
        self.listeners: list[Callable[[], None]] = []
        """Told when an integration was added, enabled, disabled, paused or resumed."""

    async def load(self) -> None:
        """Read the rows; to be awaited once before anything is asked."""
        async with self._database.read() as connection:
            loaded = [_from_row(row) for row in await table.all_integrations(connection)]
        if {one.integration_no: one for one in loaded} != self._all:
            self._all = {one.integration_no: one for one in loaded}
            self._targets.clear()
            self._tell()

    async def run(self) -> None:
        """See what other nodes change."""
        while True:
            await self._clock.sleep(REFRESH_S)
            try:
                await self.load()
            except (SQLAlchemyError, OSError) as error:
                logger.warning("integrations_not_read", extra={"error": str(error)})

    # ---- what others ask ----

    def targets(self, kind: str) -> Sequence[tuple[int, str]]:
        """The deliveries that a document of this kind makes: number of the integration and effect."""
        known = self._targets.get(kind)
        if known is None:
            known = self._targets[kind] = [
                (one.integration_no, effect)
                for one in self._all.values()
                if one.enabled and kind in one.kinds
                for effect in self._class(one).effects(kind)
            ]
        return known

    def by_number(self, integration_no: int) -> Integration | None:
        return self._all.get(integration_no)

    def enabled(self) -> Sequence[Integration]:
        return [one for one in self._all.values() if one.enabled]

    def connector(self, integration: Integration) -> Connector:
        """The connector that carries for an integration; one object as long as its settings stay."""
        known = self._connectors.get(integration.integration_no)
        if known is None or known[0].settings != integration.settings:
            known = integration, self._build(integration.name, integration.connector, integration.settings)
            self._connectors[integration.integration_no] = known
        return known[1]

    def effects(self, integration: Integration) -> Mapping[str, Sequence[str]]:
        """effect -> the kinds of document that have it."""
        effects: dict[str, list[str]] = {}
        for kind in integration.kinds:
            for effect in self._class(integration).effects(kind):
                effects.setdefault(effect, []).append(kind)
        return effects

    async def list(self) -> Sequence[Integration]:
        await self.load()
        return list(self._all.values())

    async def get(self, name: str) -> Integration:
        for one in await self.list():
            if one.name == name:
                return one
        raise NotFound(
            f'there is no integration "{name}"', hint="`counterflow-central integrations list` shows all"
        )

    # ---- what HQ does ----

    async def create(
        self,
        name: str,
        connector: str,
        settings: dict[str, Any],
        kinds: Sequence[str],
        *,
        from_ms: int | None = None,
        enabled: bool = True,
    ) -> Integration:
        """Connect a system.

        Args:
            name: stands in delivery keys and file names for ever.
            kinds: of documents; those of `shared.documents.KINDS` that it shall get.
            from_ms: documents received at the centre from then on are delivered; from now on when None.
        Raises:
            BadInput: settings or kinds are not right, or the connector cannot work with them.
            Conflict: the name, or what the settings point at, is another integration's.
        """
        check_code(name, "integration")
        unknown = [kind for kind in kinds if kind not in KINDS]
        if unknown:
            raise BadInput(f'"{unknown[0]}" is no kind of document', hint=f"known are {', '.join(KINDS)}")
        built = self._build(name, connector, settings)
        for one in await self.list():
            if one.connector == connector and self.connector(one).resource == built.resource:
                raise Conflict(f'{built.resource} is used by the integration "{one.name}" already')
        with _at_the_door(name):
            await built.prepare()
            await built.check()
        try:
            async with self._database.write() as connection:
                now_ms = await self._database.now_ms(connection)
                await table.add(
                    connection,
                    name,
                    connector,
                    canonical(settings).decode(),
                    canonical(list(kinds)).decode(),
                    enabled,
                    now_ms if from_ms is None else from_ms,
                )
        except IntegrityError:
            raise Conflict(f'there is an integration "{name}" already') from None
        return await self.get(name)

    async def enable(self, name: str, from_ms: int | None = None) -> Integration:
        """Deliver again; what was applied since *from_ms* (as before when None) and has no delivery is filled in."""
        one = await self.get(name)
        with _at_the_door(name):
            await self.connector(one).check()
        changes: dict[str, Any] = {"enabled": True, "paused_until_ms": 0, "problem": None}
        return await self._change(one, **changes | ({} if from_ms is None else {"from_ms": from_ms}))

    async def disable(self, name: str) -> Integration:
        """Stop after the batch that is under way; nothing is forgotten."""
        return await self._change(await self.get(name), enabled=False)

    async def resume(self, name: str) -> Integration:
        """End a pause at once."""
        return await self._change(await self.get(name), paused_until_ms=0, problem=None)

    async def pause(self, integration: Integration, until_ms: int, problem: str) -> None:
        """Rest until then, on every node, and say why."""
        await self._change(integration, paused_until_ms=until_ms, problem=problem)

    async def well_again(self, integration: Integration) -> None:
        """The system answers; there is no problem any more."""
        await self._change(integration, paused_until_ms=0, problem=None)

    async def deliveries(self) -> dict[str, dict[str, int]]:
        """name -> state -> number of deliveries, for every integration."""
        async with self._database.read() as connection:
            counts = await delivery_desk.status(connection)
        return {one.name: counts.get(one.integration_no, {}) for one in await self.list()}

    async def batches(
        self, name: str, *, open_only: bool = False, limit: int = 100
    ) -> Sequence[dict[str, Any]]:
        """The newest batches of an integration."""
        one = await self.get(name)
        async with self._database.read() as connection:
            found = await delivery_desk.list_batches(
                connection, one.integration_no, open_only=open_only, limit=limit
            )
        return [row._asdict() for row in found]

    async def retry_parked(self, name: str, reason: str | None = None) -> int:
        """Send parked deliveries (of one reason, if given) again; returns how many."""
        one = await self.get(name)
        async with self._database.write() as connection:
            count = await delivery_desk.retry_parked(connection, one.integration_no, reason)
        self._tell()
        return count

    async def confirm_unknown(self, batch_id: str, *, arrived: bool) -> int:
        """Say whether a batch that nobody can ask about has arrived; returns the number of its deliveries."""
        async with self._database.write() as connection:
            count = await delivery_desk.confirm_unknown(connection, batch_id, arrived=arrived)
        if not count:
            raise NotFound(f'no batch "{batch_id}" waits for an answer')
        self._tell()
        return count

    def _tell(self) -> None:
        for listener in self.listeners:
            listener()

    async def _change(self, one: Integration, **values: Any) -> Integration:
        async with self._database.write() as connection:
            await table.change(connection, one.integration_no, **values)
        await self.load()
        return self._all[one.integration_no]

    def _class(self, one: Integration) -> type[Connector]:
        kind = self._kinds.get(one.connector)
        if kind is None:
            raise ConfigError(f'integration "{one.name}": this build has no connector "{one.connector}"')
        return kind

    def _build(self, name: str, connector: str, settings: dict[str, Any]) -> Connector:
        kind = self._kinds.get(connector)
        if kind is None:
            raise BadInput(f'there is no connector "{connector}"', hint=f"known are {', '.join(self._kinds)}")
        try:
            return kind(name, kind.Settings.model_validate(settings), self._clock)
        except pydantic.ValidationError as error:
            raise from_validation(error, f'settings of "{name}"') from None


@contextmanager
def _at_the_door(name: str) -> Iterator[None]:
    """Settings that do not work are the mistake of whoever asks for them, not of the centre."""
    try:
        yield
    except ConfigError as error:
        raise BadInput(f'settings of "{name}": {error.what}', hint=error.hint) from error


def _from_row(row: AnyRow) -> Integration:
    return Integration(
        row.integration_no,
        row.name,
        row.connector,
        orjson.loads(row.settings),
        tuple(orjson.loads(row.kinds)),
        row.enabled,
        row.from_ms,
        row.paused_until_ms,
        row.problem,
    )
