"""Start Counterflow from a fresh checkout: one file, the standard library, the same on Linux, macOS and Windows.

    python3 run.py setup                   make .venv beside this file and install the locked packages
    python3 run.py demo [args...]          set up, then play the demonstration (demo --help)
    python3 run.py demo erp [args...]      the one with a real ERP: its goods in, sales out (demo erp --help)
    python3 run.py test [--group G ...]    set up, then check and test everything, or the groups named
    python3 run.py bench [W1 ...] [--json] set up, then measure against the limits of this machine

Rule 1: packages come from requirements.lock alone, checked by their hashes; nothing is resolved here.
Rule 2: the stamp is written last. A set-up that was interrupted left no stamp, and the next start repairs it.
Invariant: a set-up is repeated only when requirements.lock, pyproject.toml or the folder's place changed.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

PYTHON_MIN = (3, 11)
GROUPS = ("static", "unit", "postgres", "simulation", "system", "faults", "erp", "demo", "docs")
WORKERS_MAX = 4

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_UNAVAILABLE = 0, 1, 2, 69

ROOT = Path(__file__).resolve().parent
LOCK = "requirements.lock"
PROJECT = "pyproject.toml"


class SetupFailed(Exception):
    """The environment cannot be made; the text says what to do."""


class Venv:
    """The private environment of one checkout."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / ".venv"
        self.bin = self.folder / ("Scripts" if os.name == "nt" else "bin")
        self.python = self.bin / ("python.exe" if os.name == "nt" else "python")
        self.stamp = self.folder / "counterflow-setup-done"
        self.started = self.folder / "counterflow-setup-started"

    def fingerprint(self) -> str:
        """Return what the environment depends on as one hash."""
        digest = hashlib.sha256(str(self.root).encode())
        for name in (LOCK, PROJECT):
            digest.update(b"\0" + (self.root / name).read_bytes())
        return digest.hexdigest()

    def is_ready(self) -> bool:
        """Say whether the last set-up ended well and still fits the files it was made from."""
        try:
            stamp = self.stamp.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            return False
        return self.python.exists() and stamp == self.fingerprint()

    def was_interrupted(self) -> bool:
        return self.started.exists()

    def environment(self) -> dict[str, str]:
        """Return the variables for a tool that runs inside."""
        env = dict(os.environ)
        env.pop("PYTHONHOME", None)
        env["VIRTUAL_ENV"] = str(self.folder)
        env["PATH"] = str(self.bin) + os.pathsep + env.get("PATH", "")
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(self.root), env.get("PYTHONPATH", "")]))
        env["PYTHONUTF8"] = "1"  # names of goods on a Windows console
        # Tests and demo start hundreds of processes: without compiled modules each start costs half as much again.
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        return env


def python_too_old(version: Sequence[int]) -> str | None:
    """Return what to tell someone whose Python is too old, or None."""
    if tuple(version[:2]) >= PYTHON_MIN:
        return None
    have, need = (".".join(str(part) for part in v[:2]) for v in (version, PYTHON_MIN))
    return f"Counterflow needs Python {need} or later, and this is {have}.\nStart it so: python{need} run.py"


def venv_missing(
    *, is_debian: bool, has_venv: bool, has_ensurepip: bool, executable: str, version: Sequence[int]
) -> str | None:
    """Return what to tell someone whose Python cannot make environments, or None.

    Debian and Ubuntu ship the module venv without the wheels it needs (ensurepip), in a package of its own.
    """
    if has_venv and has_ensurepip:
        return None
    told = f"This Python ({executable}) cannot make a virtual environment: its venv package is not installed."
    if not is_debian:
        return f"{told}\nInstall it, or start run.py with a Python from python.org."
    name = Path(executable).name
    package = "python3-venv" if name in ("python3", "python") else f"python{version[0]}.{version[1]}-venv"
    return f"{told}\nInstall it and start again:\n\n    sudo apt install {package}\n"


def check_this_python() -> None:
    told = venv_missing(
        is_debian=Path("/etc/debian_version").exists(),
        has_venv=importlib.util.find_spec("venv") is not None,
        has_ensurepip=importlib.util.find_spec("ensurepip") is not None,
        executable=sys.executable,
        version=sys.version_info[:3],
    )
    if told:
        raise SetupFailed(told)


@contextlib.contextmanager
def one_at_a_time(path: Path, talk: TextIO) -> Iterator[None]:
    """Let two starts in one checkout set up one after the other. The system frees the lock of a dead process."""
    with open(path, "a+b") as file:
        told = False
        while not _lock(file.fileno()):
            if not told:
                print("Another start is setting up this checkout; waiting for it.", file=talk, flush=True)
                told = True
            time.sleep(0.2)
        yield


