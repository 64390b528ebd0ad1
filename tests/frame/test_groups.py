"""Groups of tests: each test is in one, and a group of which nothing ran cannot pass where all must run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent


def pytest_in(folder: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run pytest over *folder* with our conftest.py, as a checkout of its own."""
    tests = folder / "tests"
    tests.mkdir(exist_ok=True)
    shutil.copy(TESTS / "conftest.py", tests)
    shutil.copytree(TESTS / "support", tests / "support", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *args]
    inherited = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("PYTEST_", "COUNTERFLOW_", "PYTHONPATH"))
    }
    environment = {**inherited, **env}
    return subprocess.run(
        argv, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


ONE_OF_EACH = """
import pytest

def test_pure(): pass

@pytest.mark.postgres
def test_on_postgres(): pytest.skip("no PostgreSQL on this machine")

@pytest.mark.system
@pytest.mark.postgres
def test_processes_on_postgres(): pass
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_one_of_each.py").write_text(ONE_OF_EACH, encoding="utf-8")
    return tmp_path


def test_skipped_group_passes_at_home(folder: Path) -> None:
    done = pytest_in(folder)
    assert done.returncode == 0, done.stdout
    assert "2 passed, 1 skipped" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize("workers", [[], ["-n", "2", "--dist", "loadgroup"]], ids=["serial", "parallel"])
def test_skipped_group_fails_where_everything_must_run(folder: Path, workers: list[str]) -> None:
    done = pytest_in(folder, *workers, COUNTERFLOW_REQUIRE_ALL="1")
    assert done.returncode == 1, done.stdout
    assert "ERROR group postgres: everything was skipped" in done.stdout


def test_group_is_the_most_demanding_marker(folder: Path) -> None:
    done = pytest_in(folder, "--group", "system", "-v")
    assert "test_processes_on_postgres" in done.stdout
    assert "1 passed, 2 deselected" in done.stdout.splitlines()[-1]


def test_group_may_come_from_the_folder(folder: Path) -> None:
    (folder / "tests" / "simulation").mkdir()
    (folder / "tests" / "simulation" / "test_world.py").write_text("def test_world(): pass", encoding="utf-8")
    done = pytest_in(folder, "--group", "simulation")
    assert "1 passed, 3 deselected" in done.stdout.splitlines()[-1]


def test_group_of_nothing_does_not_pass(folder: Path) -> None:
    assert pytest_in(folder, "--group", "faults").returncode == pytest.ExitCode.NO_TESTS_COLLECTED


ONE_CHAIN = """
import os

import pytest

@pytest.mark.faults
@pytest.mark.parametrize("step", range(8))
def test_step(step):
    with open(os.environ["SEEN"], "a") as seen:
        seen.write(os.environ["PYTEST_XDIST_WORKER"] + "\\n")
"""


def test_tests_of_a_file_that_starts_processes_share_a_worker(folder: Path) -> None:
    """Else each worker would start the file's processes for itself."""
    (folder / "tests" / "test_one_chain.py").write_text(ONE_CHAIN, encoding="utf-8")
    seen = folder / "seen"
    done = pytest_in(folder, "-n", "2", "--dist", "loadgroup", "--group", "faults", SEEN=str(seen))
    assert "8 passed" in done.stdout.splitlines()[-1], done.stdout
    assert len(set(seen.read_text(encoding="utf-8").split())) == 1
