"""Versions of an integration: stated, compared, switched and taken back.

Versions only grow: the way back is a new version with the words of an old one, so the history reads in one direction.
What is under way at a switch ends by the version that it began with (a batch, a page of a pull); what is still to do
goes by the new one. A delivery belongs to its effect, so an effect that still has some cannot vanish by accident.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from central.audit import Note, unnoted
from central.connectors.base import Connector
from central.db import integrations as table
from central.db.database import Database
from central.integrations.definition import Definition
from central.integrations.difference import Difference, differences, same
from central.integrations.integration import Integration
from central.integrations.registry import Integrations
from central.integrations.secret_values import kept
from shared.errors import BadInput, Conflict, NotFound

HISTORY = 200


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a stated definition."""

    integration: Integration
    result: Literal["created", "changed", "unchanged"]
    differences: Sequence[Difference] = ()


class Versions:
    """What owners of integrations do."""

    def __init__(self, database: Database, integrations: Integrations) -> None:
        self._database = database
        self._integrations = integrations

    async def put(
        self,
        definition: Definition,
        *,
        by: str,
        note: str = "",
        from_ms: int | None = None,
        enabled: bool = True,
        abandon: bool = False,
        file_sha256: bytes | None = None,
        audited: Note = unnoted,
    ) -> Outcome:
        """Make an integration, or switch the one of this name to what is said now.

        Args:
            from_ms, enabled: of a new one.
            abandon: effects with deliveries that are not done may go; these deliveries then rest for ever.
            file_sha256: of the file that it stands in.
        Raises:
            BadInput: what it says cannot work. The version that holds stays.
            Conflict: another one was faster, or deliveries would be left behind.
        """
        try:
            one = await self._integrations.get(definition.name)
        except NotFound:
            new = _with_secrets(definition, {})
            made = await self._integrations.define(
                new,
                from_ms=from_ms,
                enabled=enabled,
                by=by,
                note=note,
                file_sha256=file_sha256,
                audited=audited,
            )
            return Outcome(made, "created")
        new = _with_secrets(definition, one.settings)
        found = differences(one.definition, new)
        if same(one.definition, new):
            await self._note_file(one, file_sha256)
            return Outcome(one, "unchanged")
        await self._integrations.examine(new)
        # Whether the other system is well is asked of settings; a mapping is mended while it is away, too.
        if one.enabled and (new.settings != one.settings or new.connector != one.connector):
            await self._integrations.prepare(new)
        if not abandon:
            await self._leaves_nothing(one, new)
        return Outcome(await self._switch(one, new, by, note, file_sha256, audited), "changed", found)

    async def back(
        self, name: str, version: int | None = None, *, by: str, audited: Note = unnoted
    ) -> Outcome:
        """Hold again what an earlier version said; the one before when None."""
        one = await self._integrations.get(name)
        wanted = one.version - 1 if version is None else version
        if wanted < 1:
            raise BadInput(f'integration "{name}" has one version only; there is no way back')
        old = await self.definition(name, wanted)
        return await self.put(old, by=by, note=f"back to version {wanted}", audited=audited)

    async def definition(self, name: str, version: int | None = None) -> Definition:
        """What a version said; the one that holds when None."""
        one = await self._integrations.get(name)
        if version is None or version == one.version:
            return one.definition
        async with self._database.read() as connection:
            text = await table.version(connection, one.integration_no, version)
        if text is None:
            raise NotFound(
                f'integration "{name}" has no version {version}',
                hint=f"`counterflow-central integrations versions {name}` lists them",
            )
        return Definition.model_validate_json(text)

    async def history(self, name: str) -> Sequence[dict[str, Any]]:
        """Who stated what and when, newest first."""
        one = await self._integrations.get(name)
        async with self._database.read() as connection:
            found = await table.versions(connection, one.integration_no, HISTORY)
        return [dict(row._mapping) for row in found]

    async def difference(
        self, name: str, old: int | None, new: int | Definition | None
    ) -> Sequence[Difference]:
        """What differs between two versions (None: the one that holds), or from what is not stated yet."""
        before = await self.definition(name, old)
        if isinstance(new, Definition):
            return differences(before, _with_secrets(new, before.settings))
        return differences(before, await self.definition(name, new))

    async def imported(self, name: str) -> bytes | None:
        """SHA-256 of the file in the watched folder that this integration was last read from."""
        try:
            one = await self._integrations.get(name)
        except NotFound:
            return None
        async with self._database.read() as connection:
            return await table.newest_file(connection, one.integration_no)

    async def trial(self, name: str, definition: Definition | None) -> tuple[Integration, Connector]:
        """An integration as it is, or as a definition that is not stated yet would make it, to look at only.

        Raises:
            BadInput: the definition cannot work.
        """
        try:
            one = await self._integrations.get(name)
        except NotFound:
            if definition is None:
                raise
            one = Integration(0, name, 0, definition, False, 0, 0, None)
        if definition is None:
            return one, self._integrations.connector(one)
        if definition.name != name:
            raise BadInput(f'the definition is of "{definition.name}", not of "{name}"')
        new = _with_secrets(definition, one.settings if one.version else {})
        await self._integrations.examine(new)
        return replace(one, definition=new), self._integrations.built(new)

    async def _leaves_nothing(self, one: Integration, new: Definition) -> None:
        async with self._database.read() as connection:
            left = await table.under_way(connection, one.integration_no)
        gone = sorted(left.keys() - {deliver.name for deliver in new.deliver})
        if gone:
            listed = ", ".join(f"{name} ({left[name]})" for name in gone)
            raise Conflict(
                f'integration "{one.name}": deliveries are not done, and their effect would be gone: {listed}',
                hint="set enabled = false in that [[deliver]] until they are through, or abandon them expressly",
            )

    async def _note_file(self, one: Integration, file_sha256: bytes | None) -> None:
        """A file says what holds already, in other words: it is read as far as that."""
        if file_sha256 is not None:
            async with self._database.write() as connection:
                await table.set_file(connection, one.integration_no, one.version, file_sha256)

    async def _switch(
        self, one: Integration, new: Definition, by: str, note: str, file_sha256: bytes | None, audited: Note
    ) -> Integration:
        text = new.model_dump_json(exclude_unset=True)
        version = one.version + 1

        async def work(connection: AsyncConnection) -> None:
            now_ms = await self._database.now_ms(connection)
            await table.add_version(
                connection, one.integration_no, version, text, by, now_ms, note, file_sha256
            )
            await table.change(
                connection,
                one.integration_no,
                version=version,
                definition=text,
                paused_until_ms=0,
                problem=None,
            )
            await audited(connection, version=version)

        try:
            await self._database.run(work)
        except IntegrityError:
            raise Conflict(
                f'integration "{one.name}" was changed by somebody else meanwhile',
                hint="look at the difference and state it again",
            ) from None
        return await self._integrations.get(one.name)


def _with_secrets(definition: Definition, settings: dict[str, Any]) -> Definition:
    return definition.model_copy(update={"settings": kept(definition.settings, settings)})