def _lock(fd: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(fd, 0, os.SEEK_SET)
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def set_up(venv: Venv, talk: TextIO) -> bool:
    """Make the environment what the lock says; return whether there was anything to do."""
    if venv.is_ready():
        return False
    check_this_python()
    with one_at_a_time(venv.root / ".venv-setup.lock", talk):
        if venv.is_ready():
            return True
        since = time.monotonic()
        venv.stamp.unlink(missing_ok=True)
        _make_folder(venv, talk)
        venv.started.touch()
        _install(venv, talk)
        venv.stamp.write_text(venv.fingerprint() + "\n", encoding="ascii")
        venv.started.unlink()
        print(f"Ready after {time.monotonic() - since:.0f} s.", file=talk, flush=True)
    return True


def _make_folder(venv: Venv, talk: TextIO) -> None:
    if venv.was_interrupted():
        print("The last set-up was interrupted; making the environment anew.", file=talk, flush=True)
        shutil.rmtree(venv.folder)
    if venv.python.exists() and _succeeds([str(venv.python), "-m", "pip", "--version"], venv):
        return
    print(f"Making {venv.folder} with Python {platform.python_version()}.", file=talk, flush=True)
    venv.folder.mkdir(parents=True, exist_ok=True)
    venv.started.touch()
    _must([sys.executable, "-m", "venv", str(venv.folder)], venv, "making the virtual environment")


def _install(venv: Venv, talk: TextIO) -> None:
    pip = [str(venv.python), "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
    packages = sum(1 for line in _lock_lines(venv.root) if "==" in line and not line.startswith((" ", "#")))
    print(
        f"Installing {packages} locked packages; the first time takes a minute or two.", file=talk, flush=True
    )
    lock = str(venv.root / LOCK)
    _must([*pip, "--require-hashes", "--requirement", lock], venv, "installing the locked packages")
    print("Installing Counterflow itself, editable.", file=talk, flush=True)
    itself = [*pip, "--no-deps", "--no-build-isolation", "--editable", str(venv.root)]
    _must(itself, venv, "installing Counterflow itself")


def _lock_lines(root: Path) -> list[str]:
    return (root / LOCK).read_text(encoding="utf-8").splitlines()


def _pip_environment(venv: Venv) -> dict[str, str]:
    env = venv.environment()
    env.pop("PYTHONPATH", None)
    env["PIP_USER"] = "0"  # a user's pip setting that cannot work inside an environment
    return env


def _succeeds(argv: Sequence[str], venv: Venv) -> bool:
    done = subprocess.run(argv, env=_pip_environment(venv), capture_output=True, check=False)
    return done.returncode == 0


def _must(argv: Sequence[str], venv: Venv, what: str) -> None:
    # pip talks on our stderr: stdout belongs to the tool that follows (bench --json).
    done = subprocess.run(argv, env=_pip_environment(venv), cwd=venv.root, stdout=2, check=False)
    if done.returncode != 0:
        raise SetupFailed(
            f"{what} failed (exit code {done.returncode}); the lines above say why.\n"
            "Once that is mended, start again: the set-up is repaired by itself."
        )


def run_inside(venv: Venv, argv: Sequence[str], extra_env: dict[str, str] | None = None) -> int:
    """Run *argv* in the environment and return its exit code; it gets Ctrl-C and TERM and ends by itself."""
    sys.stdout.flush()
    child = subprocess.Popen(argv, env={**venv.environment(), **(extra_env or {})}, cwd=venv.root)

    def pass_on(_number: int, _frame: object) -> None:
        child.terminate()

    before = signal.signal(signal.SIGTERM, pass_on)
    try:
        while True:
            try:
                code = child.wait()
            except KeyboardInterrupt:
                continue  # the terminal told the child too; wait until it has put its things away
            return code if code >= 0 else 128 - code
    finally:
        signal.signal(signal.SIGTERM, before)


class Step(NamedTuple):
    name: str
    argv: list[str]


class Outcome(NamedTuple):
    name: str
    code: int
    seconds: float


def plan_tests(groups: Sequence[str], *, cores: int, long: bool, rest: Sequence[str]) -> list[Step]:
    """Decide which tools run for *groups* (none named: all), in order."""
    wanted = [group for group in GROUPS if group in groups] or list(GROUPS)
    steps = []
    if "static" in wanted:
        steps += [
            Step("ruff check", ["-m", "ruff", "check", "."]),
            Step("ruff format", ["-m", "ruff", "format", "--check", "."]),
            Step("mypy", ["-m", "mypy"]),
            Step(
                "imports", ["-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
            ),
        ]
    tested = [group for group in wanted if group != "static"]
    if tested:
        argv = ["-m", "pytest"]
        if len(tested) < len(GROUPS) - 1:
            argv += [f"--group={group}" for group in tested]
        if cores > 1:
            # One more than there are cores: tests of processes wait for a part of their time.
            workers = min(cores + 1, WORKERS_MAX)
            # conftest.py gives the order, and keeps the tests of a file that starts processes together.
            argv += ["-n", str(workers), "--dist", "loadgroup", "--no-loadscope-reorder"]
        if long:
            argv += ["--timeout", "14400"]
        steps.append(Step("pytest", [*argv, *rest]))
    return steps


def run_tests(venv: Venv, steps: Sequence[Step], *, long: bool) -> int:
    extra_env = {"COUNTERFLOW_LONG": "1"} if long else {}
    outcomes = []
    for step in steps:
        print(f"== {step.name}", flush=True)
        since = time.monotonic()
        code = run_inside(venv, [str(venv.python), *step.argv], extra_env)
        outcomes.append(Outcome(step.name, code, time.monotonic() - since))
    print(f"\n{table(outcomes)}", flush=True)
    return EXIT_FAILED if any(outcome.code for outcome in outcomes) else EXIT_OK


def table(outcomes: Sequence[Outcome]) -> str:
    """Return one line per step: its name, how it ended, its seconds."""
    rows = [(o.name, "ok" if o.code == 0 else f"FAILED ({o.code})", f"{o.seconds:.1f} s") for o in outcomes]
    rows.append(
        (
            "all",
            "ok" if not any(o.code for o in outcomes) else "FAILED",
            f"{sum(o.seconds for o in outcomes):.1f} s",
        )
    )
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}" for a, b, c in rows)


class Request(NamedTuple):
    verb: str
    groups: tuple[str, ...] = ()
    long: bool = False
    rest: tuple[str, ...] = ()


def parse(argv: Sequence[str]) -> Request:
    """Read the command line. What follows demo and bench goes to them as it stands, --help too."""
    if argv and argv[0] in ("demo", "bench"):
        return Request(argv[0], rest=tuple(argv[1:]))
    parser = argparse.ArgumentParser(
        prog="run.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="{setup,demo,test,bench}")
    verbs.add_parser("setup", help="make .venv and install the locked packages")
    test = verbs.add_parser("test", help="check and test everything, or the groups named")
    test.add_argument(
        "--group", action="append", choices=GROUPS, default=[], help="only this group; may be repeated"
    )
    test.add_argument("--long", action="store_true", help="more seeds, more kills, more data: hours")
    test.add_argument("rest", nargs="*", metavar="-- PYTEST_ARG", help="handed to pytest, after --")
    verbs.add_parser(
        "demo", help="play the demonstration; `demo erp`: the one with a real ERP", add_help=False
    )
    verbs.add_parser("bench", help="measure: [W1 ...] [--json]", add_help=False)
    given = parser.parse_args(argv)
    if given.verb == "setup":
        return Request("setup")
    return Request("test", tuple(given.group), given.long, tuple(given.rest))


def main(argv: Sequence[str]) -> int:
    told = python_too_old(sys.version_info[:3])
    if told:
        print(told, file=sys.stderr)
        return EXIT_UNAVAILABLE
    request = parse(argv)
    venv = Venv(ROOT)
    talk = sys.stdout if request.verb == "setup" else sys.stderr
    try:
        did = set_up(venv, talk)
    except SetupFailed as failed:
        print(f"run.py: {failed}", file=sys.stderr)
        return EXIT_UNAVAILABLE
    except KeyboardInterrupt:
        print("\nInterrupted; the next start repairs the set-up.", file=sys.stderr)
        return 130
    if request.verb == "setup":
        if not did:
            print(f"Nothing to do: {venv.folder} is what {LOCK} says.")
        return EXIT_OK
    if request.verb == "test":
        cores = os.cpu_count() or 1
        steps = plan_tests(request.groups, cores=cores, long=request.long, rest=request.rest)
        return run_tests(venv, steps, long=request.long)
    module = {"demo": "tests.demo", "bench": "tests.benchmarks"}[request.verb]
    return run_inside(venv, [str(venv.python), "-m", module, *request.rest])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
