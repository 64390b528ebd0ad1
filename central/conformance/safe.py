"""The part of the kit that may be run against a live test system: look, read, and make one record and take it back.

Nothing is sent that could not be taken back; without `write` nothing is sent at all.
"""

from __future__ import annotations

import secrets

from central.connectors.base import Connector, Finding, Read, Target
from shared.errors import CounterflowError

RECORDS_MAX = 200
"""Of each source: enough to see that they are readable."""


async def run(connector: Connector, *, write: bool) -> list[Finding]:
    """Every look, in order; what lies behind a closed door is left out."""
    try:
        found = list(await connector.check())
    except CounterflowError as error:
        return [Finding("check", ok=False, detail=error.what, hint=error.hint)]
    if not all(one.ok for one in found):
        return found
    found += [await _readable(connector, name) for name in connector.reads]
    if write:
        found += [
            await _made_and_taken_back(connector, name, target)
            for name, target in connector.targets.items()
            if target.undo
        ]
    return found


async def _readable(connector: Connector, source: str) -> Finding:
    """Records come, with the fields that the source declares, each key once."""
    what = f"read {source}"
    declared, key = connector.reads[source].fields, connector.reads[source].key
    keys: set[str] = set()
    try:
        async for page in connector.read(Read(source, page=100)):
            for record in page.records:
                strange = record.keys() - {name.partition(".")[0] for name in declared}
                if declared and strange:
                    return Finding(what, ok=False, detail=f"undeclared fields {', '.join(sorted(strange))}")
                if str(record.get(key)) in keys:
                    return Finding(what, ok=False, detail=f'two records with the key "{record.get(key)}"')
                keys.add(str(record.get(key)))
            if len(keys) >= RECORDS_MAX:
                break
    except CounterflowError as error:
        return Finding(what, ok=False, detail=error.what, hint=error.hint)
    return Finding(what, ok=True, detail=f"{len(keys)} records looked at")


async def _made_and_taken_back(connector: Connector, name: str, target: Target) -> Finding:
    """One record under a name that nobody has: not there, made, found once, taken back, not there."""
    what = f"write and take back {name}"
    mark = f"Counterflow trial {secrets.token_hex(6)}"
    field = next((one for one in ("name", "code") if one in target.fields), None)
    if field is None:
        return Finding(what, ok=True, detail="left out: it has neither name nor code")
    try:
        before = (await connector.find(name, field, [mark]))[mark]
        made = await connector.create(name, {field: mark})
        between = (await connector.find(name, field, [mark]))[mark]
        kept = await connector.undo(name, [made.id])
        after = (await connector.find(name, field, [mark]))[mark]
    except CounterflowError as error:
        return Finding(what, ok=False, detail=error.what, hint=error.hint)
    if kept:
        return Finding(what, ok=False, detail=f"{mark} stays: {next(iter(kept.values())).reason}")
    if (list(before), list(between), list(after)) != ([], [made.id], []):
        return Finding(what, ok=False, detail=f"found {before}, {between}, {after} for one record {made.id}")
    return Finding(what, ok=True, detail=f"{mark} was made, found and taken back")
