"""Lists that HQ drops into `in/`: read whole, once, and told what became of them.

A file is read when it has not changed for a while and bears no name of an unfinished copy; it is claimed by renaming
it to `work/`, and leaves for `done/` or `bad/` with `<name>.report.json` and `.report.txt` beside it. `work/` holds
one file at most: what is in it when the centre starts was under way when it died, and is gone through again.
All functions block and run outside the event loop.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from central.connectors.base import Incoming
from central.connectors.formats.dialect import is_unfinished
from central.connectors.formats.lists import SIDECAR, open_list
from shared.errors import BadInput

EMPTY_SETTLE_S = 60.0
"""An empty file is often the first sign of a slow copy."""
ERRORS_IN_TEXT = 100


@dataclass(frozen=True, slots=True)
class _Look:
    """How a file was when it was first seen in this state."""

    size: int
    mtime_ns: int
    since_ms: int


class InFolder:
    """The folders of the way in."""

    def __init__(self, folder: Path, settle_s: float, tick_ms: Callable[[], int]) -> None:
        self.incoming, self.work = folder / "in", folder / "work"
        self.done, self.bad = folder / "done", folder / "bad"
        self._settle_s = settle_s
        self._tick_ms = tick_ms
        self._looks: dict[str, _Look] = {}

    def next(self) -> Incoming | None:
        """The file in `work/`, or the oldest one in `in/` that is whole."""
        under_way = list(_data_files(self.work))
        if under_way:
            return self._open(under_way[0], resumed=True)
        settled = self._settled()
        if settled is None:
            return None
        claimed = self.work / settled.name
        os.rename(settled, claimed)
        return self._open(claimed, resumed=False)

    def _settled(self) -> Path | None:
        tick_ms = self._tick_ms()
        looks: dict[str, _Look] = {}
        whole: list[tuple[int, Path]] = []
        for path in _data_files(self.incoming):
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            before = self._looks.get(path.name)
            same = before is not None and (before.size, before.mtime_ns) == (stat.st_size, stat.st_mtime_ns)
            look = before if before and same else _Look(stat.st_size, stat.st_mtime_ns, tick_ms)
            looks[path.name] = look
            rest_s = self._settle_s if look.size else max(self._settle_s, EMPTY_SETTLE_S)
            if tick_ms - look.since_ms >= rest_s * 1000:
                whole.append((look.mtime_ns, path))
        self._looks = looks
        return min(whole)[1] if whole else None

    def _open(self, path: Path, *, resumed: bool) -> Incoming:
        sha256 = b""
        try:
            with open(path, "rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").digest()
            about, rows = open_list(path, self._sidecar(path.name))
        except (BadInput, PermissionError) as error:
            # One file that nobody may read must not keep all others waiting.
            return Incoming(path.name, sha256, None, lambda: iter(()), refusal=str(error), resumed=resumed)
        return Incoming(path.name, sha256, about, rows, resumed=resumed)

    def _sidecar(self, name: str) -> Path | None:
        """The file that describes this one, brought to `work/` with it."""
        here, there = self.work / (name + SIDECAR), self.incoming / (name + SIDECAR)
        if not here.exists() and there.exists():
            os.rename(there, here)
        return here if here.exists() else None

    def settle(self, incoming: Incoming, report: dict[str, Any]) -> None:
        """Write the report, then let the file go; done again from the beginning if the centre dies in between."""
        folder = self.bad if report["result"] == "refused" else self.done
        name = _free_name(folder, incoming.name)
        _write(folder / f"{name}.report.json", json.dumps(report, ensure_ascii=False, indent=2) + "\n")
        _write(folder / f"{name}.report.txt", as_text(report))
        for suffix in (SIDECAR, ""):
            path = self.work / (incoming.name + suffix)
            if path.exists():
                os.replace(path, folder / (name + suffix))
        self._looks.pop(incoming.name, None)


def as_text(report: dict[str, Any]) -> str:
    """The report for a person."""
    lines = [f"{report['file']}: {report['result']}. {report['what']}"]
    for error in report["errors"][:ERRORS_IN_TEXT]:
        key = f" ({error['key']})" if error["key"] else ""
        lines.append(f"line {error['line']}{key}: {error['why']}")
    more = report["rejected"] - min(len(report["errors"]), ERRORS_IN_TEXT)
    if more > 0:
        lines.append(f"and {more} more")
    return "\n".join(lines) + "\n"


def _data_files(folder: Path) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_unfinished(entry.name) or entry.name.lower().endswith(SIDECAR):
                continue
            if entry.is_file():
                yield Path(entry.path)


def _free_name(folder: Path, name: str) -> str:
    """*name*, or the first `stem-2.suffix`, `stem-3.suffix` … under which no file was put away yet."""
    stem, dot, suffix = name.rpartition(".")
    number = 1
    free = name
    while (folder / free).exists():
        number += 1
        free = f"{stem}-{number}{dot}{suffix}" if dot else f"{name}-{number}"
    return free


def _write(path: Path, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
