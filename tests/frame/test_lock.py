"""requirements.lock: covers what pyproject.toml asks for, is checked by hashes, and names no registry."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(\[[^]]*\])?==(?P<version>[^ ;\\]+)", re.MULTILINE)


def asked_for() -> list[Requirement]:
    """Every requirement in pyproject.toml: base, extras, groups."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    lists = [project["project"]["dependencies"], *project["project"]["optional-dependencies"].values()]
    lists += project["dependency-groups"].values()
    return [Requirement(text) for texts in lists for text in texts]


def test_lock_covers_every_requirement() -> None:
    locked: dict[str, list[Version]] = {}
    for pin in PIN.finditer(LOCK):
        locked.setdefault(canonicalize_name(pin["name"]), []).append(Version(pin["version"]))
    missing = [
        str(asked)
        for asked in asked_for()
        if not any(version in asked.specifier for version in locked.get(canonicalize_name(asked.name), []))
    ]
    assert missing == [], "write the lock anew; the command stands in its first lines"


def test_every_pin_has_a_hash() -> None:
    for block in re.split(r"\n(?=[A-Za-z0-9])", LOCK)[1:]:
        assert "--hash=sha256:" in block, block.splitlines()[0]


def test_lock_names_no_registry_and_no_folder() -> None:
    assert re.findall(r"\S*://\S*|--(?:extra-)?index-url.*|--find-links.*|(?<!\S)[/~]\S+", LOCK) == []
