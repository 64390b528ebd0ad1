"""Reference pages of settings: each setting of the agent, of the centre and of every connector, from its field."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from central import config as centre
from central.connectors import CONNECTORS
from edge_agent import config as agent
from tests.docs.fields import absent, cell, table, type_of

HERE = {"data_dir": "a folder of this user, named by `config check`"}
"""Defaults that depend on the machine."""


def agent_settings() -> str:
    """docs/reference/settings-agent.md."""
    lines = [
        "# Settings of the agent",
        "",
        "The command line stands over the environment, the environment over the file `agent.toml`, the file over the",
        "defaults. The file is the one that `--config` or `COUNTERFLOW_AGENT_CONFIG` names, or `agent.toml` in the",
        "machine's or the user's configuration folder. Several stations on one PC have a table each,",
        "`[instances.NAME]`. In a variable, several values of a list stand between commas.",
        "",
        "```",
        "counterflow-agent config check",
        "```",
        "",
    ]
    return _page(lines, agent.AgentConfig, agent.ENV_PREFIX)


def centre_settings() -> str:
    """docs/reference/settings-centre.md."""
    lines = [
        "# Settings of the centre",
        "",
        "The environment stands over the file, the file over the defaults. The file is the one that `--config` or",
        f"`{centre.CONFIG_FILE_VARIABLE}` names (TOML, the names as below).",
        "",
        "```",
        "counterflow-central config check",
        "```",
        "",
    ]
    return _page(lines, centre.Config, centre.ENV_PREFIX)


def connector_settings() -> str:
    """docs/reference/settings-connectors.md."""
    lines = [
        "# Settings of connectors",
        "",
        "Given with `--set NAME=VALUE` when an integration is added or changed.",
        "",
        "```",
        "counterflow-central integrations add erp --connector drop_folder --set folder=/srv/erp --kind receipts",
        "```",
        "",
    ]
    told: set[type[BaseModel]] = set()
    for name, connector in CONNECTORS.items():
        lines += [
            f"## {name}",
            "",
            f"{connector.title}. How a repeated send is kept from doubling: `{connector.idempotency.value}`."
            if connector.writes
            else f"{connector.title}. It only reads.",
            "",
        ]
        hints = typing.get_type_hints(connector.Settings, include_extras=True)
        for setting, field in connector.Settings.model_fields.items():
            lines += [
                f"### {setting}",
                "",
                cell(field.description or ""),
                "",
                _facts(field, hints[setting]),
                "",
            ]
        for part in [model for hint in hints.values() for model in _models(hint)]:
            if part not in told:
                lines += [f"### {part.__name__}", "", *table(part), ""]
                told.add(part)
    return "\n".join(lines)


def _models(hint: Any) -> Iterator[type[BaseModel]]:
    """The models in a type, and those inside them."""
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        yield hint
        hint = tuple(typing.get_type_hints(hint, include_extras=True).values())
    for part in hint if isinstance(hint, tuple) else typing.get_args(hint):
        yield from _models(part)


def _page(lines: list[str], model: type[BaseModel], prefix: str) -> str:
    hints = typing.get_type_hints(model, include_extras=True)
    for name, field in model.model_fields.items():
        lines += [
            f"## {name}",
            "",
            cell(field.description or ""),
            "",
            f"`{prefix}{name.upper()}`; {_facts(field, hints[name], HERE.get(name))}",
            "",
        ]
    return "\n".join(lines)


def _facts(field: FieldInfo, hint: object, default: str | None = None) -> str:
    told = default or absent(field)
    told = told if told == "**required**" else f"default: {told}"
    return f"{type_of(hint, field)}; {told}."
