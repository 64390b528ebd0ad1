"""The documentation speaks of things that exist: links, commands, files, functions, tests."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from typer._click.exceptions import UsageError

import run
from edge_agent.run import run_options
from tests.docs.commands_pages import program
from tests.docs.markdown import FILES, ROOT, anchor, commands, files_named, headings, links, places, run_lines

by_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(ROOT).as_posix())


@by_file
def test_relative_links_lead_somewhere(file: Path) -> None:
    """A reader who follows a link arrives, also at the heading that it names."""
    broken = []
    for line, target in links(file):
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, heading = unquote(target).partition("#")
        there = (file.parent / path).resolve() if path else file
        if not there.exists():
            broken.append(f"{line.where}: {target} does not exist")
        elif heading and heading not in map(anchor, headings(there)):
            broken.append(f"{line.where}: {target} has no such heading")
    assert not broken


@by_file
def test_commands_are_ones_that_exist(file: Path) -> None:
    """Every command in the docs is taken by the program as it is written."""
    wrong = []
    for line, words in commands(file):
        try:
            take(words, named_only=not line.fence)
        except (UsageError, NotTaken) as error:
            why = error.format_message() if isinstance(error, UsageError) else error
            wrong.append(f"{line.where}: {' '.join(words)}: {why}")
    assert not wrong


@by_file
def test_lines_for_run_py_are_taken_by_it(file: Path) -> None:
    """`python3 run.py ...` in a fenced block, or in a sentence, is a verb with options that it has."""
    for words in run_lines(file):
        assert run.parse(words).verb in ("setup", "demo", "test", "bench")


@by_file
def test_places_in_the_code_exist(file: Path) -> None:
    """`path:function` names a function, class or method that is there, a test among them."""
    missing = [
        f"{line.where}: {path}:{name}"
        for line, path, name in places(file)
        if name not in names_in(ROOT / path)
    ]
    missing += [f"{line.where}: {path}" for line, path in files_named(file) if not (ROOT / path).exists()]
    assert not missing


@pytest.mark.parametrize(
    "words",
    [
        "stations fly",
        "stations list --colour",
        "stations add",
        "stations add T1",
        "rollout --seq x",
        "init now",
    ],
)
def test_a_command_that_is_not_one_is_found_out(words: str) -> None:
    """The check itself: a wrong word, a wrong option, a missing or a needless argument are refused."""
    with pytest.raises(UsageError):
        take(["counterflow-central", *words.split()])


def test_a_command_as_it_stands_in_a_sentence_is_found() -> None:
    """A sentence may name a command without what follows it; `run` of the agent is read by its own parser."""
    take(["counterflow-central", "stations", "add", "T1", "--store", "S1"])
    take(["counterflow-central", "stations", "add"], named_only=True)
    with pytest.raises(NotTaken):
        take(["counterflow-agent", "run", "--till", "1"])


class NotTaken(Exception):
    """The agent's `run` does not take an option."""


def take(words: list[str], *, named_only: bool = False) -> None:
    """Let a program's own parser read a command line; nothing is run.

    Args:
        named_only: a command without arguments is enough if it exists.
    """
    name, *arguments = words
    if (name, arguments[:1]) == ("counterflow-agent", ["run"]):
        _, unknown = run_options().parse_known_args(arguments[1:])
        if unknown:
            raise NotTaken(f"`run` does not take {' '.join(unknown)}")
        return
    _take(program(name), name, arguments, named_only)


def _take(command: Any, name: str, arguments: list[str], named_only: bool) -> None:
    is_group = hasattr(command, "commands")
    if (named_only and not arguments) or "--help" in arguments or (is_group and "--version" in arguments):
        return
    with command.make_context(name, arguments) as context:
        if is_group:
            given = [*context._protected_args, *context.args]
            if command.invoke_without_command and not given:
                return
            found, inner, rest = command.resolve_command(context, given)
            _take(inner, found, rest, named_only)


@cache
def names_in(path: Path) -> frozenset[str]:
    """Functions, classes and `Class.method` of a file; none where there is no such file."""
    if not path.exists():
        return frozenset()
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            inner = [part for part in node.body if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)]
            names |= {node.name, *(f"{node.name}.{part.name}" for part in inner)}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return frozenset(names)
