"""docs/reference is what the code says, and complete: a heading for each command, setting, problem and entity."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from central.config import Config
from central.connectors import CONNECTORS
from edge_agent.config import AgentConfig
from shared.catalog.entities import ENTITIES
from shared.documents import KINDS
from tests.docs.commands_pages import AGENT, CENTRAL, leaves, program
from tests.docs.generate import REFERENCE, contents
from tests.docs.http_pages import endpoints, local_operations
from tests.docs.markdown import ROOT, headings, lines
from tests.docs.problems_page import MEANINGS, PASSED_ON, error_classes, problems

PAGES = contents()
CONSTANTS_PASSED_ON = {
    "central/intake/accept.py",  # gap and fork, as decide.py names them
    "central/registry/sessions.py",  # stale-nonce, as decide.py names it
    "shared/documents/masking.py",  # the name of an error that is told again without card numbers
    "central/cli/client.py",  # whatever name the centre's refusal bears
    "edge_agent/sync/client.py",
}


@pytest.mark.parametrize("name", PAGES)
def test_the_committed_page_is_what_the_code_says(name: str) -> None:
    """`python -m tests.docs.generate` was run after the last change."""
    assert (REFERENCE / name).read_text(encoding="utf-8") == PAGES[name], "run: python -m tests.docs.generate"


def test_there_is_no_page_that_nobody_writes() -> None:
    """A page that was renamed leaves nothing behind."""
    assert {path.name for path in REFERENCE.iterdir()} == set(PAGES)


def test_every_name_has_its_heading() -> None:
    """Whoever looks up a word of the program finds it."""
    wanted = {
        "commands-central.md": [" ".join((CENTRAL, *path)) for path, _ in leaves(program(CENTRAL))],
        "commands-agent.md": [" ".join((AGENT, *path)) for path, _ in leaves(program(AGENT))],
        "settings-centre.md": list(Config.model_fields),
        "settings-agent.md": list(AgentConfig.model_fields),
        "settings-connectors.md": [
            *CONNECTORS,
            *(name for c in CONNECTORS.values() for name in c.Settings.model_fields),
        ],
        "errors.md": list(problems()),
        "catalog.md": list(ENTITIES),
        "documents.md": list(KINDS),
        "http-agent.md": [f"{method} {path}" for method, path, _ in local_operations()],
    }
    for page, names in wanted.items():
        assert set(names) <= set(headings(REFERENCE / page)), page
    served = [f"{one.method} {one.path.partition(':')[0].partition('{')[0]}" for one in endpoints()]
    told = headings(REFERENCE / "http-centre.md")
    assert all(any(heading.startswith(operation) for heading in told) for operation in served)


def test_every_connector_has_its_page() -> None:
    """A page by hand says what a connector does; the generated one, what it can be told."""
    for name in CONNECTORS:
        assert (ROOT / "docs" / "connectors" / f"{name.replace('_', '-')}.md").exists()


def test_every_problem_has_a_meaning_and_every_meaning_a_problem() -> None:
    """A new name without a meaning fails here, and so does a meaning that nothing raises any more."""
    assert set(MEANINGS) == set(problems())


def test_names_that_travel_in_a_variable_are_known() -> None:
    """`code=` is a constant, but for the places named here; what they pass on stands in `PASSED_ON`."""
    assert set(_variable_codes()) == CONSTANTS_PASSED_ON
    decide = (ROOT / "central/intake/decide.py").read_text(encoding="utf-8")
    refusals = set(re.findall(r'PushDecision\(refusal="([a-z-]+)"\)', decide))
    assert refusals == {*PASSED_ON, "key-revoked"}


@pytest.mark.parametrize(("config", "package"), [(AgentConfig, "edge_agent"), (Config, "central")])
def test_every_setting_does_something(config: type[AgentConfig] | type[Config], package: str) -> None:
    """A setting that nothing reads would be a promise that nobody keeps."""
    code = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / package).rglob("*.py"))
    assert [name for name in config.model_fields if not re.search(rf"\.{name}\b", code)] == []


def test_tables_are_whole() -> None:
    """Every row of a generated table has as many cells as its head."""
    for page in PAGES:
        head = 0
        for line in lines(REFERENCE / page):
            cells = len(re.findall(r"(?<!\\)\|", line.text)) if line.text.startswith("|") else 0
            assert not (cells and head) or cells == head, line.where
            head = cells


def _variable_codes() -> Iterator[str]:
    for package in ("shared", "edge_agent", "central"):
        for file in (ROOT / package).rglob("*.py"):
            if any(_passes_code(node) for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))):
                yield file.relative_to(ROOT).as_posix()


def _passes_code(node: ast.AST) -> bool:
    """A call of an error, or of its base's constructor, whose `code` is no constant and no parameter of its own."""
    if not isinstance(node, ast.Call):
        return False
    name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
    is_error = name == "__init__" or name in {one.__name__ for one in error_classes()}
    return is_error and any(
        keyword.arg == "code" and not isinstance(keyword.value, ast.Constant) for keyword in node.keywords
    )
