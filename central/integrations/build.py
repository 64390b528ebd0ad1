"""From a definition to the connector that works by it, with everything checked that can be without the other system.

What a definition names must exist over there as far as the connector says beforehand what there is: sources, targets,
and their fields.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from graphlib import CycleError, TopologicalSorter
from typing import Any

import pydantic

from central.connectors.base import Connector, Finding
from central.integrations.definition import Definition, Matching
from central.integrations.rules import compile_rule
from central.integrations.secret_values import resolved
from central.integrations.shaping import Shaper
from central.integrations.ways import compile_way
from shared.clock import Clock
from shared.errors import BadInput, ConfigError
from shared.protocol.problems import from_validation

Connectors = Mapping[str, type[Connector]]


def build(connectors: Connectors, definition: Definition, clock: Clock) -> Connector:
    """The connector of a definition.

    Raises:
        BadInput: there is no such connector, or its settings are not right.
        ConfigError: a secret that the settings point at is not there.
    """
    kind = kind_of(connectors, definition)
    settings = settings_of(kind, definition.settings, f'settings of "{definition.name}"')
    return kind(definition.name, settings, clock)


def settings_of(kind: type[Connector], values: Mapping[str, Any], called: str) -> pydantic.BaseModel:
    """A connector's settings, with the secrets that they point at.

    Raises:
        BadInput: they are not right.
        ConfigError: a secret is not there.
    """
    try:
        return kind.Settings.model_validate(resolved(values))
    except pydantic.ValidationError as error:
        raise from_validation(error, called) from None


def kind_of(connectors: Connectors, definition: Definition) -> type[Connector]:
    found = connectors.get(definition.connector)
    if found is None:
        raise BadInput(
            f'there is no connector "{definition.connector}"', hint=f"known are {', '.join(connectors)}"
        )
    return found


def check_names(kind: type[Connector], definition: Definition) -> None:
    """Refuse what the connector does not have: sources, statuses, targets, and fields where it says which there are."""
    sources = kind.sources_of(definition.settings) if definition.pull else {}
    for pull in definition.pull:
        if pull.source not in sources:
            raise _unknown(f'pull "{pull.name}"', "source", pull.source, sources, kind.title)
        source = sources[pull.source]
        known = source.statuses
        unknown = [status for status in pull.statuses if known and status not in known]
        if unknown:
            raise _unknown(f'pull "{pull.name}"', "status", unknown[0], known, kind.title)
        if pull.entity is not None and not source.complete and pull.absence != "keep":
            raise BadInput(
                f'pull "{pull.name}": no run of "{pull.source}" brings all there is, so absence means nothing',
                hint='say absence = "keep"',
                code="invalid-fields",
            )
        with _named(f'pull "{pull.name}"'):
            Shaper(definition, pull, source)
    if definition.deliver and not kind.writes:
        raise BadInput(
            f'{kind.title} is only read; "{definition.deliver[0].name}" cannot be delivered there',
            code="invalid-fields",
        )
    for deliver in definition.deliver:
        if deliver.target is not None and deliver.target not in kind.targets:
            raise _unknown(f'deliver "{deliver.name}"', "target", deliver.target, kind.targets, kind.title)
        if deliver.target is not None and not kind.targets[deliver.target].deliver:
            raise BadInput(
                f'deliver "{deliver.name}": {kind.title} takes a "{deliver.target}" only where a [[match]] lacks one',
                hint="state a [[match]] with create = true instead",
                code="invalid-fields",
            )
        names = [one.name for one in definition.deliver]
        for needed in deliver.needs:
            if needed not in names or needed == deliver.name:
                raise _unknown(f'deliver "{deliver.name}"', "effect", needed, names, "the integration")
        with _named(f'deliver "{deliver.name}"'):
            compile_way(definition, deliver, kind)
    for match in definition.match:
        with _named(f'match "{match.kind}"'):
            _check_match(kind, definition, match)
    try:
        TopologicalSorter({one.name: one.needs for one in definition.deliver}).prepare()
    except CycleError as error:
        circle = " needs ".join(f'"{name}"' for name in error.args[1])
        raise BadInput(f"none of these would ever be sent: {circle}", code="invalid-fields") from None


def _check_match(kind: type[Connector], definition: Definition, match: Matching) -> None:
    where = f'match "{match.kind}"'
    if match.target not in kind.targets:
        raise _unknown(where, "target", match.target, kind.targets, kind.title)
    target = kind.targets[match.target]
    for field in filter(None, (match.field, match.tax_id, match.branch, match.origin)):
        if field not in target.find:
            raise _unknown(where, f'search of "{match.target}" by', field, target.find, kind.title)
    if match.create and not target.create:
        raise BadInput(
            f'{where}: {kind.title} cannot be told to make a "{match.target}"', code="invalid-fields"
        )
    makes = [
        one.name
        for one in definition.deliver
        if one.codes == match.kind
        or (
            match.kind == "party"
            and one.target == match.target
            and {"customer_change", "customer_record"} & set(one.document_kinds)
        )
    ]
    if match.create and makes:
        raise BadInput(
            f'{where}: deliver "{makes[0]}" brings them there too, so a new one might come twice',
            hint="leave `create` out, or that [[deliver]]",
            code="invalid-fields",
        )
    compile_rule(definition, match, kind)


@contextmanager
def _named(part: str) -> Iterator[None]:
    """Say in which part of the definition it is."""
    try:
        yield
    except BadInput as error:
        if not error.what.startswith(part):
            error.what = f"{part}: {error.what}"
        raise


def _unknown(where: str, what: str, name: str, known: Iterable[str], who: str) -> BadInput:
    listed = sorted(known)
    near = difflib.get_close_matches(name, listed, 1)
    hint = f'did you mean "{near[0]}"?' if near else f"known are {', '.join(listed) or 'none'}"
    return BadInput(f'{where}: {who} has no {what} "{name}"', hint=hint, code="invalid-fields")


def refused(name: str, findings: Sequence[Finding]) -> BadInput | None:
    """The refusal that these findings mean, if any does not hold."""
    wrong = [one for one in findings if not one.ok]
    if not wrong:
        return None
    told = "; ".join(f"{one.what}: {one.detail}" for one in wrong)
    hint = next((one.hint for one in wrong if one.hint), "")
    return BadInput(f'settings of "{name}": {told}', hint=hint)


async def findings_of(connector: Connector) -> list[Finding]:
    """What the connector's check says, an error of its own included."""
    try:
        return list(await connector.check())
    except ConfigError as error:
        return [Finding("settings", ok=False, detail=error.what, hint=error.hint)]
