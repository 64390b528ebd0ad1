"""What HQ does to the cross-reference: every act in one transaction with its line in the trail, and with the word to
deliveries that waited for it.

Invariants: merging loses no code; a code that was merged away never comes back as a code of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from central import audit
from central.codes.cross_reference import Match
from central.codes.import_csv import CODE_MAX, CodeRow
from central.codes.waking import wake_known
from central.db import code_tries
from central.db import codes as rows
from central.db.codes import Key
from central.db.database import Database
from central.mapping.lookups import KINDS
from central.registry.import_csv import LineError
from shared.errors import BadInput, Conflict

FAULTS_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Doubled:
    """Codes of which nobody can tell which one is meant, and what they are in doubt for."""

    kind: str
    system: str
    outlet: str
    ours: tuple[str, ...]
    theirs: tuple[str, ...]


class CodeActs:
    """All that HQ does to codes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def set(self, system: str, match: Match, *, who: str) -> str:
        """Say what a system calls one of ours; it is what is sent from now on. Returns our code, merges followed.

        Other codes of theirs for the same one are still understood when they come in.
        """
        _check(system, match)

        async def work(connection: AsyncConnection) -> str:
            (ours,) = await self._put(connection, [CodeRow(0, system, match)], who)
            detail = {"system": system, **match._asdict(), "ours": ours}
            await self._note(connection, who, "codes.set", detail)
            return ours

        return await self._database.run(work)

    async def import_list(
        self, listed: Sequence[CodeRow], errors: Sequence[LineError], *, dry_run: bool, who: str
    ) -> int:
        """Set all codes of a list, or none if a line is wrong; returns how many."""
        if errors:
            first = min(errors, key=lambda fault: fault.line)
            wrong = len({fault.line for fault in errors})
            raise BadInput(
                f"nothing was imported: {wrong} of {len(listed)} lines are wrong; the first is line {first.line}, "
                f'{first.column} "{first.value}": {first.why}',
                hint="correct the lines and send the whole list again",
                code="invalid-rows",
                rows=[asdict(fault) for fault in errors[:FAULTS_SHOWN]],
            )

        async def work(connection: AsyncConnection) -> None:
            await self._put(connection, listed, who)
            systems = sorted({row.system for row in listed})
            await self._note(connection, who, "codes.import", {"codes": len(listed), "systems": systems[:50]})

        if listed and not dry_run:
            await self._database.run(work)
        return len(listed)

    async def merge(self, kind: str, gone: str, into: str, *, who: str) -> tuple[str, int]:
        """Say that two of ours are one: the codes of *gone* become those of *into*, for good.

        Returns:
            what survives, and how many codes were moved; none when it was done before.
        Raises:
            BadInput: *into* was itself merged into *gone*.
            Conflict: *gone* was merged into a third.
        """
        _check_kind(kind)
        for code in (gone, into):
            _check_code("code", code)

        async def work(connection: AsyncConnection) -> tuple[str, int]:
            await rows.hold(connection, merging=True)
            merged = await rows.survivors(connection, {(kind, gone), (kind, into)})
            survivor = merged.get((kind, into), into)
            if survivor in (gone, merged.get((kind, gone))):
                if survivor != gone:
                    return survivor, 0
                raise BadInput(
                    f"{kind} {gone} cannot be merged into itself",
                    hint="name two codes" if into == gone else f"{into} was merged into {gone} before",
                )
            if (kind, gone) in merged:
                before = merged[kind, gone]
                raise Conflict(
                    f"{kind} {gone} was merged into {before} already", hint=f"merge {before} into {into}"
                )
            now_ms = await self._database.now_ms(connection)
            moved = await rows.merge(self._database, connection, kind, gone, survivor, who, now_ms)
            await wake_known(self._database, connection)
            detail = {"kind": kind, "gone": gone, "into": survivor, "moved": moved}
            await self._note(connection, who, "codes.merge", detail)
            return survivor, moved

        return await self._database.run(work)

    async def search_now(self, system: str | None, *, who: str) -> None:
        """Let every `[[match]]` (of one system) look at once for what deliveries wait for."""

        async def work(connection: AsyncConnection) -> None:
            await code_tries.look_now(connection, system)
            await self._note(connection, who, "codes.search", {"system": system})

        await self._database.run(work)

    async def doubled(
        self, *, limit: int, kind: str | None = None, system: str | None = None
    ) -> list[Doubled]:
        """Where look-ups have no answer because there are several, or a system contradicts what is known."""
        async with self._database.read() as connection:
            several = await rows.list_doubled(connection, limit=limit, kind=kind, system=system)
            claims = await rows.list_claims(connection, limit=limit, kind=kind, system=system)
        theirs: dict[tuple[str, str, str, str], list[str]] = {}
        for row in several:
            theirs.setdefault((row.kind, row.system, row.outlet, row.ours), []).append(row.theirs)
        ours: dict[tuple[str, str, str, str], list[str]] = {}
        for row in claims:
            known = [row.ours] if row.ours is not None else []
            ours.setdefault((row.kind, row.system, row.outlet, row.code), known).append(row.claim)
        found = [
            Doubled(kind, system, outlet, (code,), tuple(codes))
            for (kind, system, outlet, code), codes in theirs.items()
        ]
        found += [
            Doubled(kind, system, outlet, tuple(codes), (code,))
            for (kind, system, outlet, code), codes in ours.items()
        ]
        return found[:limit]

    async def _put(self, connection: AsyncConnection, listed: Sequence[CodeRow], who: str) -> list[str]:
        await rows.hold(connection, merging=False)
        merged = await rows.survivors(connection, {(row.match.kind, row.match.ours) for row in listed})
        pairs = {}
        for row in listed:
            one = row.match
            key = Key(one.kind, row.system, one.outlet, one.theirs)
            pairs[key] = merged.get((one.kind, one.ours), one.ours)
        await rows.put(self._database, connection, pairs, who, await self._database.now_ms(connection))
        await rows.answer(connection, pairs, claims=True)
        for system in sorted({row.system for row in listed}):
            await wake_known(self._database, connection, system)
        return list(pairs.values())

    async def _note(self, connection: AsyncConnection, who: str, what: str, detail: dict[str, Any]) -> None:
        await audit.record(connection, await self._database.now_ms(connection), who, what, detail)


def _check(system: str, match: Match) -> None:
    _check_kind(match.kind)
    for name, code in (("system", system), ("ours", match.ours), ("theirs", match.theirs)):
        _check_code(name, code)
    if len(match.outlet) > CODE_MAX:
        _check_code("outlet", match.outlet)


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise BadInput(f'"{kind}" has no codes in other systems', hint=f"known are {', '.join(KINDS)}")


def _check_code(name: str, code: str) -> None:
    if not 1 <= len(code) <= CODE_MAX or code != code.strip():
        raise BadInput(
            f'{name} "{code[:CODE_MAX]}" must have 1 to {CODE_MAX} characters, none of them a space at an end'
        )
