"""Reference pages of the two command lines: one heading for each command, from the programs themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from central.cli import app as central_app
from edge_agent.commands import app as agent_app
from edge_agent.run import run_options
from tests.docs.fields import cell

CENTRAL, AGENT = "counterflow-central", "counterflow-agent"
EXIT_CODES = """\
| exit code | meaning |
|---|---|
| 0 | done, and everything is as it should be |
| 1 | refused, or something was found that is not as it should be |
| 2 | the command was misused |
| 69 | the other side cannot be reached |
| 75 | another process works on this |
| 78 | settings or enrolment are missing or wrong |
"""
Path = tuple[str, ...]


def program(name: str) -> Any:
    """The command that a console script starts."""
    return typer.main.get_command({CENTRAL: central_app, AGENT: agent_app}[name])


def leaves(command: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every command that does something, with the words that lead to it."""
    for name, inner in getattr(command, "commands", {}).items():
        if hasattr(inner, "commands"):
            yield from leaves(inner, (*path, name))
        else:
            yield (*path, name), inner


def central() -> str:
    """docs/reference/commands-central.md."""
    command = program(CENTRAL)
    lines = [
        f"# {CENTRAL}",
        "",
        "What HQ types. `init`, `migrate`, `run`, `backup`, `after-restore` and `config check` work on this machine's",
        "database; everything else asks a centre, here or elsewhere, with the address and key that `connect` saved.",
        "Data goes to standard output, talk to standard error.",
        "",
        *_options(command.params),
        "",
        EXIT_CODES,
    ]
    return _page(lines, CENTRAL, command)


def agent() -> str:
    """docs/reference/commands-agent.md."""
    command = program(AGENT)
    lines = [
        f"# {AGENT}",
        "",
        "What a technician types on the till. Data goes to standard output, talk to standard error.",
        "",
        EXIT_CODES,
    ]
    return _page(lines, AGENT, command)


def _page(lines: list[str], name: str, command: Any) -> str:
    for path, leaf in leaves(command):
        is_run = (name, path) == (AGENT, ("run",))
        arguments = [] if is_run else [param for param in leaf.params if not param.opts[0].startswith("-")]
        options = [] if is_run else [param for param in leaf.params if param.opts[0].startswith("-")]
        needed = [f"{param.opts[0]} {_value(param)}" for param in options if param.required]
        usage = [name, *path, *map(_argument, arguments), *needed]
        lines += [f"## {' '.join((name, *path))}", "", _help(leaf.help or ""), ""]
        lines += ["```", " ".join(usage), "```", ""]
        if is_run:
            lines += [*_run_options(), ""]
        elif leaf.params:
            lines += [*_options([*arguments, *options]), ""]
    return "\n".join(lines)


def _options(params: list[Any]) -> list[str]:
    lines = ["| option | meaning |", "|---|---|"]
    for param in params:
        if param.opts[0].startswith("-"):
            names = " / ".join((*param.opts, *param.secondary_opts))
            shown = f"`{names}`" if param.is_flag else f"`{names} {_value(param)}`"
        else:
            shown = f"`{_argument(param)}`"
        said = [cell(param.help or "")]
        if param.multiple:
            said += [] if "several times" in said[0] else ["May be given several times."]
        elif param.default not in (None, "", False) and not param.required:
            said.append(f"Default: `{param.default}`.")
        if param.envvar:
            said.append(f"Variable: `{param.envvar}`.")
        lines.append(f"| {shown} | {' '.join(filter(None, said))} |")
    return lines


def _run_options() -> list[str]:
    lines = ["| option | meaning |", "|---|---|"]
    options = [action for action in run_options()._actions if action.dest != "help"]
    lines += [f"| `{one.option_strings[0]} {one.dest.upper()}` | {cell(one.help or '')} |" for one in options]
    return lines


def _argument(param: Any) -> str:
    name = param.name.upper() + (" ..." if param.nargs == -1 else "")
    return name if param.required else f"[{name}]"


def _value(param: Any) -> str:
    return str(param.metavar or param.opts[-1].lstrip("-").replace("-", "_").upper())


def _help(text: str) -> str:
    return "\n".join(line.strip() for line in text.strip().splitlines())
