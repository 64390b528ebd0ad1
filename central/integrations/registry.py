"""Which systems are connected, and what of each document they get.

The database is the truth; this holds a copy of it for the apply worker, which asks `targets` for every document and
cannot wait. A change made through another node is seen within `REFRESH_S`; what was applied meanwhile is found by
the sweep of `central/deliveries/run.py`, so the copy may be late and never loses a delivery.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from central.audit import Note, unnoted
from central.connectors import CONNECTORS
from central.connectors.base import Connector
from central.db import delivery_desk
from central.db import integrations as table
from central.db.database import Database
from central.integrations.build import build, check_names, findings_of, kind_of, refused
from central.integrations.definition import Definition, read_definition
from central.integrations.integration import Integration, from_row
from shared.clock import Clock
from shared.errors import BadInput, ConfigError, Conflict, NotFound
from shared.ids import check_code

REFRESH_S = 5.0
WHOLE_DOCUMENT = "document"
"""The effect of an integration that was made in the short way."""
logger = logging.getLogger(__name__)


class Integrations:
    """The connected systems, as rows and as connectors."""

    def __init__(
        self, database: Database, clock: Clock, connectors: Mapping[str, type[Connector]] = CONNECTORS
    ) -> None:
        self._database = database
        self._clock = clock
        self._kinds = connectors
        self._all: dict[int, Integration] = {}
        self._connectors: dict[int, tuple[tuple[str, dict[str, Any]], Connector]] = {}
        self._targets: dict[str, list[tuple[int, str, str]]] = {}
        self.listeners: list[Callable[[], None]] = []
        """Told when an integration was added, enabled, disabled, paused or resumed."""

    async def load(self) -> None:
        """Read the rows; to be awaited once before anything is asked."""
        async with self._database.read() as connection:
            loaded = [from_row(row) for row in await table.all_integrations(connection)]
        if {one.integration_no: one for one in loaded} != self._all:
            self._all = {one.integration_no: one for one in loaded}
            self._targets.clear()
            self.changed()

    async def run(self) -> None:
        """See what other nodes change."""
        while True:
            await self._clock.sleep(REFRESH_S)
            try:
                await self.load()
            except (SQLAlchemyError, OSError) as error:
                logger.warning("integrations_not_read", extra={"error": str(error)})

    # ---- what others ask ----

    def targets(self, kind: str) -> Sequence[tuple[int, str, str]]:
        """The deliveries that a document of this kind makes: number of the integration, effect and first state."""
        known = self._targets.get(kind)
        if known is None:
            known = self._targets[kind] = [
                (one.integration_no, effect, one.first_state(effect))
                for one in self._all.values()
                if one.enabled
                for effect, kinds in one.effects().items()
                if kind in kinds
            ]
        return known

    def by_number(self, integration_no: int) -> Integration | None:
        return self._all.get(integration_no)

    def enabled(self) -> Sequence[Integration]:
        return [one for one in self._all.values() if one.enabled]

    def connector(self, integration: Integration) -> Connector:
        """The connector that carries for an integration; one object as long as its settings stay."""
        known = self._connectors.get(integration.integration_no)
        what = integration.connector, integration.settings
        if known is None or known[0] != what:
            known = what, build(self._kinds, integration.definition, self._clock)
            self._connectors[integration.integration_no] = known
        return known[1]

    def built(self, definition: Definition) -> Connector:
        """A connector of its own, for a definition that does not hold (yet)."""
        return build(self._kinds, definition, self._clock)

    def kind(self, definition: Definition) -> type[Connector]:
        """The class of its connector, for what it declares."""
        return kind_of(self._kinds, definition)

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
        audited: Note = unnoted,
    ) -> Integration:
        """Connect a system in the short way: documents of these kinds go out as they are, lists come in as they are.

        Args:
            name: stands in delivery keys and file names for ever.
            kinds: of documents; those of `shared.documents.KINDS` that it shall get.
            from_ms: documents received at the centre from then on are delivered; from now on when None.
        Raises:
            BadInput, Conflict: as `define`.
        """
        deliver = [{"name": WHOLE_DOCUMENT, "kinds": list(dict.fromkeys(kinds))}] if kinds else []
        written = {"name": name, "connector": connector, "settings": settings, "deliver": deliver}
        return await self.define(read_definition(written), from_ms=from_ms, enabled=enabled, audited=audited)

    async def define(
        self,
        definition: Definition,
        *,
        from_ms: int | None = None,
        enabled: bool = True,
        by: str = "",
        note: str = "",
        file_sha256: bytes | None = None,
        audited: Note = unnoted,
    ) -> Integration:
        """Connect a system as its definition says, at version 1; it is not looked for before it is enabled.

        Raises:
            BadInput: the connector cannot work with what the definition says.
            Conflict: the name, or what the settings point at, is another integration's.
        """
        check_code(definition.name, "integration")
        with _at_the_door(definition.name):
            await self.examine(definition)
        if enabled:
            await self.prepare(definition)

        async def work(connection: AsyncConnection) -> None:
            now_ms = await self._database.now_ms(connection)
            text = definition.model_dump_json(exclude_unset=True)
            since_ms = now_ms if from_ms is None else from_ms
            number = await table.add(connection, definition.name, text, enabled, since_ms)
            await table.add_version(connection, number, 1, text, by, now_ms, note, file_sha256)
            await audited(connection)

        try:
            await self._database.run(work)
        except IntegrityError:
            raise Conflict(f'there is an integration "{definition.name}" already') from None
        return await self.get(definition.name)

    async def examine(self, definition: Definition) -> None:
        """Refuse a definition that cannot be right, or that takes what is another one's; reaches no other system."""
        check_names(self.kind(definition), definition)
        resource = build(self._kinds, definition, self._clock).resource
        for one in await self.list():
            if one.name == definition.name or one.connector != definition.connector:
                continue
            if self.connector(one).resource == resource:
                raise Conflict(f'{resource} is used by the integration "{one.name}" already')

    async def prepare(self, definition: Definition) -> None:
        """Make over there what the settings need, and refuse those with which it cannot be used now."""
        with _at_the_door(definition.name):
            await build(self._kinds, definition, self._clock).prepare()
            findings = await findings_of(build(self._kinds, definition, self._clock))
        if refusal := refused(definition.name, findings):
            raise refusal

    async def enable(self, name: str, from_ms: int | None = None, *, audited: Note = unnoted) -> Integration:
        """Deliver again; what was applied since *from_ms* (as before when None) and has no delivery is filled in."""
        one = await self.get(name)
        await self.prepare(one.definition)
        changes: dict[str, Any] = {"enabled": True, "paused_until_ms": 0, "problem": None}
        if from_ms is not None:
            changes["from_ms"] = from_ms
        return await self._change(one, audited, **changes)

    async def disable(self, name: str, *, audited: Note = unnoted) -> Integration:
        """Stop after the batch that is under way; nothing is forgotten."""
        return await self._change(await self.get(name), audited, enabled=False)

    async def resume(self, name: str, *, audited: Note = unnoted) -> Integration:
        """End a pause at once."""
        return await self._change(await self.get(name), audited, paused_until_ms=0, problem=None)

    async def set_trigger(self, name: str, trigger_hash: bytes, *, audited: Note = unnoted) -> Integration:
        """Whoever shows the secret of this hash may start its pulls."""
        return await self._change(await self.get(name), audited, trigger_hash=trigger_hash)

    async def pause(self, integration: Integration, until_ms: int, problem: str) -> None:
        """Rest until then, on every node, and say why."""
        await self._change(integration, unnoted, paused_until_ms=until_ms, problem=problem)

    async def well_again(self, integration: Integration) -> None:
        """The system answers; there is no problem any more."""
        await self._change(integration, unnoted, paused_until_ms=0, problem=None)

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

    async def confirm_unknown(self, batch_id: str, *, arrived: bool, audited: Note = unnoted) -> int:
        """Say whether a batch that nobody can ask about has arrived; returns the number of its deliveries."""
        async with self._database.write() as connection:
            count = await delivery_desk.confirm_unknown(self._database, connection, batch_id, arrived=arrived)
            if not count:
                raise NotFound(f'no batch "{batch_id}" waits for an answer')
            await audited(connection, deliveries=count)
        self.changed()
        return count

    def changed(self) -> None:
        """Tell who listens: something may be sent, or must not be any more."""
        for listener in self.listeners:
            listener()

    async def _change(self, one: Integration, audited: Note, **values: Any) -> Integration:
        async with self._database.write() as connection:
            await table.change(connection, one.integration_no, **values)
            await audited(connection)
        await self.load()
        return self._all[one.integration_no]


@contextmanager
def _at_the_door(name: str) -> Iterator[None]:
    """Settings that do not work are the mistake of whoever asks for them, not of the centre."""
    try:
        yield
    except ConfigError as error:
        raise BadInput(f'settings of "{name}": {error.what}', hint=error.hint) from error
