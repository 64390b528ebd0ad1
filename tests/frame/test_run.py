"""run.py: what it understands, what it says when something is missing, when it sets up again."""

from __future__ import annotations

import importlib.util
import io
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load_run() -> ModuleType:
    spec = importlib.util.spec_from_file_location("run", ROOT / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["run"] = module
    spec.loader.exec_module(module)
    return module


run = load_run()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of three files."""
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'counterflow'\n", encoding="utf-8")
    (tmp_path / "requirements.lock").write_text("a==1 \\\n    --hash=sha256:00\nb==2\n", encoding="utf-8")
    return tmp_path


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record what a set-up would do instead of doing it; making a folder gives it a python."""
    done: list[str] = []

    def must(argv: list[str], venv: Any, what: str) -> None:
        done.append(what)
        if "venv" in argv:
            venv.python.parent.mkdir(parents=True, exist_ok=True)
            venv.python.touch()

    monkeypatch.setattr(run, "_must", must)
    monkeypatch.setattr(run, "_succeeds", lambda argv, venv: True)
    return done


EVERYTHING = [
    "making the virtual environment",
    "installing the locked packages",
    "installing Counterflow itself",
]


class TestCommandLine:
    @pytest.mark.parametrize(
        ("argv", "wanted"),
        [
            (["setup"], run.Request("setup")),
            (["demo", "--help", "--seed", "7"], run.Request("demo", rest=("--help", "--seed", "7"))),
            (["bench", "W1", "W2", "--json"], run.Request("bench", rest=("W1", "W2", "--json"))),
            (["test"], run.Request("test")),
            (
                ["test", "--group", "unit", "--group", "static", "--long"],
                run.Request("test", ("unit", "static"), True),
            ),
            (["test", "--", "-k", "money"], run.Request("test", rest=("-k", "money"))),
        ],
    )
    def test_verbs_are_understood(self, argv: list[str], wanted: object) -> None:
        assert run.parse(argv) == wanted

    @pytest.mark.parametrize("argv", [[], ["fly"], ["test", "--group", "nothing"], ["setup", "--now"]])
    def test_nonsense_is_a_usage_error(self, argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as ended:
            run.parse(argv)
        assert ended.value.code == run.EXIT_USAGE
        assert "usage: run.py" in capsys.readouterr().err


class TestPlan:
    def test_no_group_named_means_every_check_and_every_test(self) -> None:
        steps = run.plan_tests([], cores=2, long=False, rest=[])
        assert [step.name for step in steps] == ["ruff check", "ruff format", "mypy", "imports", "pytest"]
        assert not any(part.startswith("--group") for part in steps[-1].argv)

    def test_one_core_runs_one_test_at_a_time(self) -> None:
        (step,) = run.plan_tests(["system", "faults"], cores=1, long=False, rest=["-x"])
        assert step.argv == ["-m", "pytest", "--group=system", "--group=faults", "-x"]

    def test_tests_use_the_cores(self) -> None:
        (step,) = run.plan_tests(["unit"], cores=2, long=False, rest=["-x"])
        parallel = ["-n", "3", "--dist", "loadgroup", "--no-loadscope-reorder"]
        assert step.argv == ["-m", "pytest", "--group=unit", *parallel, "-x"]

    def test_one_failed_step_fails_the_run(self) -> None:
        shown = run.table([run.Outcome("mypy", 1, 2.0), run.Outcome("pytest", 0, 10.04)])
        assert shown.splitlines() == [
            "mypy    FAILED (1)   2.0 s",
            "pytest  ok          10.0 s",
            "all     FAILED      12.0 s",
        ]


class TestWhatMayBeMissing:
    def test_debian_without_its_venv_package_is_told_the_line_to_type(self) -> None:
        told = run.venv_missing(
            is_debian=True, has_venv=True, has_ensurepip=False, executable="/usr/bin/python3", version=(3, 11)
        )
        assert "sudo apt install python3-venv\n" in told

    def test_a_second_python_of_debian_has_a_package_of_its_own(self) -> None:
        told = run.venv_missing(
            is_debian=True,
            has_venv=True,
            has_ensurepip=False,
            executable="/usr/bin/python3.13",
            version=(3, 13),
        )
        assert "sudo apt install python3.13-venv\n" in told

    def test_elsewhere_nobody_is_sent_to_apt(self) -> None:
        told = run.venv_missing(
            is_debian=False, has_venv=False, has_ensurepip=False, executable="python", version=(3, 12)
        )
        assert "apt" not in told

    def test_a_whole_python_is_told_nothing(self) -> None:
        told = run.venv_missing(
            is_debian=True, has_venv=True, has_ensurepip=True, executable="python3", version=(3, 11)
        )
        assert told is None

    def test_missing_venv_ends_with_exit_code_69(
        self, checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(run, "ROOT", checkout)
        monkeypatch.setattr(run, "venv_missing", lambda **_: "sudo apt install python3-venv")
        assert run.main(["setup"]) == run.EXIT_UNAVAILABLE == 69
        assert "sudo apt install python3-venv" in capsys.readouterr().err
        assert not (checkout / ".venv").exists()

    def test_old_python_is_named(self) -> None:
        assert "needs Python 3.11 or later, and this is 3.9" in run.python_too_old((3, 9, 2))
        assert run.python_too_old((3, 11, 0)) is None
        assert run.python_too_old((4, 0, 0)) is None


class TestSetUp:
    def test_second_start_does_nothing(self, checkout: Path, pip: list[str]) -> None:
        venv = run.Venv(checkout)
        assert run.set_up(venv, io.StringIO()) is True
        assert pip == EVERYTHING
        assert venv.is_ready()
        assert not venv.was_interrupted()
        assert run.set_up(venv, io.StringIO()) is False
        assert pip == EVERYTHING

    @pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml"])
    def test_changed_file_installs_again_into_the_same_folder(
        self, checkout: Path, pip: list[str], name: str
    ) -> None:
        venv = run.Venv(checkout)
        run.set_up(venv, io.StringIO())
        pip.clear()
        (checkout / name).write_text("# changed\n", encoding="utf-8")
        assert not venv.is_ready()
        run.set_up(venv, io.StringIO())
        assert pip == EVERYTHING[1:]

    def test_interrupted_set_up_is_made_anew(
        self, checkout: Path, pip: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        venv = run.Venv(checkout)
        install = run._install
        monkeypatch.setattr(run, "_install", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            run.set_up(venv, io.StringIO())
        assert not venv.is_ready()
        (venv.folder / "half-a-package").touch()
        monkeypatch.setattr(run, "_install", install)
        pip.clear()
        talk = io.StringIO()
        run.set_up(venv, talk)
        assert "interrupted" in talk.getvalue()
        assert pip == EVERYTHING
        assert not (venv.folder / "half-a-package").exists()

    def test_environment_made_by_hand_is_kept(self, checkout: Path, pip: list[str]) -> None:
        venv = run.Venv(checkout)
        venv.python.parent.mkdir(parents=True)
        venv.python.touch()
        (venv.folder / "mine").touch()
        run.set_up(venv, io.StringIO())
        assert pip == EVERYTHING[1:]
        assert (venv.folder / "mine").exists()

    def test_moved_checkout_is_set_up_again(self, checkout: Path, pip: list[str], tmp_path: Path) -> None:
        run.set_up(run.Venv(checkout), io.StringIO())
        moved = tmp_path.with_name(tmp_path.name + "-moved")
        checkout.rename(moved)
        assert not run.Venv(moved).is_ready()

    def test_two_starts_at_once_set_up_once(
        self, checkout: Path, pip: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        inside, go_on, must = threading.Event(), threading.Event(), run._must

        def slow(argv: list[str], venv: Any, what: str) -> None:
            inside.set()
            assert go_on.wait(20)
            must(argv, venv, what)

        class Told(io.StringIO):
            def write(self, text: str) -> int:
                if "waiting for it" in text:
                    go_on.set()
                return super().write(text)

        monkeypatch.setattr(run, "_must", slow)
        first = threading.Thread(target=run.set_up, args=(run.Venv(checkout), io.StringIO()))
        first.start()
        assert inside.wait(20)
        run.set_up(run.Venv(checkout), Told())
        first.join()
        assert pip == EVERYTHING

    @pytest.mark.skipif(os.name == "nt", reason="signals as POSIX knows them")
    def test_tool_that_dies_of_a_signal_gives_the_shells_code(self, checkout: Path) -> None:
        argv = [sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"]
        assert run.run_inside(run.Venv(checkout), argv) == 128 + 9

    def test_tool_gets_the_environment_and_its_exit_code_comes_back(self, checkout: Path) -> None:
        code = "import os, sys; sys.exit(7 if os.environ['VIRTUAL_ENV'].endswith('.venv') else 1)"
        assert run.run_inside(run.Venv(checkout), [sys.executable, "-c", code]) == 7


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_run_py_uses_nothing_but_the_standard_library() -> None:
    code = "import run, sys; print([m.__name__ for m in sys.modules.values() if 'site-packages' in str(m)])"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
